"""Train one student: resume, step, log, measure on dev, save, stop when asked to."""

import concurrent.futures
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from distill_jax import distributed, errors, metrics, sharding
from distill_jax.errors import UserError
from distill_jax.training.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class Pace:
    """How often what happens, in steps. 0 = never, where it says so."""

    steps: int
    log_every: int
    save_every: int
    eval_every: int  # measure on dev; 0 = never
    patience: int  # stop after so many measurements without a better one; 0 = never


class MeasurementInterrupted(Exception):
    """A signal arrived between two parts of a measurement, which is made again after a resume."""


def train(
    student: str,
    *,
    step_function: Callable[[Any, dict[str, jax.Array]], tuple[Any, dict[str, jax.Array]]],
    state: Any,
    batches: Any,
    mesh: jax.sharding.Mesh,
    pace: Pace,
    measure: Callable[[Any], tuple[float, dict[str, float]]],
    watch: Callable[[int, Any], None],
    schedule: Callable[[int], Any],
    flops_per_token: float,
    checkpoints: Checkpoints,
    metrics_file: metrics.MetricsFile,
    progress: metrics.Progress,
    say: Callable[[str], None],
) -> Any:
    """Take `state` from its step to the last one, which is saved; returns the last state.

    `batches[step]` is this process's part of a step's batch, so a resumed run sees the same data.
    `measure(params)` gives a value (lower is better) and metrics of the dev split; it is asked
    every `pace.eval_every` steps and at the end, and the best step's checkpoint is kept.
    `watch(step, params)` is told of every step, and has no say in anything. On SIGINT
    or SIGTERM the state is saved and `Interrupted` raised. Raises UserError where the loss is not
    finite; the last checkpoint stays as it was.
    """
    first = int(state.step)
    metrics_file.forget_after(first, f"train/{student}/")
    metrics_file.forget_after(first, f"dev/{student}/")
    log = _Log(student, metrics_file, progress, flops_per_token, checkpoints)
    dev = _Dev(student, measure, metrics_file, pace, state, say)
    tokens, done, pending, loss = 0, first, None, None
    with (
        errors.signals_deferred(),
        contextlib.closing(checkpoints),
        concurrent.futures.ThreadPoolExecutor(1) as ahead,
    ):
        following = ahead.submit(batches.__getitem__, first)
        while True:
            state, improved, stopping = dev.look(state, done)
            try:
                watch(done, state.params)
            except MeasurementInterrupted:
                stopping = True
            ended = done == pace.steps or dev.patience_is_over()
            logging = done > first and (done % pace.log_every == 0 or ended)
            # Several processes must stop at the same step: they agree when they log.
            if jax.process_count() == 1:
                stopping = stopping or errors.interrupted()
            elif logging or ended:
                stopping = distributed.any_process(errors.interrupted())
            if ended or stopping or improved or done % pace.save_every == 0:
                log.write(pending)
                pending = None
                if loss is not None:
                    _refuse_not_finite(student, done, float(loss), checkpoints)
                    checkpoints.save(done, state, dev.best_step)
            if ended or stopping:
                break
            batch = following.result()
            following = ahead.submit(batches.__getitem__, done + 1)
            tokens += int(batch["length"].sum()) * jax.process_count()
            state, values = step_function(state, sharding.put_batch(mesh, batch))
            done, loss = done + 1, values["loss"]
            if done % pace.log_every == 0 or done == pace.steps:
                # The values of the log before: this step is never waited for.
                log.write(pending)
                pending = (done, values, float(schedule(done - 1)), tokens)
        checkpoints.wait()
        distributed.wait_for_all(f"{student} is saved")  # complete: process 0 writes the manifest
        if stopping:
            distributed.leave_together()
            raise errors.Interrupted
    return state


class _Dev:
    """Measures when it is time to, and remembers the best in the train state itself."""

    def __init__(
        self,
        student: str,
        measure,
        metrics_file: metrics.MetricsFile,
        pace: Pace,
        state,
        say: Callable[[str], None],
    ):
        self._student, self._measure, self._file = student, measure, metrics_file
        self._pace, self._say = pace, say
        self._measured, self.best_step = int(state.measured_step), int(state.best_step)
        self._best_value = float(state.best_value)

    def look(self, state: Any, done: int) -> tuple[Any, bool, bool]:
        """(state, whether it is the best so far, whether a signal came in between)."""
        every = self._pace.eval_every
        due = every and done > 0 and (done % every == 0 or done == self._pace.steps)
        if not due or self._measured >= done:
            return state, False, False
        try:
            value, values = self._measure(state.params)
        except MeasurementInterrupted:
            return state, False, True
        prefix = f"dev/{self._student}/"
        self._file.write(done, {f"{prefix}{k}": round(v, 8) for k, v in values.items()})
        improved = value < self._best_value
        shown = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
        best = "the best so far" if improved else f"the best is step {self.best_step}"
        self._say(f"student {self._student}: step {done}: dev {shown} ({best})")
        self._measured = done
        if improved:
            self.best_step, self._best_value = done, value
        changes = {
            "measured_step": np.int32(done),
            "best_step": np.int32(self.best_step),
            "best_value": np.float32(self._best_value),
        }
        place = state.step.sharding
        placed = {name: jax.device_put(value, place) for name, value in changes.items()}
        return state.replace(**placed), improved, False

    def patience_is_over(self) -> bool:
        """Whether too many measurements have passed since the best one."""
        waited = self._pace.patience * self._pace.eval_every
        return bool(waited) and 0 <= self.best_step <= self._measured - waited


class _Log:
    """Writes metrics and moves the bar; speed is tokens between the ends of two logged steps."""

    def __init__(
        self,
        student: str,
        metrics_file: metrics.MetricsFile,
        progress,
        flops: float,
        checkpoints: Checkpoints,
    ):
        self._student, self._file, self._progress = student, metrics_file, progress
        self._flops, self._checkpoints = flops, checkpoints
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
        _refuse_not_finite(self._student, step, values["loss"], self._checkpoints)
        values |= {
            "learning_rate": learning_rate,
            "tokens_per_second": speed,
            "tflops_per_second": speed * self._flops / 1e12,
        }
        prefix = f"train/{self._student}/"
        self._file.write(step, {f"{prefix}{k}": round(v, 8) for k, v in values.items()})
        self._progress.update(step, f"loss {values['loss']:.3f} {speed:,.0f} tokens/s")


def _refuse_not_finite(student: str, step: int, loss: float, checkpoints: Checkpoints) -> None:
    if math.isfinite(loss):
        return
    checkpoints.wait()
    if checkpoints.steps():
        state, place = "its last checkpoint is kept", "in a new --workdir"
    else:
        # Where no student has a checkpoint, the directory takes another identity.
        state = "it has no checkpoint yet"
        place = "in a new --workdir if another student is trained already"
    raise UserError(
        f"the loss of student {student!r} is {loss} at step {step} ({state}): lower "
        f"config.optimizer.{student}.learning_rate, {place}"
    )
