"""From the command to the first training step, with an empty and with a filled compile cache.

The second run is the same command in a new working directory; both share
JAX_COMPILATION_CACHE_DIR. A step counts as ended when its line is in metrics.jsonl, which is
written once the next step has been handed to the device.

With `--run`, a finished run: also from `ask` to the first token that a terminal shows, and to its
end; and from `evaluate` to its end. Both with a filled cache, on a copy of the run.
"""

import contextlib
import json
import os
import pathlib
import pty
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.results import Results, say, significant

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMPILING = "compiling the training step"
MODULE = (sys.executable, "-m")


def main(arguments: Any) -> None:
    """Run the command twice."""
    results = Results(arguments.output, arguments)
    with tempfile.TemporaryDirectory() as directory:
        for cache in ("cold", "warm"):
            say(f"{cache} compile cache")
            result = _first_step(arguments, pathlib.Path(directory), cache)
            results.add("startup", cache, result)
            say(f"{cache} compile cache: {result}")
        if arguments.run:
            copy = pathlib.Path(directory) / "finished"
            shutil.copytree(arguments.run, copy)
            for name, result in _answering(
                copy, _environment(pathlib.Path(directory)), arguments.repeats
            ).items():
                results.add("startup", name, result)
                say(f"{name}: {result}")
    results.show()


def _first_step(arguments: Any, directory: pathlib.Path, name: str) -> dict[str, Any]:
    """Seconds since the start of the command: to the compilation, and to the first step."""
    workdir, output = directory / name, directory / f"{name}.txt"
    command = [
        sys.executable, "-m", "distill_jax.main", f"--config={arguments.config}",
        f"--workdir={workdir}", "--config.train.steps=50", "--config.train.log_every=1",
        *(f"--config.{override}" for override in arguments.override),
    ]  # fmt: skip
    start = time.monotonic()
    with (
        output.open("w") as file,
        subprocess.Popen(command, env=_environment(directory), stdout=file, stderr=file) as process,
    ):
        try:
            compiling = _wait(process, start, arguments, lambda: COMPILING in output.read_text())
            first = _wait(process, start, arguments, lambda: _has_step(workdir / "metrics.jsonl"))
        except RuntimeError as error:
            raise SystemExit(f"error: {error}: {output.read_text()[-2000:]}") from None
        finally:
            _stop(process)
    return {
        "to_compilation_s": significant(compiling),
        "to_first_step_s": significant(first),
        "compilation_and_first_step_s": significant(first - compiling),
    }


def _environment(directory: pathlib.Path) -> dict[str, str]:
    """The variables of a command that keeps its programs in `directory`."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "JAX_COMPILATION_CACHE_DIR": str(directory / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def _answering(
    run: pathlib.Path, environment: dict[str, str], repeats: int
) -> dict[str, dict[str, Any]]:
    """Medians of `repeats`, after one that fills the cache."""
    first, ends, evaluated = [], [], []
    question = json.loads((run / "annotations.jsonl").read_text("utf-8").split("\n")[0])["question"]
    roles = json.loads((run / "report.json").read_text("utf-8"))["checkpoint_steps"]
    marks = [role.encode() for role in roles]  # a turn begins with who writes it
    for repeat in range(repeats + 1):
        ask = ["ask", f"--workdir={run}", question]
        begun, ended = _on_a_terminal(ask, environment, marks)
        first.append(begun)
        ends.append(ended)
        another = f"--config.sampling.seed={repeat}"  # another evaluation
        evaluate = [*MODULE, "distill_jax.evaluate", f"--workdir={run}", another]
        start = time.monotonic()
        subprocess.run(evaluate, env=environment, check=True, capture_output=True)
        evaluated.append(time.monotonic() - start)
    return {
        "ask": {"to_first_token_s": _median(first), "to_end_s": _median(ends)},
        "evaluate": {"to_end_s": _median(evaluated)},
    }


def _median(seconds: Sequence[float]) -> float:
    return significant(statistics.median(seconds[1:]))


def _on_a_terminal(
    words: Sequence[str], environment: dict[str, str], marks: Sequence[bytes]
) -> tuple[float, float]:
    """Seconds to the first time that the terminal shows one of `marks`, and to the end."""
    ours, theirs = pty.openpty()
    command = [*MODULE, f"distill_jax.{words[0]}", *words[1:]]
    start, shown, first = time.monotonic(), b"", None
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        # A terminal whose last writer has gone cannot be read.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 4096):
                shown += part
                if first is None and any(mark in shown for mark in marks):
                    first = time.monotonic() - start
    os.close(ours)
    if process.returncode or first is None:
        raise SystemExit(f"error: {' '.join(command)} ended with code {process.returncode}")
    return first, time.monotonic() - start


def _wait(process, start: float, arguments: Any, happened) -> float:
    """Seconds since `start` when something had happened."""
    while not happened():
        if process.poll() is not None:
            raise RuntimeError(f"the command ended with code {process.returncode}")
        if time.monotonic() - start > arguments.limit_s:
            raise RuntimeError(f"no step in {arguments.limit_s:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - start


def _has_step(metrics: pathlib.Path) -> bool:
    """Whether a whole line of a training step is there."""
    if not metrics.is_file():
        return False
    whole, _, _ = metrics.read_text(encoding="utf-8").rpartition("\n")
    return any(key.startswith("train/") for line in whole.splitlines() for key in json.loads(line))


def _stop(process: subprocess.Popen) -> None:
    """The rest of the run is not needed: interrupt it, and if it does not leave, end it."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
