#!/usr/bin/env bash
#
# TPUs as virtual machines of Compute Engine (v5p, v6e, TPU7x and later): one machine, or a slice of
# several as a managed instance group.
#
#   launch/tpu_compute.sh create [--spot=1]
#   launch/tpu_compute.sh setup                        copy the last commit, create the environment
#   launch/tpu_compute.sh run [--config.key=value ...]
#   launch/tpu_compute.sh status | watch | stop | fetch     stop: the run only
#   launch/tpu_compute.sh delete                       asks first
#   launch/tpu_compute.sh keep [--config. ...]   create, setup and run, again if machines are preempted
#
# Variables, or flags (--name=N), before `--`; --dry_run only prints the commands:
#   NAME PROJECT ZONE                my-slice my-project us-central1-c
#   MACHINE_TYPE                     tpu7x-standard-4t
#   IMAGE_FAMILY IMAGE_PROJECT       ubuntu-accel-2404-amd64-tpu-tpu7x ubuntu-os-accelerator-images
#   HOSTS TOPOLOGY   a slice: machines (2) and chips (2x2x2); without them one machine
#   DISK_SIZE DISK_TYPE              100GB hyperdisk-balanced
#   SPOT             1, or nothing
#   RESERVATION      a reservation to use
#   CONFIG WORKDIR   the run (run, keep)
#   STORE            gs://BUCKET/DIR; needed by slices, which share checkpoints, and by keep
#   DEST             where fetch puts the working directory (fetched)
#   RETRIES WATCH_S  keep: how often to create it at most (20), seconds between two checks (60)
#   MAX_RESTARTS PAUSE_S MODULE      as in run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
source launch/workers.sh
source launch/keep_running.sh

action=${1:---help}
shift || true
[[ $action != --help && $action != -h ]] || options "" --help
DEST=${DEST:-fetched} SPOT=${SPOT:-} RESERVATION=${RESERVATION:-} HOSTS=${HOSTS:-1}
DISK_SIZE=${DISK_SIZE:-100GB} DISK_TYPE=${DISK_TYPE:-hyperdisk-balanced}
IMAGE_PROJECT=${IMAGE_PROJECT:-ubuntu-os-accelerator-images}
options "NAME PROJECT ZONE MACHINE_TYPE IMAGE_FAMILY IMAGE_PROJECT HOSTS TOPOLOGY DISK_SIZE DISK_TYPE SPOT RESERVATION CONFIG WORKDIR STORE DEST RETRIES WATCH_S MAX_RESTARTS PAUSE_S MODULE" "$@"
need NAME PROJECT ZONE
need_name
count HOSTS RETRIES WATCH_S MAX_RESTARTS PAUSE_S
project="--project=$PROJECT" zone="--zone=$ZONE" region=${ZONE%-*}
# Read by workers.sh: each machine asks its metadata server for its number.
EXTRA=tpu
((HOSTS == 1)) || PROCESS=metadata

machines() {
  if ((HOSTS == 1)); then
    echo "$NAME"
  elif [[ -n $DRY_RUN ]]; then
    echo "MACHINE" # their names are known when they exist
  else
    gcloud compute instance-groups managed list-instances "$NAME" "$project" "$zone" '--format=value(name)'
  fi
}

# each MACHINE..: `"$@" machine` on all machines at once; ends with the code of one that failed.
each() {
  local machine names pids=() pid code=0
  names=$(machines) || return
  if [[ -z $names ]]; then
    echo "launch: $NAME has no machines" >&2
    return 1
  fi
  for machine in $names; do
    "$@" "$machine" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || code=$?
  done
  return "$code"
}

copy_to() { step gcloud compute scp "$1" "$2:" "$project" "$zone"; }
run_on() { step gcloud compute ssh "$2" "$project" "$zone" --command="$1"; }
to_all() { each copy_to "$1"; }
on_all() { each run_on "$1"; }

create() {
  need MACHINE_TYPE IMAGE_FAMILY
  local machine=(
    "--machine-type=$MACHINE_TYPE" "--image-family=$IMAGE_FAMILY" "--image-project=$IMAGE_PROJECT"
    "--boot-disk-size=$DISK_SIZE" "--boot-disk-type=$DISK_TYPE"
    --maintenance-policy=TERMINATE --scopes=cloud-platform
  )
  [[ -z $SPOT ]] || machine+=(--provisioning-model=SPOT --instance-termination-action=STOP)
  if [[ -n $RESERVATION ]]; then
    machine+=(--provisioning-model=RESERVATION_BOUND --reservation-affinity=specific
      "--reservation=$RESERVATION" --instance-termination-action=DELETE)
  fi
  if ((HOSTS == 1)); then
    step gcloud compute instances create "$NAME" "$project" "$zone" "${machine[@]}"
    return
  fi
  need TOPOLOGY
  step gcloud compute resource-policies create workload-policy "$NAME" "$project" \
    "--region=$region" --type=HIGH_THROUGHPUT "--accelerator-topology=$TOPOLOGY"
  step gcloud compute instance-templates create "$NAME" "$project" "${machine[@]}"
  step gcloud compute instance-groups managed create "$NAME" "$project" "$zone" \
    "--template=$NAME" "--size=$HOSTS" --default-action-on-vm-failure=do-nothing \
    "--workload-policy=projects/$PROJECT/regions/$region/resourcePolicies/$NAME"
}

# READY if all machines run; STOPPED if one was preempted; nothing if there is none.
state() {
  local found
  if ((HOSTS == 1)); then
    found=$(step gcloud compute instances describe "$NAME" "$project" "$zone" '--format=value(status)' 2>/dev/null) || true
  else
    found=$(step gcloud compute instance-groups managed list-instances "$NAME" "$project" "$zone" '--format=value(instanceStatus)' 2>/dev/null) || true
  fi
  case $found in
    '') ;;
    *TERMINATED* | *STOP* | *SUSPEND*) echo STOPPED ;;
    *) [[ $(grep -cx RUNNING <<<"$found") == "$HOSTS" ]] && echo READY || echo CREATING ;;
  esac
}

# Deletes what create made; missing parts do not stop it.
remove() {
  if ((HOSTS == 1)); then
    step gcloud compute instances delete "$NAME" "$project" "$zone" --quiet
    return
  fi
  step gcloud compute instance-groups managed delete "$NAME" "$project" "$zone" --quiet || true
  step gcloud compute instance-templates delete "$NAME" "$project" --quiet || true
  step gcloud compute resource-policies delete "$NAME" "$project" "--region=$region" --quiet
}

case $action in
  create) create ;;
  setup | status | watch | stop) "workers_$action" ;;
  run)
    ((HOSTS == 1)) || need STORE
    workers_run
    ;;
  fetch)
    if [[ -n ${STORE:-} ]]; then
      fetch_store
    else
      ((HOSTS == 1)) || need STORE
      need WORKDIR
      step mkdir -p "$DEST"
      step gcloud compute scp --recurse "$NAME:distill_jax/$WORKDIR" "$DEST" "$project" "$zone"
    fi
    ;;
  delete)
    confirm "$NAME" "This deletes $NAME (HOSTS=$HOSTS) with its disks; what is in STORE stays."
    remove
    ;;
  keep) keep_running ;;
  *) fail "unknown command $action (see $0 --help)" ;;
esac
