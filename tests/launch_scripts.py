"""How the tests run the scripts of launch/, and executables that stand in for what is not here."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / "launch"

# `PYTHON` of run.sh: notes how it was called, and does what the next line of `codes` says.
PROGRAM = """#!/usr/bin/env bash
[[ $1 == -m ]] || exec {python} "$@"
echo "$*" >>{directory}/calls
what=$(sed -n "$(wc -l <{directory}/calls)p" {directory}/codes)
case $what in
  wait)
    trap 'echo TERM >>{directory}/signals; sleep 0.5; exit 75' TERM
    while :; do sleep 0.05; done
    ;;
  SIG*) kill -s "${{what#SIG}}" $$ ;;
  *) exit "${{what:-0}}" ;;
esac
"""


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def program(directory, *codes):
    """A stand-in for Python that ends with these codes, one after another; see `calls`."""
    (directory / "codes").write_text("".join(f"{code}\n" for code in codes))
    text = PROGRAM.format(directory=directory, python=sys.executable)
    return executable(directory / "python", text)


def calls(directory, name="calls"):
    path = directory / name
    return path.read_text().splitlines() if path.exists() else []


def variables(**given):
    """The environment without what a person or Slurm may have set, and with `given`."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG")
    return {k: v for k, v in os.environ.items() if k in keep} | {
        k: str(v) for k, v in given.items()
    }


def script(name, *arguments, cwd=ROOT, stdin="", **given):
    return subprocess.run(
        [LAUNCH / f"{name}.sh", *map(str, arguments)], cwd=cwd, env=variables(**given), input=stdin,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def shown(name, *arguments, **given):
    """The commands that `--dry_run` prints, without the leading `+`."""
    done = script(name, arguments[0], "--dry_run", *arguments[1:], **given)
    assert done.returncode == 0, done.stderr
    return [line[2:] for line in done.stdout.splitlines() if line.startswith("+ ")]
