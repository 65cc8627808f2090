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
    tokens, since, pending = 0, time.monotonic(), None
    with errors.signals_deferred():
        for step in range(first, steps):
            batch = batches[step]
            tokens += int(batch["length"].sum())
            state, values = step_function(state, sharding.put_batch(mesh, batch))
            done = step + 1
            if done % log_every == 0 or done == steps:
                # The values of the log before: the device is never waited for.
                pending = _log(student, pending, metrics_file, progress)
                now = time.monotonic()
                pending = (done, values, float(schedule(step)), tokens / (now - since))
                tokens, since = 0, now
            if done == steps or done % save_every == 0 or errors.interrupted():
                _log(student, pending, metrics_file, progress)
                pending = None
                checkpoints.save(done, state)
            if errors.interrupted():
                break
    return state


def _log(
    student: str,
    pending: tuple[int, dict[str, jax.Array], float, float] | None,
    metrics_file: metrics.MetricsFile,
    progress: metrics.Progress,
) -> None:
    """Write one line of metrics and move the bar; UserError where the loss is not finite."""
    if pending is None:
        return
    step, values, learning_rate, speed = pending
    values = {name: float(value) for name, value in values.items()}
    if not math.isfinite(values["loss"]):
        raise UserError(
            f"the loss of student {student!r} is {values['loss']} at step {step}: lower "
            f"config.optimizer.{student}.learning_rate; the last checkpoint is kept"
        )
    values |= {"learning_rate": learning_rate, "tokens_per_second": speed}
    metrics_file.write(step, {f"train/{student}/{k}": round(v, 8) for k, v in values.items()})
    progress.update(step, f"loss {values['loss']:.3f} {speed:,.0f} tokens/s")
