#!/usr/bin/env bash
#
# Sourced by run.sh with PROCESS=metadata: PROCESS, PROCESSES and COORDINATOR of this TPU VM, from
# the metadata server that every VM of Google Cloud has. Cloud TPU VMs call their number
# agent-worker-number (what JAX itself reads), TPU slices of Compute Engine worker-id.
# shellcheck source=launch/steps.sh
[[ $0 != "${BASH_SOURCE[0]}" ]] || { source "${0%/*}/steps.sh" && only_sourced "$@"; }

attribute() {
  curl --silent --fail --max-time 10 --retry 5 --retry-connrefused -H 'Metadata-Flavor: Google' \
    "http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1/instance/attributes/$1"
}

PROCESS=$(attribute agent-worker-number || attribute worker-id || true)
# Host names or addresses separated by commas, each possibly as NAME:NUMBER:ADDRESS.
endpoints=$(attribute worker-network-endpoints || true)
if [[ ! $PROCESS =~ ^[0-9]+$ || -z $endpoints ]]; then
  fail "the metadata server does not tell which worker this is: set PROCESSES, PROCESS and COORDINATOR"
fi
IFS=, read -r -a workers <<<"$endpoints"
PROCESSES=${#workers[@]}
COORDINATOR=${workers[0]##*:}:8482
