"""Train one student: resume, step, log, save, stop when asked to."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax

from distill_jax import errors, metrics, sharding
from distill_jax.errors import UserError
from distill_jax.training.checkpoint import Checkpoints


def train(
    student: str,
    *,
    step_function: Callable[[Any, dict[str, jax.Array]], tuple[Any, dict[str, jax.Array]]],
    state: Any,
    batches: Any,
    mesh: jax.sharding.Mesh,
    steps: int,
    log_every: int,
    save_every: int,
    schedule: Callable[[int], Any],
    checkpoints: Checkpoints,
    metrics_file: metrics.MetricsFile,
    progress: metrics.Progress,
) -> Any:
    """Take `state` from its step to `steps`; returns the last state, which is saved.

    `batches[step]` is the host batch of a step, so a resumed run sees the same data. On SIGINT or
    SIGTERM the state is saved and `Interrupted` raised. Raises UserError where the loss is not
    finite; the last checkpoint stays as it was.
    """
    first = int(state.step)
    metrics_file.forget_after(first, f"train/{student}/")
    log = _Log(student, metrics_file, progress)
    tokens, pending = 0, None
    with errors.signals_deferred():
        for step in range(first, steps):
            batch = batches[step]
            tokens += int(batch["length"].sum())
            state, values = step_function(state, sharding.put_batch(mesh, batch))
            done = step + 1
            if done % log_every == 0 or done == steps:
                # The values of the log before: this step is never waited for.
                log.write(pending)
                pending = (done, values, float(schedule(step)), tokens)
            stopping = errors.interrupted()  # asked once: a later signal waits for the next step
            if done == steps or done % save_every == 0 or stopping:
                log.write(pending)
                pending = None
                _refuse_not_finite(student, done, float(values["loss"]))
                checkpoints.save(done, state)
            if stopping:
                break
    return state


class _Log:
    """Writes metrics and moves the bar; speed is tokens between the ends of two logged steps."""

    def __init__(self, student: str, metrics_file: metrics.MetricsFile, progress: metrics.Progress):
        self._student, self._metrics_file, self._progress = student, metrics_file, progress
        self._time, self._tokens = time.monotonic(), 0

    def write(self, pending: tuple[int, dict[str, jax.Array], float, int] | None) -> None:
        """Wait for the values of a step (step, values, learning rate, tokens so far), write them.

        Raises UserError where the loss is not finite.
        """
        if pending is None:
            return
        step, arrays, learning_rate, tokens = pending
        values = {name: float(value) for name, value in arrays.items()}
        now = time.monotonic()  # the step has ended: steps are dispatched long before they run
        speed = (tokens - self._tokens) / max(now - self._time, 1e-9)
        self._time, self._tokens = now, tokens
        _refuse_not_finite(self._student, step, values["loss"])
        values |= {"learning_rate": learning_rate, "tokens_per_second": speed}
        prefix = f"train/{self._student}/"
        self._metrics_file.write(step, {f"{prefix}{k}": round(v, 8) for k, v in values.items()})
        self._progress.update(step, f"loss {values['loss']:.3f} {speed:,.0f} tokens/s")


def _refuse_not_finite(student: str, step: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise UserError(
            f"the loss of student {student!r} is {loss} at step {step}: start a new "
            f"--workdir with a lower config.optimizer.{student}.learning_rate"
        )
