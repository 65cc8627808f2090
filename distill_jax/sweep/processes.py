"""The processes of a sweep's runs, some at a time.

A process per run, not one for all: out of memory, a crash of the compiler or a device that hangs
then ends one run and not the sweep, memory is given back, and every run is what its own command
would have made. What that costs is the imports, seconds per run; compiled programs are shared by
jax's persistent cache (a run compiles ahead of time, so that even one process for all would not
share them by itself), annotations and tokenizer by shared_data.py.
"""

import collections
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO

from distill_jax import errors
from distill_jax.sweep.definition import SweepRun

POLL_S = 0.1
CACHE = "JAX_COMPILATION_CACHE_DIR"


class RunProcess:
    """A run that is under way; what it says goes to `log`."""

    def __init__(self, run: SweepRun, directory: pathlib.Path, lock: IO[str], yes: bool):
        """`lock` of the sweep's `directory`: while a run goes on, it is held, even where the
        sweep's own process was killed. `yes` as for `distill_jax.main`."""
        self.run = run
        self.log = directory / "logs" / f"{run.name}.txt"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        with open(self.log, "ab") as log:
            self._start = log.tell()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "distill_jax.sweep.child"),
                    *run.arguments(directory / run.name),
                    *(["--yes"] if yes else []),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(directory),
                pass_fds=[lock.fileno()],
                # Ctrl-C is for the sweep, which passes it on, to all of them alike.
                start_new_session=True,
            )

    def interrupt(self) -> None:
        """Ask the run to save its state and end."""
        self._process.terminate()

    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int:
        """Of a run that has ended; negative: the signal that ended it."""
        assert self._process.returncode is not None
        return self._process.returncode

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def last_words(self) -> str:
        """Why it failed, in one line: its error, or the last line of its traceback."""
        if self.exit_code < 0:
            name = signal.Signals(-self.exit_code).name
            hint = " (was memory short?)" if name == "SIGKILL" else ""
            return f"ended by {name}{hint}; see {self.log}"
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(self._start)
            lines = [line.strip() for line in log if line.strip()]
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if said:
            return said[-1]
        last = lines[-1] if lines else "it said nothing"
        return f"exit code {self.exit_code}: {last}; see {self.log}"


def run_all(
    runs: Iterable[SweepRun],
    jobs: int,
    start: Callable[[SweepRun], RunProcess],
    on_end: Callable[[RunProcess], None],
) -> None:
    """Start every run, `jobs` at a time, and call `on_end` as they end.

    After SIGINT or SIGTERM those that run save their state, and `errors.Interrupted` is raised; a
    second signal raises it at once.
    """
    waiting, running = collections.deque(runs), []
    told = False
    with errors.signals_deferred():
        while running or (waiting and not errors.interrupted()):
            while waiting and len(running) < jobs and not errors.interrupted():
                running.append(start(waiting.popleft()))
            if errors.interrupted() and not told:
                told = True
                for process in running:
                    process.interrupt()
            for process in [each for each in running if each.ended()]:
                running.remove(process)
                on_end(process)
            time.sleep(POLL_S)


def _environment(directory: pathlib.Path) -> dict[str, str]:
    """Unbuffered, so that the last line is the last; one cache of compiled programs for all."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if CACHE not in environment:
        environment[CACHE] = str((directory / ".compilation_cache").resolve())
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return environment
