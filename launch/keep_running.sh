#!/usr/bin/env bash
#
# Sourced by the TPU launchers: machines that may be preempted are created again until the run is
# done. A launcher defines create, remove, and state, which prints READY when the machine can be used.
# shellcheck source=launch/steps.sh
[[ $0 != "${BASH_SOURCE[0]}" ]] || { source "${0%/*}/steps.sh" && only_sourced "$@"; }

# The disk of a preempted machine is lost, so the run continues from STORE. Ends when every host has
# ended with 0, or one of them with a code after which another run is no use; the machine remains.
keep_running() {
  need CONFIG WORKDIR STORE
  local now left=${RETRIES:-20} started=''
  while true; do
    now=$(state)
    case ${now:-NONE} in
      READY)
        if [[ -z $started ]]; then
          if workers_setup && workers_run; then started=1; fi
        elif ended; then
          return
        fi
        ;;
      NONE | PREEMPTED | TERMINATED | STOPPED | SUSPENDED | FAILED)
        [[ -z $now ]] || remove || true
        spend "$NAME is ${now:-not there}: making it"
        started=''
        create || true
        ;;
      *) ;; # CREATING, WAITING_FOR_RESOURCES, PROVISIONING, ...: later
    esac
    if [[ -n $DRY_RUN ]]; then
      workers_setup
      workers_run
      return
    fi
    sleep "${WATCH_S:-60}"
  done
}

# spend WHAT: use one of the RETRIES.
spend() {
  ((left > 0)) || fail "$1: gave up, --retries are used up ($NAME may still be there: delete it)"
  left=$((left - 1))
  echo "launch: $1 ($left more times at most)" >&2
}

# Whether every host is done. Restarts hosts that gave up; ends the script if that is no use.
ended() {
  local said codes code
  said=$(workers_status) || return 1 # not reached: perhaps it is being taken away
  echo "$said"
  [[ $said != *": running"* ]] || return 1
  codes=$(sed -n 's/.*: ended with exit code //p' <<<"$said" | sort -u)
  if [[ $codes == 0 ]]; then
    echo "launch: the run is done; $NAME is billed until you delete it"
    return
  fi
  for code in $codes; do
    case $code in
      0 | 75 | 134 | 137 | 139 | 143 | unknown | '(killed)') ;;
      *) fail "the run ended with exit code $code; $NAME is billed until you delete it" ;;
    esac
  done
  spend "the run on $NAME gave up: starting it again"
  workers_run || true
  return 1
}
