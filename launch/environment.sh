#!/usr/bin/env bash
#
# Sourced by run.sh: creates VENV with distill_jax and JAX for EXTRA, unless it exists.
# shellcheck source=launch/steps.sh
[[ $0 != "${BASH_SOURCE[0]}" ]] || { source "${0%/*}/steps.sh" && only_sourced "$@"; }

# Prints a Python 3.11 or newer that can create virtual environments, or nothing if there is none
# (Ubuntu 22.04, on which TPU images are based, has 3.10; some images lack ensurepip).
find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
}

make_venv() {
  local python
  python=$(find_python)
  if [[ -n $python ]]; then
    step "$python" -m venv "$VENV"
    return
  fi
  # uv is one file from PyPI, and can install its own Python.
  step python3 -m pip install --quiet --target "$VENV/.uv" uv
  step "$VENV/.uv/bin/uv" venv --quiet --seed --allow-existing --python 3.11 "$VENV"
}

packages=(-e ".${EXTRA:+[$EXTRA]}")
# The packages with which etils and orbax read and write gs://.
[[ $STORE != gs://* ]] || packages+=('etils[epath-gcs]')
wanted="${packages[*]} $(cat setup.py constraints.txt | cksum)"
if [[ ! -e $VENV/.launch || $(cat "$VENV/.launch") != "$wanted" ]]; then
  [[ -x $VENV/bin/python ]] || make_venv
  step "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "${packages[@]}"
  [[ -n $DRY_RUN ]] || echo "$wanted" >"$VENV/.launch"
fi
