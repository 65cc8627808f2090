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

from distill_jax import devices, distributed, errors
from distill_jax.errors import UserError
from distill_jax.model import sharding
from distill_jax.tracking import terminal
from distill_jax.tracking.trackers import Tracking
from distill_jax.training.checkpoint import Checkpoints
from distill_jax.training.profile import ProfileWindow


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
    measure: Callable[[Any, int], tuple[float, dict[str, float]]],
    watch: Callable[[int, Any], None],
    schedule: Callable[[int], Any],
    flops_per_token: float,
    checkpoints: Checkpoints,
    tracking: Tracking,
    profile: ProfileWindow,
    progress: terminal.Progress,
    say: Callable[[str], None],
) -> Any:
    """Take `state` from its step to the last one, which is saved; returns the last state.

    `batches[step]` is this process's part of a step's batch, so a resumed run sees the same data.
    `measure(params, step)` gives a value (lower is better) and metrics of the dev split; it is
    asked every `pace.eval_every` steps and at the end, and the best step's checkpoint is kept.
    `watch(step, params)` is told of every step, and has no say in anything. On SIGINT or SIGTERM
    the state is saved and `Interrupted` raised. Raises UserError where the loss is not finite; the
    last checkpoint stays as it was.
    """
    first = int(state.step)
    tracking.start(student, first)
    tokens = _tokens_before(student, first, batches, tracking)
    speed = _Speed(tokens, flops_per_token, mesh)
    log = _Log(student, tracking, progress, speed, checkpoints)
    dev = _Dev(student, measure, tracking, pace, state, say)
    done, pending, loss = first, None, None
    with (
        errors.signals_deferred(),
        contextlib.closing(checkpoints),
        contextlib.closing(profile),
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
            tokens += _tokens(batch)
            profile.before(done + 1, state)
            with jax.profiler.StepTraceAnnotation("train", step_num=done + 1):
                state, values = step_function(state, sharding.put_batch(mesh, batch))
            done, loss = done + 1, values["loss"]
            profile.after(done, state)
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


def _tokens(batch: dict[str, Any]) -> int:
    """Non-padding tokens of a step, over all processes: those of this one times their number."""
    return int(batch["length"].sum()) * jax.process_count()


def _tokens_before(student: str, step: int, batches: Any, tracking: Tracking) -> int:
    """Tokens fed up to `step`: as logged, and those of the batches since then."""
    logged, tokens = distributed.from_first(lambda: tracking.tokens(student, step))
    return tokens + sum(_tokens(batches[number]) for number in range(logged, step))


class _Dev:
    """Measures when it is time to, and remembers the best in the train state itself."""

    def __init__(
        self,
        student: str,
        measure,
        tracking: Tracking,
        pace: Pace,
        state,
        say: Callable[[str], None],
    ):
        self._student, self._measure, self._tracking = student, measure, tracking
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
            value, values = self._measure(state.params, done)
        except MeasurementInterrupted:
            return state, False, True
        self._tracking.write("dev", self._student, done, values)
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


class _Speed:
    """Tokens between the ends of two logged steps, and what of the devices they take."""

    def __init__(self, tokens: int, flops_per_token: float, mesh: jax.sharding.Mesh):
        self._time, self._tokens, self._flops = time.monotonic(), tokens, flops_per_token
        chip = devices.chip_of(mesh.devices.flat[0])
        self._peak = chip.flops * mesh.devices.size if chip else None

    def measure(self, tokens: int) -> dict[str, float]:
        """Since the last call; `tokens` are all up to now. `mfu` (model FLOPs utilisation) is left
        out where the peak of the devices is not known."""
        now = time.monotonic()
        speed = (tokens - self._tokens) / max(now - self._time, 1e-9)
        self._time, self._tokens = now, tokens
        flops = speed * self._flops
        values = {"tokens_per_second": speed, "tflops_per_second": flops / 1e12}
        return values | ({"mfu": flops / self._peak} if self._peak else {})


class _Log:
    """Writes metrics and moves the bar."""

    def __init__(
        self,
        student: str,
        tracking: Tracking,
        progress,
        speed: _Speed,
        checkpoints: Checkpoints,
    ):
        self._student, self._tracking, self._progress = student, tracking, progress
        self._speed, self._checkpoints = speed, checkpoints

    def write(self, pending: tuple[int, dict[str, jax.Array], float, int] | None) -> None:
        """Wait for the values of a step (step, values, learning rate, tokens so far), write them.

        Raises UserError where the loss is not finite.
        """
        if pending is None:
            return
        step, arrays, learning_rate, tokens = pending
        values = {name: float(value) for name, value in arrays.items()}
        # The step has ended by now: steps are dispatched long before they run.
        speed = self._speed.measure(tokens)
        _refuse_not_finite(self._student, step, values["loss"], self._checkpoints)
        values |= {
            "learning_rate": learning_rate,
            "tokens": tokens,
            **speed,
            "peak_memory_gib": devices.peak_bytes() / 2**30,
        }
        self._tracking.write("train", self._student, step, values)
        pace = f"{speed['tokens_per_second']:,.0f} tokens/s"
        self._progress.update(step, f"loss {values['loss']:.3f} {pace}")


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
