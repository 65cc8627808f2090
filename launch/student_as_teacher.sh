#!/usr/bin/env bash
#
# A student as teacher, all on this machine: train one, serve it, and learn from it.
#
#   launch/student_as_teacher.sh [--config.key=value ...]
#
# Trains a `chain` student on the built-in task, exports it, serves it on loopback (transformers
# serve, from the extra [serving]), lets it solve new problems, and trains new students on its right
# solutions; keys of the config are for these. If it is stopped, the same command continues.
#
# Variables, or flags (--dir=D), before `--`; --dry_run only prints the commands:
#   DIR              the directory for everything (runs/student_as_teacher)
#   TEACHER_TOKENS   token budget of the teacher (2000000)
#   PORT             of the server (8973)
#   PYTHON           the environment's (.venv/bin/python)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
options "DIR TEACHER_TOKENS PORT PYTHON" "$@"
DIR=${DIR:-runs/student_as_teacher} TEACHER_TOKENS=${TEACHER_TOKENS:-2000000}
PORT=${PORT:-8973} PYTHON=${PYTHON:-.venv/bin/python}
teacher=$DIR/export/solver

wait_for_server() {
  local second
  for second in {1..120}; do
    ! curl --silent --fail --max-time 2 "http://127.0.0.1:$PORT/health" >/dev/null || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 1
  done
  tail -n 5 "$DIR/server.log" >&2
  fail "the server did not start after ${second} s (is '.[serving]' installed, is port $PORT free?)"
}

step "$PYTHON" -m distill_jax.main --config configs/demo.py --workdir "$DIR/teacher" \
  --config.scheme=chain --config.train.token_budget="$TEACHER_TOKENS"
[[ -d $teacher ]] || step "$PYTHON" -m distill_jax.export --workdir "$DIR/teacher" --output "$DIR/export"
serve=("$(dirname "$PYTHON")/transformers" serve "$teacher" --host 127.0.0.1 --port "$PORT" --device cpu)
echo "+ $(quoted "${serve[@]}") &"
if [[ -z $DRY_RUN ]]; then
  HF_HUB_OFFLINE=1 "${serve[@]}" >"$DIR/server.log" 2>&1 &
  server=$!
  trap 'kill "$server" 2>/dev/null || true' EXIT
  wait_for_server
fi
step "$PYTHON" -m distill_jax.main --config configs/student_teacher.py --workdir "$DIR/student" --yes \
  --config.teacher.model="$teacher" --config.teacher.base_url="http://127.0.0.1:$PORT/v1" "${REST[@]}"
