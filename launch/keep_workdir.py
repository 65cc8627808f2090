"""Copy a working directory to a place that outlives this machine, and back.

    python launch/keep_workdir.py restore WORKDIR STORE     once, before the run
    python launch/keep_workdir.py save WORKDIR STORE        once
    python launch/keep_workdir.py save WORKDIR STORE --while PID     until that process has ended

STORE is a directory or gs://BUCKET/DIR. Checkpoints are not copied: all processes write them to
config.checkpoint_dir, which must lie outside of WORKDIR.
"""

import argparse
import os
import pathlib
import signal
import time

from etils import epath

SKIPPED = ("checkpoints", ".lock")
Seen = dict[str, tuple[int, int]]  # name: size and time of the file that was copied last


def save(workdir: pathlib.Path, store: epath.Path, seen: Seen) -> None:
    """Make `store` like `workdir`; `seen` knows what was copied and is brought up to date.

    A directory without config.json holds no run (yet): it never replaces one that does.
    """
    here = {path.relative_to(workdir).as_posix(): path for path in _files(workdir)}
    if "config.json" not in here:
        return
    # config.json last: a store that has it has the rest.
    for name in sorted(here, key=lambda name: name == "config.json"):
        try:
            facts = here[name].stat()
            if seen.get(name) == (facts.st_size, facts.st_mtime_ns):
                continue
            _write(store / name, here[name].read_bytes())
        except FileNotFoundError:  # deleted meanwhile
            continue
        seen[name] = (facts.st_size, facts.st_mtime_ns)
    for path in _files(store):
        name = path.relative_to(store).as_posix()
        if name not in here:
            path.unlink(missing_ok=True)
            seen.pop(name, None)


def restore(workdir: pathlib.Path, store: epath.Path) -> int:
    """Copy `store` to `workdir` where that holds no run; returns how many files were copied."""
    if (workdir / "config.json").exists() or not (store / "config.json").exists():
        return 0
    files = {path.relative_to(store).as_posix(): path for path in _files(store)}
    for name in sorted(files, key=lambda name: name == "config.json"):
        _write(epath.Path(workdir) / name, files[name].read_bytes())
    return len(files)


def _files(directory: pathlib.Path | epath.Path) -> list:
    """Every file under `directory` that is to be copied."""
    found = []
    if directory.exists():
        for path in directory.iterdir():
            if path.name in SKIPPED or path.name.endswith(".tmp"):
                continue
            found += _files(path) if path.is_dir() else [path]
    return found


def _write(path: epath.Path, data: bytes) -> None:
    """The old file or the new one, never a part of it."""
    if "://" in str(path):  # a bucket does that by itself
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{path.name}.tmp"
    temporary.write_bytes(data)
    temporary.replace(path)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Copy a working directory to a place that outlives this machine, and back."
    )
    parser.add_argument("action", choices=["save", "restore"])
    parser.add_argument("workdir", type=lambda name: pathlib.Path(name).expanduser())
    parser.add_argument("store", type=lambda name: epath.Path(name).expanduser())
    parser.add_argument("--while", type=int, dest="pid", help="save again and again while it runs")
    parser.add_argument("--every_s", type=float, default=15, help="seconds between two looks")
    arguments = parser.parse_args()
    if arguments.action == "restore":
        copied = restore(arguments.workdir, arguments.store)
        if copied:
            print(f"launch: {copied} files of {arguments.store} are in {arguments.workdir} again")
        return
    # The run is told to stop by run.sh; what it writes last is to be copied, too.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen: Seen = {}
    while arguments.pid and _runs(arguments.pid):
        save(arguments.workdir, arguments.store, seen)
        again = time.monotonic() + arguments.every_s
        while time.monotonic() < again and _runs(arguments.pid):
            time.sleep(0.2)
    save(arguments.workdir, arguments.store, seen)


if __name__ == "__main__":
    main()
