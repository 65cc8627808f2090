#!/usr/bin/env bash
#
# A TPU slice of Google Kubernetes Engine, as a JobSet (jobset.yaml). You need a cluster with a TPU
# node pool and the JobSet controller, and an image that the Dockerfile built for tpu.
#
#   launch/gke.sh render [--config.key=value ...]     print the manifest
#   launch/gke.sh apply [--config. ...] | status | watch | fetch
#   launch/gke.sh delete                                 asks first; also ends the run
#
# Variables, or flags (--name=N), before `--`; --dry_run only prints the commands:
#   NAME IMAGE                        my-run REGISTRY/distill_jax:tpu
#   ACCELERATOR TOPOLOGY              tpu-v6e-slice 4x4
#   HOSTS CHIPS_PER_HOST              4 4
#   STORE            gs://BUCKET/DIR  (SERVICE_ACCOUNT, default, must be able to write there)
#   CONFIG WORKDIR   the run
#   SPOT             1: spot nodes
#   MAX_RESTARTS     of the whole JobSet (10)
#   DEST             where fetch puts the working directory (fetched)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
source launch/workers.sh

action=${1:---help}
shift || true
[[ $action != --help && $action != -h ]] || options "" --help
SPOT=${SPOT:-} MAX_RESTARTS=${MAX_RESTARTS:-10} SERVICE_ACCOUNT=${SERVICE_ACCOUNT:-default}
DEST=${DEST:-fetched}
options "NAME IMAGE ACCELERATOR TOPOLOGY HOSTS CHIPS_PER_HOST STORE CONFIG WORKDIR SPOT SERVICE_ACCOUNT MAX_RESTARTS DEST" "$@"
[[ -z ${NAME:-} ]] || need_name
count HOSTS CHIPS_PER_HOST MAX_RESTARTS

# The arguments of the program as a JSON list, which is also YAML.
json_list() {
  local word list=''
  for word in "$@"; do
    word=${word//\\/\\\\}
    list+=", \"${word//\"/\\\"}\""
  done
  echo "[${list#, }]"
}

render() {
  local names=(NAME IMAGE ACCELERATOR TOPOLOGY HOSTS CHIPS_PER_HOST STORE CONFIG WORKDIR
    SERVICE_ACCOUNT MAX_RESTARTS)
  local name text PROCESSES=0 ARGUMENTS
  need "${names[@]}"
  for name in "${names[@]}"; do
    [[ ${!name} =~ ^[A-Za-z0-9_./:@-]+$ ]] || fail "$name=${!name} has characters that are not allowed there"
  done
  ((HOSTS > 1)) || PROCESSES=1
  ARGUMENTS=$(json_list "${REST[@]}")
  text=$(<launch/jobset.yaml)
  for name in "${names[@]}" PROCESSES ARGUMENTS; do
    text=${text//"\${$name}"/"${!name}"}
  done
  if [[ -n $SPOT ]]; then
    echo "$text"
  else
    grep -v '# only with SPOT$' <<<"$text"
  fi
}

case $action in
  render) render ;;
  apply)
    manifest=${TMPDIR:-/tmp}/distill_jax_jobset.yaml
    render >"$manifest"
    step kubectl apply -f "$manifest"
    ;;
  status)
    need NAME
    step kubectl get jobset "$NAME"
    step kubectl get pods -l "jobset.sigs.k8s.io/jobset-name=$NAME" -o wide
    ;;
  watch)
    need NAME
    step kubectl logs -f -l "jobset.sigs.k8s.io/jobset-name=$NAME" --prefix --max-log-requests=64
    ;;
  fetch)
    need STORE
    fetch_store
    ;;
  delete)
    need NAME
    confirm "$NAME" "This ends the run $NAME and deletes its JobSet; what is in STORE stays."
    step kubectl delete jobset "$NAME"
    ;;
  *) fail "unknown command $action (see $0 --help)" ;;
esac
