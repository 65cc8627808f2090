"""Measures a student while it trains: dev loss, exact rows, accuracy of dialogues."""

import collections
import contextlib
import dataclasses
from collections.abc import Collection
from typing import Any

import jax

from distill_jax import errors
from distill_jax.dialogues import predict
from distill_jax.dialogues.sampler import Sampler, make_rules
from distill_jax.errors import UserError
from distill_jax.evaluation import summary
from distill_jax.model import sharding
from distill_jax.records import Prediction, Problem
from distill_jax.run import from_first
from distill_jax.run.preparation import Prepared
from distill_jax.run.restore_students import restore_params
from distill_jax.run.run import Run
from distill_jax.run.student_setup import StudentSetup
from distill_jax.sampling.generate import Chunk
from distill_jax.tracking.trackers import Tracking
from distill_jax.training import batches, hooks, step
from distill_jax.training.batches import Part


class DevMeasurement:
    """`measure` of `hooks.Measuring`; its programs are compiled at the first call."""

    def __init__(
        self,
        run: Run,
        tracking: Tracking,
        setup: StudentSetup,
        mesh: jax.sharding.Mesh,
        prepared: Prepared,
    ):
        """All processes must make it, because it restores the partners."""
        self._run, self._tracking, self._setup, self._mesh = run, tracking, setup, mesh
        self._step = step.make_dev_step(mesh, setup.trainer)
        self._pair_step = step.make_measurement(mesh, setup.trainer)
        others = [student for student in run.students if student != setup.student]
        finished = from_first.known_students(run).finished
        count = run.config.train.dev_dialogues
        self._problems: list[Problem] = []
        self._prepared = prepared
        if count and all(student in finished for student in others):
            self._problems = [
                Problem(a.id, a.question, a.answer, "dev") for a in prepared.data.dev[:count]
            ]
            self._others = restore_params(run, prepared.models, {s: finished[s] for s in others})

    def __call__(self, params: Any, at_step: int) -> tuple[float, dict[str, float]]:
        """(the value of config.train.best_by, lower is better; all values by name).

        loss      nats per loss token of the dev rows
        exact     share of dev rows in which every loss token is the most likely one, given the
                  tokens before it
        accuracy  share of dev problems that whole dialogues solve, if the others are trained
        preference, margin, preferred, chosen_gain  of pairs of dev problems, if there are any
            (training/preference.py)

        Some of these dialogues are shown to the run's trackers.
        """
        totals: dict[str, float] = {}
        for batch in self._setup.dev:
            leave_if_interrupted()
            sums = self._step(params, sharding.put_batch(self._mesh, batch))
            totals = {name: totals.get(name, 0.0) + float(sums[name]) for name in sums}
        values = {
            "loss": totals["loss_sum"] / totals["loss_tokens"],
            "exact": totals["exact"] / totals["rows"],
        }
        values |= self._of_pairs(params)
        if self._problems:
            predictions = self._dialogues(params)
            values["accuracy"] = sum(p.correct for p in predictions) / len(predictions)
            shown = summary.dialogues(predictions)
            self._tracking.show("dev", self._setup.student, at_step, shown)
        best_by = self._run.config.train.best_by
        lower_is_better = best_by in ("loss", "preference")
        return (values[best_by] if lower_is_better else -values[best_by]), values

    def _of_pairs(self, params: Any) -> dict[str, float]:
        config, pairs = self._run.config, self._setup.pairs.get("dev")
        if pairs is None:
            return {}
        shape, part = pairs.shape(config.data.seq_len), Part.of_this_process()
        sums: dict[str, float] = collections.defaultdict(float)
        counts: dict[str, float] = collections.defaultdict(float)
        for batch in batches.in_order(pairs, shape, config.train.batch_size, part):
            leave_if_interrupted()
            found = self._pair_step(params, sharding.put_batch(self._mesh, batch))
            for totals, new in zip((sums, counts), found, strict=True):
                for name, value in new.items():
                    totals[name] += float(value)
        return {name: sums[name] / counts[name] for name in sums if name != "likelihood"}

    def _dialogues(self, params: Any) -> list[Prediction]:
        everybody = self._others | {self._setup.student: params}
        return greedy_predictions(self._run, self._prepared, everybody, self._problems)


def greedy_predictions(
    run: Run, prepared: Prepared, params: dict[str, Any], problems: list[Problem]
) -> list[Prediction]:
    """The students' answers while one of them trains; `params` by student.

    Greedy, one sample, nothing given, so that the choice of checkpoints does not depend on settings
    of the evaluation. Raises MeasurementInterrupted if a signal arrives.
    """
    settings = dataclasses.replace(
        run.sampling, temperature=0.0, samples=1, given="", given_steps=0
    )
    tokenizer = prepared.tokenizer
    rules = make_rules(run.scheme, run.views, prepared.models, tokenizer, settings)
    sampler = Sampler(rules, run.scheme, tokenizer, params, settings, run.config.seed)
    answerer = predict.StudentsAnswerer(sampler, run.task.grade, max_too_long_share=1.0)
    found: dict[str, Prediction] = {}
    with contextlib.closing(answerer.answer(problems)) as events:
        for event in events:
            if isinstance(event, Prediction):
                found[event.id] = event
            elif isinstance(event, Chunk):
                leave_if_interrupted()
    return [found[problem.id] for problem in problems]


def check_order(run: Run, finished: Collection[str], students: list[str]) -> None:
    """Raise UserError if dialogues decide on the best checkpoint of a student whose partner is
    not trained by then: `finished` are trained, and `students` will be, in this order."""
    if run.config.train.best_by != "accuracy":
        return
    trained = set(finished)
    for student in students:
        missing = set(run.students) - trained - {student}
        if missing:
            raise UserError(
                f"config.train.best_by='accuracy': student {student!r} is trained before "
                f"{', '.join(sorted(missing))}, with which it would take turns: train the others "
                "first (--config.train.students), or choose loss or exact"
            )
        trained.add(student)


def leave_if_interrupted() -> None:
    """Raise MeasurementInterrupted after a signal, if there is one process."""
    # Several processes must run the same programs; they stop when all of them agree.
    if jax.process_count() == 1 and errors.interrupted():
        raise hooks.MeasurementInterrupted
