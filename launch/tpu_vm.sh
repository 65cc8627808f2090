#!/usr/bin/env bash
#
# TPU VMs of the Cloud TPU API (v2 to v6e): one host, or a slice, always with all its workers.
#
#   launch/tpu_vm.sh create [--queued=1] [--spot=1]    at once or not at all; --queued=1: wait for it
#   launch/tpu_vm.sh setup                             copy the last commit, create the environment
#   launch/tpu_vm.sh run [--config.key=value ...]
#   launch/tpu_vm.sh status | watch | stop | fetch     stop: only the run; the TPU is still billed
#   launch/tpu_vm.sh delete                            asks first
#   launch/tpu_vm.sh keep [--config. ...]   create, setup and run, again after every preemption, until done
#
# Variables, or flags (--name=N), before `--`; --dry_run only prints the commands:
#   NAME PROJECT ZONE ACCELERATOR_TYPE RUNTIME_VERSION     my-tpu my-project us-west4-a
#                                                          v5litepod-16 v2-alpha-tpuv5-lite
#   SPOT QUEUED      1, or nothing
#   VALID_UNTIL      how long a queued request waits (6h)
#   CONFIG WORKDIR   the run (run, keep)
#   STORE            gs://BUCKET/DIR; needed by slices, which share checkpoints, and by keep
#   DEST             where fetch puts the working directory (fetched)
#   RETRIES WATCH_S  keep: how many TPUs at most (20), seconds between two checks (60)
#   MAX_RESTARTS PAUSE_S MODULE      as in run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
source launch/workers.sh
source launch/keep_running.sh

action=${1:---help}
shift || true
[[ $action != --help && $action != -h ]] || options "" --help
DEST=${DEST:-fetched} VALID_UNTIL=${VALID_UNTIL:-6h} SPOT=${SPOT:-} QUEUED=${QUEUED:-}
options "NAME PROJECT ZONE ACCELERATOR_TYPE RUNTIME_VERSION SPOT QUEUED VALID_UNTIL CONFIG WORKDIR STORE DEST RETRIES WATCH_S MAX_RESTARTS PAUSE_S MODULE" "$@"
need NAME PROJECT ZONE
need_name
count RETRIES WATCH_S MAX_RESTARTS PAUSE_S
place=("--project=$PROJECT" "--zone=$ZONE")
# Read by workers.sh: each worker asks its metadata server for its number.
EXTRA=tpu PROCESS=metadata

to_all() {
  step gcloud compute tpus tpu-vm scp "$1" "$NAME:" "${place[@]}" --worker=all
}

on_all() {
  step gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker=all --command="$1"
}

create() {
  need ACCELERATOR_TYPE RUNTIME_VERSION
  local type=("--accelerator-type=$ACCELERATOR_TYPE") spot=()
  [[ -z $SPOT ]] || spot=(--spot)
  if [[ -n $QUEUED ]]; then
    step gcloud compute tpus queued-resources create "$NAME" "${place[@]}" "--node-id=$NAME" \
      "${type[@]}" "--runtime-version=$RUNTIME_VERSION" "--valid-until-duration=$VALID_UNTIL" "${spot[@]}"
  else
    step gcloud compute tpus tpu-vm create "$NAME" "${place[@]}" "${type[@]}" \
      "--version=$RUNTIME_VERSION" "${spot[@]}"
  fi
}

# READY, PREEMPTED, ..., or nothing if there is none (yet); for a queued one, its state.
state() {
  local found
  found=$(step gcloud compute tpus tpu-vm describe "$NAME" "${place[@]}" '--format=value(state)' 2>/dev/null) || true
  if [[ -z $found && -n $QUEUED ]]; then
    found=$(step gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" '--format=value(state.state)' 2>/dev/null) || true
  fi
  echo "$found"
}

remove() {
  if [[ -n $QUEUED ]]; then
    step gcloud compute tpus queued-resources delete "$NAME" "${place[@]}" --force --quiet
  else
    step gcloud compute tpus tpu-vm delete "$NAME" "${place[@]}" --quiet
  fi
}

case $action in
  create) create ;;
  setup | run | status | watch | stop) "workers_$action" ;;
  fetch)
    if [[ -n ${STORE:-} ]]; then
      fetch_store
    else # one host: nothing else has the results
      need WORKDIR
      step mkdir -p "$DEST"
      step gcloud compute tpus tpu-vm scp --recurse "$NAME:distill_jax/$WORKDIR" "$DEST" "${place[@]}" --worker=0
    fi
    ;;
  delete)
    confirm "$NAME" "This deletes $NAME with its disks; what is in STORE stays."
    remove
    ;;
  keep) keep_running ;;
  *) fail "unknown command $action (see $0 --help)" ;;
esac
