"""A window of training steps, traced by jax.profiler."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax


class ProfileWindow:
    """Traces the steps `first` to `last`, counted from 1; `first` 0 = none.

    The trace lies in `directory`/plugins/profile/<time>/: `xprof DIRECTORY` shows it, and its
    perfetto_trace.json.gz opens in https://ui.perfetto.dev. See
    https://docs.jax.dev/en/latest/profiling.html.
    """

    def __init__(self, first: int, last: int, directory: pathlib.Path, say: Callable[[str], None]):
        self._first, self._last = first, last
        self._directory, self._say = directory, say
        self._running = False

    def before(self, step: int, state: Any) -> None:
        """To be called before `step`, which takes `state`; a resumed run may be in the midst."""
        if not self._running and 0 < self._first <= step <= self._last:
            jax.block_until_ready(state)  # steps before are still running
            jax.profiler.start_trace(self._directory, create_perfetto_trace=True)
            self._running = True

    def after(self, step: int, state: Any) -> None:
        """To be called when `step` was asked for, which gives `state`."""
        if self._running and step >= self._last:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """End a trace that is running, and say where it lies."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            self._say(f"profile: {self._directory} (open it: xprof {self._directory})")
