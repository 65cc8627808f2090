"""Rounds of own samples: students answer, what they wrote is graded and written down, and one of
them learns from it."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import numpy as np

from distill_jax import distributed
from distill_jax.dialogues import predict, rollouts
from distill_jax.dialogues.rollouts import Rollout
from distill_jax.dialogues.sampler import Sampler, make_rules
from distill_jax.errors import UserError
from distill_jax.model import sharding
from distill_jax.run import (
    from_first,
    restore_students,
    rollout_pool,
    rollout_settings,
    round_rows,
    student_source,
)
from distill_jax.run.dev_measurement import leave_if_interrupted
from distill_jax.run.preparation import Prepared
from distill_jax.run.run import Run
from distill_jax.run.student_setup import StudentSetup
from distill_jax.sampling import generate, slots
from distill_jax.sampling.dialogues import Dialogue, Request
from distill_jax.settings import reward_module
from distill_jax.tracking.reporting import Reporting
from distill_jax.training import hooks, policy_objective, step
from distill_jax.training.loop import Moment
from distill_jax.training.round_batches import OwnRow, RoundBatches
from distill_jax.workdir import write_parts

KIND = "rounds"  # of the values in metrics.jsonl
_SHOWN = 4  # samples of a round, in the trackers
# The sampler and the training forward pass compute the same log-probabilities with arrays of other
# shapes, maybe in another dtype. These are not distances that one sees, but those of a mistake.
_MOST_FLOAT32, _MOST_MEAN = 1e-3, 0.05


class Rounds:
    """A hook for every step: makes a round, or reads it, before its first update; after that update
    it writes the values of the round down."""

    def __init__(
        self,
        run: Run,
        reporting: Reporting,
        setup: StudentSetup,
        mesh: jax.sharding.Mesh,
        prepared: Prepared,
        whole: Callable[[Any], Any],
    ):
        """`whole` makes parameters from what is trained. All processes must make it, because it
        restores the partners."""
        assert isinstance(setup.data, RoundBatches) and prepared.pool is not None
        self._run, self._reporting, self._setup = run, reporting, setup
        self._mesh, self._prepared, self._whole = mesh, prepared, whole
        self._data, self._pool = setup.data, prepared.pool
        self._views = [view for view in run.views if view.student == setup.student]
        self._reward = rollout_settings.reward(run.config)
        self._partners = _partners(run, setup.student, prepared)
        self._log_probs = policy_objective.make_log_prob_step(mesh, setup.trainer)
        self._reference: Any = None  # host parameters
        self._new: tuple[int, list[Rollout]] | None = None  # a round that has no values yet
        self._data.read_with(self._read_rows)

    def __call__(self, moment: Moment) -> None:
        """See the class. Raises UserError if the file of a round is gone that has begun."""
        updates = self._data.plan.updates
        if self._new is not None and moment.step == self._new[0] * updates + 1:
            self._tell(*self._new, moment.step)
            self._new = None
        if moment.stop or self._data.reaches(moment.step):
            return
        number, within = divmod(moment.step, updates)
        with moment.stopwatch.pause(moment.state):
            found = self._read(number)
            if found is None and within:
                raise self._missing(number)
            if found is None:
                try:
                    found = self._make(number, moment.state)
                except hooks.MeasurementInterrupted:
                    moment.interrupted = moment.stop = True
                    return
        self._data.hold(number, self._rows(found))
        if not within:
            self._new = number, found

    def _tell(self, number: int, found: Sequence[Rollout], step: int) -> None:
        """The values of a round, at its first update: what a run that was killed before its next
        checkpoint writes again."""
        values = round_rows.values(found, self._views)
        student, tracking = self._setup.student, self._reporting.tracking
        tracking.write(KIND, student, step, values)
        questions = {problem.id: problem.question for problem in self._pool.problems}
        texts = [round_rows.shown(each, questions[each.id]) for each in found[:_SHOWN]]
        tracking.show(KIND, student, step, texts)
        self._reporting.terminal.say(
            f"student {student}: round {number + 1} of {self._run.config.rollouts.rounds}: "
            f"reward {values['reward']:.3f}, {values['right']:.0%} right, "
            f"{values['tokens']:.1f} tokens each"
        )

    def _path(self, number: int) -> Any:
        return self._run.workdir.rollouts / self._setup.student / f"{number}.jsonl"

    def _missing(self, number: int) -> UserError:
        directory = self._run.checkpoint_directory(self._setup.student)
        return UserError(
            f"{self._path(number)} is missing, but student {self._setup.student!r} has learned "
            f"from it: put it back, or delete {directory} to train it anew"
        )

    def _read(self, number: int) -> list[Rollout] | None:
        """A round that was written down; None if it was not. All processes must call this."""
        path = self._path(number)

        def lines() -> list[str] | None:
            if not path.exists():
                return None
            return path.read_text("utf-8").split("\n")[:-1]  # other line ends may be in texts

        stored = distributed.from_first(lines)
        if stored is None:
            return None
        try:
            return [rollouts.from_json(line) for line in stored]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path} is damaged: put back a copy, or delete "
                f"{self._run.checkpoint_directory(self._setup.student)} and this file to train the "
                "student anew"
            ) from None

    def _read_rows(self, number: int) -> list[OwnRow]:
        found = self._read(number)
        if found is None:
            raise self._missing(number)
        return self._rows(found)

    def _rows(self, found: Sequence[Rollout]) -> list[OwnRow]:
        run = self._run
        return round_rows.own_rows(found, self._views, run.scheme.roles, run.config)

    def _make(self, number: int, state: Any) -> list[Rollout]:
        """Sample, grade and weigh a round with the current parameters, and write it down.

        Raises MeasurementInterrupted if a signal arrives; then nothing is written.
        """
        params = self._whole(state.params)
        found = self._sample(number, params, state)
        if self._run.config.loss.policy:
            old = self._token_log_probs(params, found)
            found = [dataclasses.replace(r, old=o) for r, o in zip(found, old, strict=True)]
            self._bound_distance(found)
        if self._run.config.rollouts.reference_kl:
            reference = self._token_log_probs(self._reference_params(), found)
            found = [
                dataclasses.replace(r, reference=each)
                for r, each in zip(found, reference, strict=True)
            ]

        def write() -> None:
            write_parts(self._path(number), (f"{each.to_json()}\n" for each in found))

        distributed.from_first(write)
        return found

    def _sample(self, number: int, params: Any, state: Any) -> list[Rollout]:
        """The dialogues of a round with their rewards, problem by problem."""
        run, prepared, given = self._run, self._prepared, self._run.config.rollouts
        settings = rollout_settings.sampling(run.config)
        rules = make_rules(run.scheme, run.views, prepared.models, prepared.tokenizer, settings)
        count = self._slots(rules, given.problems * given.samples, state, params)
        everybody = self._partners | {self._setup.student: params}
        seed = rollout_pool.round_seed(run.config.seed, self._setup.student, number)
        settings = dataclasses.replace(settings, slots=count)
        sampler = Sampler(rules, run.scheme, prepared.tokenizer, everybody, settings, seed)
        places = self._pool.of_round(number, given.problems, run.config.seed)
        requests = [
            Request(self._pool.problems[p].id, self._pool.prompts[p], tuple(range(given.samples)))
            for p in places
        ]
        dialogues: dict[tuple[int, int], Dialogue] = {}
        for event in generate.generate(sampler.job(requests)):
            if isinstance(event, generate.Finished):
                dialogues[event.request, event.sample] = event.dialogue
            elif isinstance(event, generate.Chunk):
                leave_if_interrupted()
        found = []
        for asked, place in enumerate(places):
            written = [dialogues[asked, sample] for sample in range(given.samples)]
            problem = self._pool.problems[place]
            graded = [
                predict.grade_dialogue(problem, each, sampler, run.task.grade) for each in written
            ]
            rewards = reward_module.rewards_of(self._reward, graded)
            for sample, (dialogue, prediction) in enumerate(zip(written, graded, strict=True)):
                prompt = self._pool.prompts[place]
                made = rollouts.make_rollout(rules, prompt, dialogue, prediction, sample)
                found.append(dataclasses.replace(made, reward=rewards[sample]))
        return found

    def _slots(self, rules: Any, dialogues: int, state: Any, params: Any) -> int:
        """How many slots fit beside what training holds: the state of the student, its whole
        parameters, which may be the same arrays, and those of its partners."""
        memory = slots.device_memory()
        if memory is not None:
            held = {id(leaf): leaf for leaf in jax.tree.leaves((state, self._partners, params))}
            memory -= sum(leaf.addressable_shards[0].data.nbytes for leaf in held.values())
            memory = max(memory, 0)
        wanted = self._run.config.sampling.slots
        longest, platform = self._pool.longest, jax.default_backend()
        return slots.choose_slots(rules, wanted, dialogues, longest, memory, platform)

    def _token_log_probs(self, params: Any, found: Sequence[Rollout]) -> list[tuple[float, ...]]:
        """Of every sample the log-probabilities of its learned tokens, by the training forward
        pass, in the order of `Rollout.learned`."""
        rows = round_rows.unweighed(found, self._views, self._run.scheme.roles)
        rows = sorted(rows, key=lambda row: len(row[1].row.tokens))
        train = self._run.config.train
        size = train.batch_size // train.accumulation
        parts = [
            np.asarray(self._log_probs(params, sharding.put_batch(self._mesh, batch)))
            for batch in self._data.in_order([row for _, row, _ in rows], size)
        ]
        by_place: list[dict[int, float]] = [{} for _ in found]
        for (number, _, places), values in zip(rows, (v for p in parts for v in p), strict=False):
            by_place[number] |= zip(places, values[: len(places)].tolist(), strict=True)
        return [
            tuple(mine[place] for place in rollout.learned(self._views))
            for rollout, mine in zip(found, by_place, strict=True)
        ]

    def _bound_distance(self, found: Sequence[Rollout]) -> None:
        distances = round_rows.sampler_distances(found, self._views)
        if not distances.size:
            return
        dtypes = {self._run.config.train.dtype, self._run.config.sampling.dtype}
        exact = dtypes == {"float32"} and jax.default_backend() == "cpu"
        largest, mean = float(distances.max()), float(distances.mean())
        if (exact and largest > _MOST_FLOAT32) or mean > _MOST_MEAN:
            raise UserError(
                f"student {self._setup.student!r}: the sampler and training differ by up to "
                f"{largest:.2g} ({mean:.2g} on average) in the log-probability of a sampled token: "
                "set config.sampling.dtype and config.train.dtype to float32, and config.sampling."
                "attention and config.train.attention to xla; if it stays so, please report it"
            )

    def _reference_params(self) -> Any:
        """The parameters that the student began with, on the devices while they are used."""
        model, student = self._setup.trainer.config, self._setup.student
        if self._reference is None:
            key = f"config.model.{student}.init_from"
            name = self._run.config.model[student].init_from
            self._reference, _ = student_source.given_params(name, key, model)
        return step.placed(step.abstract_params(self._mesh, model), self._reference)


def _partners(run: Run, student: str, prepared: Prepared) -> dict[str, Any]:
    """The parameters of the other students, which do not change: of those that are trained before
    this one, as they are then; of the others, as they begin."""
    mesh = sharding.make_mesh(**run.config.mesh)
    before = _trained_before(run, student)
    finished = from_first.known_students(run).finished
    found = restore_students.restore_params(
        run, prepared.models, {name: finished[name] for name in before}
    )
    for name in run.students:
        if name != student and name not in before:
            key, source = f"config.model.{name}.init_from", run.config.model[name].init_from
            params, _ = student_source.given_params(source, key, prepared.models[name])
            found[name] = step.placed(step.abstract_params(mesh, prepared.models[name]), params)
    return found


def _trained_before(run: Run, student: str) -> list[str]:
    """The students that learn before this one."""
    earlier = run.students[: run.students.index(student)]
    return [name for name in earlier if rollout_settings.learns(run.config, name)]


def check_order(run: Run, finished: Collection[str], students: Sequence[str]) -> None:
    """Raise UserError if one of `students`, which are trained in this order, needs a partner that
    is not trained by then."""
    if not rollout_settings.is_on(run.config):
        return
    trained = set(finished)
    for student in students:
        learns = rollout_settings.learns(run.config, student)
        missing = [name for name in _trained_before(run, student) if name not in trained]
        if learns and missing:
            raise UserError(
                f"student {student!r} learns with {', '.join(missing)}, who learns before: train "
                "that one first (--config.train.students)"
            )
        trained.add(student)
