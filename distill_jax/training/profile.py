"""A window of training steps, traced by jax.profiler."""

import pathlib
from collections.abc import Callable

import jax

from distill_jax.training.loop import Moment


class ProfileWindow:
    """Traces the steps `first` to `last`, counted from 1; `first` 0 = none.

    The trace is in `directory`/plugins/profile/<time>/. `xprof DIRECTORY` shows it, and you can
    open its perfetto_trace.json.gz in https://ui.perfetto.dev. See
    https://docs.jax.dev/en/latest/profiling.html.
    """

    def __init__(self, first: int, last: int, directory: pathlib.Path, say: Callable[[str], None]):
        self._first, self._last = first, last
        self._directory, self._say = directory, say
        self._running = False

    def before_step(self, moment: Moment) -> None:
        """The last hook before a step. A resumed run may begin inside the window."""
        due = 0 < self._first <= moment.step + 1 <= self._last
        if due and not self._running and not moment.stop:
            jax.block_until_ready(moment.state)  # steps before are still running
            jax.profiler.start_trace(self._directory, create_perfetto_trace=True)
            self._running = True

    def after_step(self, moment: Moment) -> None:
        """The first hook after a step."""
        if self._running and moment.step >= self._last:
            jax.block_until_ready(moment.state)
            self.close()

    def close(self) -> None:
        """End a running trace, and say where it is."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            self._say(f"profile: {self._directory} (open it: xprof {self._directory})")
