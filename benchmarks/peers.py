"""Each side of a comparison has its own process, which waits while the other one runs. So the
threads, allocator settings and memory of one side do not affect the other.
"""

import dataclasses
import importlib
import multiprocessing
import os
import resource
import sys
import traceback
from typing import Any

from benchmarks.results import usable_cores


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one side trains, and how.

    size         of our network: `network.to_json`, the vocabulary not counted
    config       config.json of the same model for transformers, likewise
    vocab_size   ids; ours is padded to a multiple of 128
    loss_chunk   loss tokens whose logits exist at a time, on our side
    weights      directory of the first weights: written by PyTorch, read by ours; "" = random
    lora_rank    of adapters beside all matrices of the blocks of frozen `weights`, by PEFT on the
                 other side; 0 = all parameters are trained
    cores        0 = all
    environment  variables that are set before anything is imported
    """

    size: dict[str, Any]
    config: dict[str, Any]
    vocab_size: int
    device: str = "cpu"
    dtype: str = "float32"
    kernel: str = "xla"
    remat: bool = False
    loss_chunk: int = 2048
    weights: str = ""
    lora_rank: int = 0
    cores: int = 0
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


class PeerError(Exception):
    """A side failed; the message is one line."""

    @property
    def out_of_memory(self) -> bool:
        text = str(self).lower()
        return "resource_exhausted" in text or "out of memory" in text


class Peer:
    """`benchmarks.MODULE.Loop(setting)` in a process; a context manager that ends it.

    Answers of a Loop: `prepare(batch)` -> facts (compile_s, device); `run(batches)` -> seconds
    for all of them and the loss of each.
    """

    def __init__(self, module: str, setting: Setting):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(module, setting, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, method: str, argument: Any = None, limit_s: float | None = None) -> Any:
        """The answer; raises PeerError if there is none, or none in time."""
        self._connection.send((method, argument))
        if not self._connection.poll(limit_s):
            raise PeerError(f"no answer in {limit_s:.0f} s")
        try:
            kind, answer = self._connection.recv()
        except EOFError:
            self._process.join(10)
            raise PeerError(f"its process ended with code {self._process.exitcode}") from None
        if kind == "error":
            raise PeerError(answer)
        return answer

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: Any) -> None:
        self._connection.close()
        self._process.join(2)  # the end of the pipe ends it
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(module: str, setting: Setting, connection: Any) -> None:
    """The process: answers until the pipe ends."""
    os.environ.update(setting.environment)
    if setting.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cores()[: setting.cores])
    loop = None
    while True:
        try:
            method, argument = connection.recv()
        except EOFError:
            return
        try:
            if loop is None:
                loop = importlib.import_module(f"benchmarks.{module}").Loop(setting)
            answer = _peak_memory_mib() if method == "memory" else getattr(loop, method)(argument)
            connection.send(("answer", answer))
        except Exception as error:  # the other side must be told of any error
            traceback.print_exc(file=sys.stderr)
            connection.send(("error", f"{type(error).__name__}: {_one_line(error)}"))


def _peak_memory_mib() -> float:
    """Peak memory of this process so far, as the system counts it."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else ""
