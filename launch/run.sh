#!/usr/bin/env bash
#
# Run distill_jax on this host until it is done. Creates the environment on first use, and runs the
# program; runs it again if the exit code says that this is useful.
#
#   CONFIG=configs/demo.py WORKDIR=runs/demo launch/run.sh [--dry_run] [--config.seed=1 ...]
#   launch/run.sh --setup_only       only creates the environment
#
# Variables, or flags (--config=FILE). Keys of the config, and everything after --, are passed to the
# program:
#   CONFIG WORKDIR   the run; needed
#   EXTRA            which JAX to install: tpu, cuda, or none for a CPU
#   PYTHON           an interpreter that has everything; without it VENV (.venv) is created
#   PROCESSES        the number of processes; 0: JAX finds it in the environment (Slurm, GKE).
#                    With 2 or more, set PROCESS (from 0) and COORDINATOR (HOST:PORT of process 0);
#                    PROCESS=metadata asks the metadata server of a TPU VM for all three
#   STORE            gs://BUCKET/DIR, or a disk that all hosts see: holds the checkpoints and a copy
#                    of WORKDIR, from which another machine can continue
#   COPY_EVERY_S     how often WORKDIR is copied there (15)
#   MAX_RESTARTS     how often to run again (10); 0: the program replaces this script
#   PAUSE_S          seconds before that (10)
#   MODULE           distill_jax.main
#
# It runs again after exit codes 75 (interrupted, saved), 134 (another process died), 137, 139 and
# 143 (killed); with several processes also after 1, which may mean that another one is gone. 0 and 2
# are final. SIGTERM and Ctrl-C are passed on once, and end the loop with the program's exit code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh

VENV=${VENV:-.venv}
SETUP_ONLY=''
if [[ ${1:-} == --setup_only ]]; then
  SETUP_ONLY=1
  shift
fi
options "CONFIG WORKDIR EXTRA PYTHON VENV PROCESSES PROCESS COORDINATOR STORE COPY_EVERY_S MAX_RESTARTS PAUSE_S MODULE" "$@"
EXTRA=${EXTRA:-} STORE=${STORE:-} PROCESSES=${PROCESSES:-} PROCESS=${PROCESS:-}
MAX_RESTARTS=${MAX_RESTARTS:-10} PAUSE_S=${PAUSE_S:-10}

environment() {
  [[ -z ${PYTHON:-} ]] || return 0
  if [[ -z $DRY_RUN ]]; then # several processes of one host may come here at once
    mkdir -p "$VENV"
    exec 9>"$VENV/.lock"
    flock 9
  fi
  source launch/environment.sh
  [[ -n $DRY_RUN ]] || exec 9>&-
  PYTHON=$VENV/bin/python
}

if [[ -n $SETUP_ONLY ]]; then
  environment
  exit 0
fi
need CONFIG WORKDIR
count MAX_RESTARTS PAUSE_S PROCESSES COPY_EVERY_S
if [[ $PROCESS == metadata ]]; then
  source launch/metadata.sh
fi
if [[ -n $PROCESSES && $PROCESSES -gt 1 ]]; then
  need PROCESS COORDINATOR
fi
number=${PROCESS:-${SLURM_PROCID:-${TPU_WORKER_ID:-}}}
if [[ -n $STORE && ${PROCESSES:-1} != 1 && -z $number ]]; then
  fail "STORE needs to know which process this is: set PROCESS"
fi
environment

command=("$PYTHON" -m "${MODULE:-distill_jax.main}" --config "$CONFIG" --workdir "$WORKDIR")
if [[ -n $PROCESSES && $PROCESSES != 1 ]]; then
  command+=("--config.distributed.processes=$PROCESSES")
fi
if [[ -n $PROCESSES && $PROCESSES -gt 1 ]]; then
  command+=("--config.distributed.process=$PROCESS" "--config.distributed.coordinator=$COORDINATOR")
fi
[[ -z $STORE ]] || command+=("--config.checkpoint_dir=$STORE/checkpoints")
command+=("${REST[@]}")

keeps='' # whether this process writes the working directory, so that it has to be copied
[[ -z $STORE || ${number:-0} != 0 ]] || keeps=1
[[ -z $keeps ]] || step "$PYTHON" launch/keep_workdir.py restore "$WORKDIR" "$STORE/workdir"

echo "+ $(quoted "${command[@]}")"
[[ -z $DRY_RUN ]] || exit 0
if [[ $MAX_RESTARTS == 0 && -z $keeps ]]; then
  exec "${command[@]}"
fi

# The program runs in a separate session (setsid), so Ctrl-C reaches only this script, which passes it
# on. A program that gets two signals ends at once, without saving.
child='' told='' stopping=''
on_signal() {
  stopping=1
  if [[ -n $child && -z $told ]]; then
    told=1
    kill -TERM "$child" 2>/dev/null || true
  fi
}
trap on_signal TERM INT

# Wait for `child`, even if a signal ends `wait` early; sets `code`.
finish() {
  code=0
  wait "$child" || code=$?
  while kill -0 "$child" 2>/dev/null; do
    code=0
    wait "$child" || code=$?
  done
  code=0
  wait "$child" || code=$?
}

worth_another_run() {
  case $1 in
    75 | 134 | 137 | 139 | 143) return 0 ;;
    1) [[ ${PROCESSES:-1} != 1 ]] ;;
    *) return 1 ;;
  esac
}

code=75 restarts=0
while [[ -z $stopping ]]; do
  told=''
  setsid "${command[@]}" &
  child=$!
  # A signal that arrived before `child` was known.
  [[ -z $stopping ]] || on_signal
  if [[ -n $keeps ]]; then
    setsid "$PYTHON" launch/keep_workdir.py save "$WORKDIR" "$STORE/workdir" \
      --every_s "${COPY_EVERY_S:-15}" --while "$child" &
    copier=$!
  fi
  finish
  if [[ -n $keeps ]]; then
    child=$copier told=1
    program=$code
    finish
    [[ $code == 0 ]] || echo "launch: $WORKDIR could not be copied to $STORE" >&2
    code=$program
  fi
  child=''
  if [[ -n $stopping ]] || ! worth_another_run "$code"; then
    break
  fi
  if ((restarts == MAX_RESTARTS)); then
    echo "launch: exit code $code again after $restarts restarts: giving up" >&2
    break
  fi
  restarts=$((restarts + 1))
  echo "launch: exit code $code: running again in $PAUSE_S s ($restarts of $MAX_RESTARTS)" >&2
  sleep "$PAUSE_S" &
  wait $! || true
done
echo "launch: ended with exit code $code" >&2
exit "$code"
