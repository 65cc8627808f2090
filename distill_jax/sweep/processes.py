"""The processes of a sweep's steps, several at a time.

Each run has its own process. If a run is out of memory, the compiler crashes or a device hangs,
only that run ends and not the sweep; its memory is freed; and every run is the same as by its own
command. This costs some seconds per run for imports. Compiled programs are shared by jax's
persistent cache (a run compiles ahead of time, so one process for all runs would not share them
either), and annotations and tokenizer by shared_data.py.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO

from distill_jax import errors
from distill_jax.sweep.definition import Run
from distill_jax.sweep.plan import SweepStep

POLL_S = 0.1
CACHE = "JAX_COMPILATION_CACHE_DIR"


class StepProcess:
    """A running step; its output goes to `log`."""

    def __init__(self, step: SweepStep, directory: pathlib.Path, lock: IO[str], yes: bool):
        """`lock` is that of the sweep's `directory`; a running step holds it, even if the sweep's
        own process was killed. `yes` as for `distill_jax.main`."""
        self.step = step
        self.log = directory / "logs" / f"{step.name}.txt"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        with open(self.log, "ab") as log:
            self._start = log.tell()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "distill_jax.sweep.child", step.module),
                    *step.arguments(directory),
                    *(["--yes"] if yes and isinstance(step.step, Run) else []),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(directory),
                pass_fds=[lock.fileno()],
                # Ctrl-C reaches the sweep, which passes it on to all of them.
                start_new_session=True,
            )

    def interrupt(self) -> None:
        """Ask the step to save its state and end."""
        self._process.terminate()

    def ended(self) -> bool:
        """Whether the step has ended."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int:
        """The exit code of a step that has ended; negative: the signal that ended it."""
        assert self._process.returncode is not None
        return self._process.returncode

    def seconds(self) -> float:
        """Seconds since it began."""
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
        last = lines[-1] if lines else "it printed nothing"
        return f"exit code {self.exit_code}: {last}; see {self.log}"


def run_all(
    steps: Iterable[SweepStep],
    jobs: int,
    start: Callable[[SweepStep], StepProcess],
    on_end: Callable[[StepProcess], None],
    may_begin: Callable[[SweepStep], bool],
) -> None:
    """Start the steps whose needs are done, `jobs` at a time, in their order. Call `on_end` when
    one ends, after which others may begin. Steps whose needs are never done are not started.

    After SIGINT or SIGTERM, running steps save their state, and `errors.Interrupted` is raised. A
    second signal raises it at once.
    """
    waiting, running = list(steps), []
    told = False
    with errors.signals_deferred():
        while True:
            ready = [each for each in waiting if may_begin(each)]
            for step in ready[: jobs - len(running)] if not errors.interrupted() else ():
                waiting.remove(step)
                running.append(start(step))
            if not running:
                break
            if errors.interrupted() and not told:
                told = True
                for process in running:
                    process.interrupt()
            for process in [each for each in running if each.ended()]:
                running.remove(process)
                on_end(process)
            time.sleep(POLL_S)


def _environment(directory: pathlib.Path) -> dict[str, str]:
    """Output is unbuffered, so that the log's last line is the last one; all share one cache of
    compiled programs."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if CACHE not in environment:
        environment[CACHE] = str((directory / ".compilation_cache").resolve())
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return environment
