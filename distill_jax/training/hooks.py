"""The actions between training steps: log, measure on dev, save, stop if asked."""

import collections
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import devices, distributed, errors
from distill_jax.errors import UserError
from distill_jax.settings import ranges
from distill_jax.tracking.terminal import Progress
from distill_jax.tracking.trackers import Tracking
from distill_jax.training.checkpoint import Checkpoints
from distill_jax.training.loop import BatchSource, Moment


class MeasurementInterrupted(Exception):
    """A signal arrived between two parts of a measurement; after a resume it is measured again."""


class Speed:
    """Tokens and operations per second of the steps since the last call."""

    def __init__(self, moment: Moment, flops_per_token: float, mesh: jax.sharding.Mesh):
        self._tokens, self._flops, self._seconds = moment.tokens, flops_per_token, 0.0
        self._stopwatch, self._paused = moment.stopwatch, 0.0
        chip = devices.chip_of(mesh.devices.flat[0])
        self._peak = chip.flops * mesh.devices.size if chip else None

    def measure(self, tokens: int) -> dict[str, float]:
        """`tokens` are all up to now. `mfu` (model FLOPs utilisation) is left out if the peak of
        the devices is not known. `seconds_between_steps` went into measurements and saves, which
        the other values leave out."""
        now, paused = self._stopwatch.seconds(), self._stopwatch.paused_seconds
        speed = (tokens - self._tokens) / max(now - self._seconds, 1e-9)
        between = paused - self._paused
        self._seconds, self._paused, self._tokens = now, paused, tokens
        flops = speed * self._flops
        values = {"tokens_per_second": speed, "tflops_per_second": flops / 1e12}
        values["seconds_between_steps"] = between
        return values | ({"mfu": flops / self._peak} if self._peak else {})


class _Step(NamedTuple):
    """A step that was dispatched."""

    step: int
    values: dict[str, jax.Array]  # which may not be computed yet
    tokens: int  # fed so far
    written: bool  # whether its values go to metrics.jsonl and the trackers


class Logging:
    """Writes the values of every `every`-th step and of the last one, and moves the bar.

    At most AHEAD steps are under way. That is enough to keep devices busy. The bar shows a slow
    step as soon as it has ended, and a run that is asked to stop finishes only those few steps.
    """

    AHEAD = 2
    MOVES_EVERY_S = 5.0

    def __init__(
        self,
        student: str,
        every: int,
        tracking: Tracking,
        progress: Progress,
        speed: Speed,
        schedule: Callable[[int], Any],
        checkpoints: Checkpoints,
    ):
        self._student, self._every = student, every
        self._tracking, self._progress = tracking, progress
        self._speed, self._schedule, self._checkpoints = speed, schedule, checkpoints
        self._under_way: collections.deque[_Step] = collections.deque()
        self._shown_at, self._pace = time.monotonic(), ""

    def __call__(self, moment: Moment) -> None:
        """Called after every step. Raises UserError if a loss that is written is not finite."""
        if moment.values:
            written = moment.step % self._every == 0 or moment.stop
            self._under_way.append(_Step(moment.step, moment.values, moment.tokens, written))
        while len(self._under_way) > self.AHEAD:
            self._end(self._under_way.popleft())

    def flush(self) -> None:
        """Wait for the steps that are under way. Raises UserError as a call does."""
        while self._under_way:
            self._end(self._under_way.popleft())

    def _end(self, step: _Step) -> None:
        jax.block_until_ready(step.values)
        if step.written:
            self._write(step)
        if step.written or time.monotonic() - self._shown_at >= self.MOVES_EVERY_S:
            self._shown_at = time.monotonic()
            note = f"loss {float(step.values['loss']):z.3f} {self._pace}"
            self._progress.update(step.step, note.rstrip())

    def _write(self, step: _Step) -> None:
        speed = self._speed.measure(step.tokens)  # it has just ended
        values = {name: float(value) for name, value in step.values.items()}
        refuse_not_finite(self._student, step.step, "loss", values["loss"], self._checkpoints)
        values |= {
            "learning_rate": float(self._schedule(step.step - 1)),
            "tokens": step.tokens,
            **speed,
            "peak_memory_gib": devices.peak_bytes() / 2**30,
        }
        self._tracking.write("train", self._student, step.step, values)
        self._pace = f"{speed['tokens_per_second']:,.0f} tokens/s"


class Measuring:
    """Measures on dev, keeps the best in the train state itself, and asks for its checkpoint."""

    def __init__(
        self,
        student: str,
        measure: Callable[[Any, int], tuple[float, dict[str, float]]],
        patience_steps: int,
        tracking: Tracking,
        say: Callable[[str], None],
    ):
        """`measure(params, step)` gives a value (lower is better) and metrics of the dev split.
        After `patience_steps` without a better value training stops; 0 = never."""
        self._student, self._measure, self._patience_steps = student, measure, patience_steps
        self._tracking, self._say = tracking, say

    def __call__(self, moment: Moment) -> None:
        """Measure, unless this step was measured before the run was interrupted."""
        if moment.step and int(moment.state.measured_step) < moment.step:
            try:
                with moment.stopwatch.pause(moment.state):
                    value, values = self._measure(moment.state.params, moment.step)
            except MeasurementInterrupted:
                moment.interrupted = moment.stop = True
                return
            self._tracking.write("dev", self._student, moment.step, values)
            self._remember(moment, value, values)
        best, measured = int(moment.state.best_step), int(moment.state.measured_step)
        if self._patience_steps and 0 <= best <= measured - self._patience_steps:
            moment.stop = True

    def _remember(self, moment: Moment, value: float, values: dict[str, float]) -> None:
        state = moment.state
        # Both are float32, as the best one is kept: otherwise an equal value can count as better.
        improved = bool(np.float32(value) < np.float32(state.best_value))
        shown = ", ".join(f"{name} {each:.4g}" for name, each in values.items())
        best = "the best so far" if improved else f"the best is step {int(state.best_step)}"
        self._say(f"student {self._student}: step {moment.step}: dev {shown} ({best})")
        changes: dict[str, Any] = {"measured_step": np.int32(moment.step)}
        if improved:
            changes |= {"best_step": np.int32(moment.step), "best_value": np.float32(value)}
        place = state.step.sharding
        moment.state = state.replace(
            **{name: jax.device_put(each, place) for name, each in changes.items()}
        )
        moment.save = moment.save or improved


class StopWhenAsked:
    """Stops after SIGINT or SIGTERM. Several processes must stop at the same step, so all of them
    call this at the same steps, and agree."""

    def __call__(self, moment: Moment) -> None:
        """Stop if a signal has arrived in any process."""
        if distributed.any_process(errors.interrupted()):
            moment.interrupted = moment.stop = True


class Saving:
    """Saves every `every` steps, at the last step, and if an earlier hook has asked for it."""

    def __init__(self, student: str, every: int, checkpoints: Checkpoints, logging: Logging):
        self._student, self._every = student, every
        self._checkpoints, self._logging = checkpoints, logging

    def __call__(self, moment: Moment) -> None:
        """Raises UserError if what would be saved is not finite."""
        if not (moment.save or moment.stop or moment.step % self._every == 0):
            return
        self._logging.flush()  # a resumed run reads there how many tokens were fed
        if not moment.values:  # nothing was trained since the checkpoint that this run began with
            return
        with moment.stopwatch.pause(moment.state):
            self._check(moment)
            best_step = int(moment.state.best_step)
            self._checkpoints.save(moment.step, moment.state, best_step)

    def _check(self, moment: Moment) -> None:
        step = moment.step
        for name in ("loss", "grad_norm"):
            refuse_not_finite(self._student, step, name, moment.values[name], self._checkpoints)
        # The loss belongs to the parameters before this update, but those after it are saved.
        norm = jax.jit(_norm, out_shardings=moment.state.step.sharding)(
            moment.state.params, moment.state.opt_state
        )
        refuse_not_finite(self._student, step, "norm of the parameters", norm, self._checkpoints)


def _norm(params: Any, opt_state: Any) -> jax.Array:
    """The norm of all parameters, float32 []; NaN if any number of the optimizer is not finite. It
    is infinite if the square of a parameter is too large for float32."""
    numbers = [
        leaf for leaf in jax.tree.leaves(opt_state) if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in numbers]))
    return jnp.where(jnp.all(finite), optax.tree.norm(params), jnp.nan)


def refuse_not_finite(
    student: str, step: int, what: str, value: Any, checkpoints: Checkpoints
) -> None:
    """Raise UserError unless `value` is finite; the message calls it `what`."""
    if math.isfinite(value := float(value)):
        return
    checkpoints.wait()
    if checkpoints.steps():
        state, place = "its last checkpoint is kept", "in a new --workdir"
    else:
        # If no student has a checkpoint, the directory takes another identity.
        state = "it has no checkpoint yet"
        place = "in a new --workdir if another student is trained already"
    raise UserError(
        f"the {what} of student {student!r} is {value} at step {step} ({state}): lower "
        f"config.optimizer.{student}.learning_rate, {place}"
    )


def tokens_before(student: str, step: int, source: BatchSource, tracking: Tracking) -> int:
    """Tokens fed up to `step`: the last logged number, plus the batches since then. All processes
    must call this."""
    logged, tokens = distributed.from_first(lambda: tracking.tokens(student, step))
    return tokens + sum(source.tokens(number) for number in range(logged, step))


def mistakes(train: Any) -> list[str]:
    """What is wrong with the keys of config.train that say how long to train and how often to
    act."""
    least = {"steps": 0, "epochs": 0, "token_budget": 0, "eval_every": 0, "patience": 0}
    least |= {"dev_dialogues": 0, "profile_first": 0, "profile_last": 0}
    least |= {"log_every": 1, "save_every": 1, "keep": 1}
    choices = {"best_by": ("loss", "exact", "accuracy", "preference")}
    values = {key: train[key] for key in (*least, *choices)}
    found = ranges.mistakes("train", values, least=least, choices=choices)
    if train.steps == train.epochs == train.token_budget == 0:
        found.append(
            "set config.train.steps, config.train.epochs or config.train.token_budget above 0"
        )
    if train.steps and train.epochs:
        found.append(
            f"config.train.steps={train.steps} and config.train.epochs={train.epochs}: set one of "
            "them to 0"
        )
    if train.parity_test_selection and not train.epochs:
        found.append(
            "config.train.parity_test_selection tests after every epoch: set config.train.epochs"
        )
    if bool(train.profile_first) != bool(train.profile_last) or (
        train.profile_last < train.profile_first
    ):
        found.append(
            f"config.train.profile_first={train.profile_first} and "
            f"profile_last={train.profile_last}: both are steps, such as 10 and 12, or 0"
        )
    if train.best_by == "accuracy" and not train.dev_dialogues:
        found.append(
            "config.train.best_by='accuracy' needs dialogues to count: set "
            "config.train.dev_dialogues above 0"
        )
    return found
