#!/usr/bin/env bash
#
# Sourced by the other scripts: their help, their options, missing variables, and commands that are
# shown before they run.

DRY_RUN=${DRY_RUN:-}
YES=${YES:-}
# Arguments of the program: keys of the config, and everything after `--`.
REST=()
# Commands are shown here, also from inside $(...).
exec 3>&1

fail() {
  echo "error: $1" >&2
  exit 2
}

# The comment at the top of the script that was called.
show_help() {
  sed -nE '1,/^[^#]/{2{/^#$/d;};/^# shellcheck/d;s/^#( |$)//p;}' "$0"
}

# For a file that is only sourced, if someone runs it.
only_sourced() {
  [[ ${1:-} != --help && ${1:-} != -h ]] || options "" --help
  fail "$0 does nothing by itself (the scripts to run: launch/README.md)"
}

# options "NAME ZONE" ARGUMENTS: --zone=Z sets ZONE; --dry_run, --yes, --help. Keys of the config and
# everything after `--` go to REST.
options() {
  local known=" $1 " name
  shift
  store_place
  while (($#)); do
    case $1 in
      --help | -h)
        show_help
        exit 0
        ;;
      --dry_run) DRY_RUN=1 ;;
      --yes) YES=1 ;;
      --)
        REST+=("${@:2}")
        return
        ;;
      --config.*=*) REST+=("$1") ;;
      --config.*)
        (($# > 1)) || fail "$1 has no value: write $1=VALUE"
        REST+=("$1" "$2")
        shift
        ;;
      --*=*)
        name=${1%%=*}
        name=${name#--}
        [[ $known == *" ${name^^} "* ]] || fail "unknown option --$name (see $0 --help)"
        printf -v "${name^^}" '%s' "${1#*=}"
        store_place
        ;;
      --*)
        name=${1#--}
        [[ $known == *" ${name^^} "* ]] || fail "unknown option $1 (see $0 --help)"
        fail "$1 needs its value after an equals sign: $1=$(quoted "${2:-VALUE}")"
        ;;
      *) fail "unknown argument $1 (see $0 --help)" ;;
    esac
    shift
  done
}

# STORE, if it is set, must be a possible place, without slashes at its end, because gs://B/DIR//workdir
# is another object than gs://B/DIR/workdir.
store_place() {
  [[ -n ${STORE:-} ]] || return 0
  [[ $STORE != *:/* || $STORE == gs://[a-z0-9]* ]] ||
    fail "STORE=$STORE: gs://BUCKET/DIR or a directory is expected"
  while [[ $STORE == ?*/ ]]; do STORE=${STORE%/}; done
}

# need NAMES: every one of these variables has a value.
need() {
  local missing=() name
  for name in "$@"; do
    [[ -n ${!name:-} ]] || missing+=("$name")
  done
  ((${#missing[@]} == 0)) || fail "set ${missing[*]} (see $0 --help)"
}

# count NAMES: if these variables have values, they are whole numbers.
count() {
  local name
  for name in "$@"; do
    [[ ${!name:-0} =~ ^[0-9]+$ ]] || fail "$name=${!name} is not a number"
  done
}

# need_name: NAME is valid for Google Cloud and Kubernetes.
need_name() {
  need NAME
  local LC_ALL=C # elsewhere a-z has capitals too
  [[ $NAME =~ ^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$ ]] ||
    fail "NAME=$NAME: lower-case letters, digits and -, a letter first, at most 63 characters"
}

# Words as one would type them, quoted only if needed.
quoted() {
  local word line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+~-]+$ ]] || word=${word@Q}
    line+=" $word"
  done
  echo "${line# }"
}

# Show a command, then run it unless --dry_run.
step() {
  echo "+ $(quoted "$@")" >&3
  [[ -n $DRY_RUN ]] || "$@"
}

# confirm NAME WHAT: ends the script unless NAME is typed, or --yes was given.
confirm() {
  local answer=
  [[ -z $YES && -z $DRY_RUN ]] || return 0
  read -r -p "$2 Type $1 to go on: " answer || true
  [[ $answer == "$1" ]] || fail "nothing was deleted"
}

[[ $0 != "${BASH_SOURCE[0]}" ]] || only_sourced "$@"
