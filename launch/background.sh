#!/usr/bin/env bash
#
# run.sh on this host; it continues after the terminal or the ssh connection is closed.
#
#   launch/background.sh start [flags of run.sh] [--config.key=value ...]
#   launch/background.sh status     whether it is running, or how it ended, and its last lines
#   launch/background.sh stop       sends SIGTERM: it saves the state and ends
#
# Its output goes to LAUNCH_DIR/log (LAUNCH_DIR is runs/.launch, relative to the source tree).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh

LAUNCH_DIR=${LAUNCH_DIR:-runs/.launch}

running() {
  # After a restart of the machine another program may have this number.
  [[ -e $LAUNCH_DIR/pid ]] && grep -qs launch/run.sh "/proc/$(cat "$LAUNCH_DIR/pid")/cmdline"
}

case ${1:-} in
  start)
    ! running || fail "$(hostname): a run is already running (launch/background.sh status, stop)"
    mkdir -p "$LAUNCH_DIR"
    shift
    setsid nohup launch/run.sh "$@" >>"$LAUNCH_DIR/log" 2>&1 </dev/null 3>&- &
    echo $! >"$LAUNCH_DIR/pid"
    # Mistakes in its variables are shown at once.
    sleep 1
    running || grep -q 'ended with exit code 0$' <(tail -n 1 "$LAUNCH_DIR/log") ||
      fail "$(hostname): $(tail -n 1 "$LAUNCH_DIR/log")"
    echo "$(hostname): started, its output is in $PWD/$LAUNCH_DIR/log"
    ;;
  status)
    [[ -e $LAUNCH_DIR/log ]] || fail "$(hostname): nothing was started"
    tail -n 5 "$LAUNCH_DIR/log" | sed "s/^/$(hostname): /"
    running && echo "$(hostname): running" && exit 0
    ended=$(sed -n 's/^launch: ended with exit code //p' "$LAUNCH_DIR/log" | tail -n 1)
    echo "$(hostname): ended with exit code ${ended:-unknown (killed)}"
    ;;
  stop)
    running || fail "$(hostname): nothing is running"
    kill -TERM "$(cat "$LAUNCH_DIR/pid")"
    echo "$(hostname): told to save and stop"
    ;;
  *)
    show_help
    [[ ${1:-} == --help || ${1:-} == -h ]] || exit 2
    ;;
esac
