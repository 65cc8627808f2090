#!/usr/bin/env bash
#
# Sourced by the launchers that reach their hosts over ssh: the same steps on every one of them. A
# launcher defines on_all COMMAND (a line of shell, in the home directory of every host) and to_all
# FILE (copy it there).
# shellcheck source=launch/steps.sh
[[ $0 != "${BASH_SOURCE[0]}" ]] || { source "${0%/*}/steps.sh" && only_sourced "$@"; }

# Variables that are passed to the hosts, if they are set here.
PASSED=(CONFIG WORKDIR EXTRA STORE PROCESSES PROCESS COORDINATOR MAX_RESTARTS PAUSE_S MODULE)

# Copy the last commit to every host, and create the environment there.
workers_setup() {
  local archive=${TMPDIR:-/tmp}/distill_jax_source.tar.gz
  if [[ -n $(git status --porcelain --untracked-files=no) ]]; then
    echo "note: changes that are not committed are not copied" >&2
  fi
  step git archive --format=tar.gz -o "$archive" HEAD || return
  to_all "$archive" || return
  on_all "mkdir -p distill_jax && tar -xzf distill_jax_source.tar.gz -C distill_jax && cd distill_jax && $(settings EXTRA STORE) launch/run.sh --setup_only"
}

workers_run() {
  need CONFIG WORKDIR
  local arguments=''
  ((${#REST[@]} == 0)) || arguments=" -- $(quoted "${REST[@]}")"
  on_all "cd distill_jax && $(settings "${PASSED[@]}") launch/background.sh start$arguments"
}

workers_status() {
  on_all "cd distill_jax && launch/background.sh status"
}

workers_stop() {
  on_all "cd distill_jax && launch/background.sh stop"
}

# Print the status every WATCH_S seconds until no host is running.
workers_watch() {
  local said
  while true; do
    said=$(workers_status) || true
    echo "$said"
    [[ -z $DRY_RUN && $said == *": running"* ]] || break
    sleep "${WATCH_S:-60}"
  done
}

# settings NAMES: `env NAME=value ...` of those that are set.
settings() {
  local name words=(env)
  for name in "$@"; do
    [[ -z ${!name:-} ]] || words+=("$name=${!name}")
  done
  quoted "${words[@]}"
}

# fetch_store: the results of a run with STORE, to DEST.
fetch_store() {
  step mkdir -p "$DEST/checkpoints"
  case $STORE in
    gs://*)
      step gcloud storage rsync --recursive "$STORE/workdir" "$DEST"
      step gcloud storage rsync --recursive "$STORE/checkpoints" "$DEST/checkpoints"
      ;;
    *) fail "$STORE is a disk: its files are in $STORE/workdir and $STORE/checkpoints" ;;
  esac
  echo "launch: evaluate it here with $(quoted --workdir "$DEST" "--config.checkpoint_dir=$DEST/checkpoints")"
}
