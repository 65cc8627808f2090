#!/usr/bin/env bash
#
# One GPU machine, or several hosts, reached over ssh (set up keys and known_hosts yourself).
#
#   launch/hosts.sh setup              copy the last commit, create the environment
#   launch/hosts.sh run [--config.key=value ...]
#   launch/hosts.sh status | watch | stop | fetch
#
# Variables, or flags (--hosts="a b"), before `--`; --dry_run only prints the commands:
#   HOSTS            names for ssh; the first is process 0, and the others must reach its PORT
#   PORT             1234
#   COORDINATOR      HOST:PORT of process 0, if the others know it by another name
#   CONFIG WORKDIR   the run (run)
#   EXTRA            cuda (default), tpu, or none for a CPU: --extra=none
#   STORE            gs://BUCKET/DIR or a disk that all hosts see; needed with several hosts
#   DEST             where fetch puts the working directory (fetched)
#   MAX_RESTARTS PAUSE_S MODULE      as in run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
source launch/workers.sh

action=${1:---help}
shift || true
[[ $action != --help && $action != -h ]] || options "" --help
EXTRA=${EXTRA:-cuda} PORT=${PORT:-1234} DEST=${DEST:-fetched}
options "HOSTS PORT COORDINATOR CONFIG WORKDIR EXTRA STORE DEST MAX_RESTARTS PAUSE_S MODULE WATCH_S" "$@"
need HOSTS
count PORT MAX_RESTARTS PAUSE_S WATCH_S
[[ $EXTRA != none ]] || EXTRA=''
read -r -a hosts <<<"$HOSTS"

to_all() {
  local host
  for host in "${hosts[@]}"; do
    step scp -q "$1" "$host:" || return
  done
}

# On all hosts at once; after all have ended, ends with the code of one that failed.
on_all() {
  local number pids=() code=0
  for number in "${!hosts[@]}"; do
    step ssh -n "${hosts[$number]}" "export PROCESS=$number; $1" &
    pids+=($!)
    [[ -z $DRY_RUN ]] || wait $! # printed in order
  done
  for number in "${!pids[@]}"; do
    wait "${pids[$number]}" || code=$?
  done
  return "$code"
}

case $action in
  setup) workers_setup ;;
  run)
    if ((${#hosts[@]} > 1)); then
      need STORE
      PROCESSES=${#hosts[@]} COORDINATOR=${COORDINATOR:-${hosts[0]##*@}:$PORT}
    fi
    workers_run
    ;;
  status | watch | stop) "workers_$action" ;;
  fetch)
    if [[ -n ${STORE:-} ]]; then
      fetch_store
    else
      need WORKDIR
      step mkdir -p "$DEST"
      step scp -q -r "${hosts[0]}:distill_jax/$WORKDIR/." "$DEST"
    fi
    ;;
  *) fail "unknown command $action (see $0 --help)" ;;
esac
