"""Training: every student of a run, one after another."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from distill_jax import distributed, errors
from distill_jax.errors import UserError
from distill_jax.model import lora, sharding
from distill_jax.run import (
    adapters,
    dev_measurement,
    disk,
    from_first,
    origins,
    preference_pairs,
    references,
    restore_students,
    rollout_settings,
    rounds,
    student_objective,
    student_source,
    training_annotations,
)
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.dev_measurement import DevMeasurement
from distill_jax.run.parity_test_selection import ParityTestSelection
from distill_jax.run.preparation import Prepared, check_questions, prepare
from distill_jax.run.run import Run
from distill_jax.run.student_setup import Place, StudentSetup, say_setup, student_seed
from distill_jax.tracking.reporting import Reporting
from distill_jax.tracking.terminal import Terminal
from distill_jax.tracking.trackers import TRAINING
from distill_jax.training import checkpoint, hooks, loop, removal, step
from distill_jax.training.loop import Hook
from distill_jax.training.profile import ProfileWindow
from distill_jax.workdir import write_json


class Training:
    """Training, student by student. `begin` makes what all of them share."""

    def __init__(self, desk: Desk, reporting: Reporting):
        """`desk.run` is the run of all stages until the directory is written."""
        self._desk, self._reporting = desk, reporting
        self._mesh = sharding.make_mesh(**desk.run.config.mesh)
        self._prepared: Prepared | None = None

    @property
    def run(self) -> Run:
        """The current run."""
        return self._desk.run

    def todo(self) -> list[str]:
        """The students that this command has to train; all processes must call this."""
        finished = from_first.known_students(self.run).finished
        chosen = self.run.config.train.students or self.run.students
        return [student for student in chosen if student not in finished]

    def begin(self) -> Prepared:
        """Read, check and make everything; then write the annotations, the tokenizer and the
        config. All mistakes of the user are found before the directory is written."""
        if self._prepared is None:
            run, todo = self.run, self.todo()
            place = Place(self._mesh, jax.default_backend())
            prepared = prepare(self._desk, todo, place)
            check_questions(self._desk, prepared)
            finished = from_first.known_students(run).finished
            dev_measurement.check_order(run, finished, todo)
            rounds.check_order(run, finished, todo)
            disk.say_and_check(run, prepared.setups, self._mesh, self._desk.terminal)
            for student in todo:
                distributed.check_shared(run.checkpoint_directory(student).parent)
            terminal = self._desk.terminal
            with terminal.watching():
                own = training_annotations.write(run, prepared.data, prepared.tokenizer, terminal)
                preference_pairs.write(own, prepared.pairs, terminal)
            self._desk = self._desk._replace(run=own)
            self._reporting.tracking.open()
            self._prepared = prepared
        return self._prepared

    def train(self, student: str) -> None:
        """Train one student from its last checkpoint, or from the start, to its last step."""
        prepared = self.begin()
        [setup] = [each for each in prepared.setups if each.student == student]
        with jax.set_mesh(self._mesh):
            _train(self.run, self._reporting, setup, self._mesh, prepared)


def _train(
    run: Run,
    reporting: Reporting,
    setup: StudentSetup,
    mesh: jax.sharding.Mesh,
    prepared: Prepared,
) -> None:
    config, terminal, student = run.config, reporting.terminal, setup.student
    say_setup(run, setup, mesh, terminal)
    trainer = setup.trainer
    abstract = step.abstract_state(mesh, trainer.config, trainer.optimizer, trainer.adapter)
    checkpoints = checkpoint.Checkpoints(
        run.checkpoint_directory(student), config.train.keep, terminal.say
    )
    facts = from_first.known_students(run).facts
    base, frozen, made_from = _base(run, setup, mesh, facts)
    state, weights_dtype = _first_state(run, terminal, facts, setup, abstract, checkpoints, base)
    del base
    untrained = student_source.untrained_marks(
        config.model[student], f"config.model.{student}", prepared.tokenizer
    )
    if untrained and not int(state.step):
        terminal.say(
            f"student {student}: {' and '.join(untrained)}: not in the vocabulary of these "
            "weights, so added to it and untrained"
        )
    made_from |= _began_as(run, student, facts) | {
        "weights_dtype": weights_dtype,
        "sha256": distributed.from_first(run.workdir.hashes),
    }
    whole = _whole(setup, mesh, frozen)
    if setup.pairs and int(state.step):
        references.restore(run, student, setup.pairs)
    elif setup.pairs:
        terminal.say(f"student {student}: reading the pairs as it is now, for comparison")
        references.settle(run, setup, whole(state.params), mesh)
    _write_facts(run, student, setup.facts | made_from)
    if not setup.facts["steps"]:
        _keep(run, student, state, checkpoints, setup.facts | made_from)
        return
    kept = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    where = f" (compiled programs are kept in {kept})" if kept else ""
    terminal.say(f"student {student}: compiling the training step{where}")
    frozen |= student_objective.load(setup.frozen, mesh, terminal)
    shapes = setup.data.global_shapes()
    programs = {
        _shapes(shapes): step.lower_step(mesh, abstract, shapes, frozen, setup.trainer).compile()
    }
    steps, first = setup.facts["steps"], int(state.step)
    own = _rounds(run, reporting, setup, mesh, prepared, whole)
    reporting.tracking.start(student, first, (*TRAINING, *([rounds.KIND] if own else [])))
    tokens = hooks.tokens_before(student, first, setup.data, reporting.tracking)
    moment = loop.Moment(first, state, steps, tokens, loop.Stopwatch())
    del state  # the first step donates its memory

    def take_step(state: step.TrainState, batch: dict[str, jax.Array]) -> Any:
        """One step; batches of own samples have a few shapes beside the largest one."""
        program = programs.get(_shapes(batch))
        if program is None:
            terminal.say(f"compiling the step for rows of {batch['inputs'].shape[1]} tokens")
            with moment.stopwatch.pause(state):
                lowered = step.lower_step(mesh, abstract, batch, frozen, setup.trainer)
                program = programs[_shapes(batch)] = lowered.compile()
        return program(state, batch, frozen)

    with terminal.progress(f"training {student}", steps, first) as progress:
        logging = hooks.Logging(
            student,
            config.train.log_every,
            reporting.tracking,
            progress,
            hooks.Speed(moment, setup.facts["flops_per_token"], mesh),
            setup.schedule,
            checkpoints,
        )
        profile = ProfileWindow(
            config.train.profile_first if distributed.is_first() else 0,
            config.train.profile_last,
            run.workdir.profile / student,
            terminal.say,
        )
        measuring = _measuring(run, reporting, setup, mesh, prepared, first, whole)
        with (
            errors.signals_deferred(),
            contextlib.closing(checkpoints),
            contextlib.closing(profile),
        ):
            several = distributed.processes() > 1
            loop.train(
                take_step,
                moment,
                setup.data,
                mesh,
                [
                    Hook(1, profile.after_step),
                    Hook(1, logging),
                    *measuring,
                    Hook(config.train.log_every if several else 1, hooks.StopWhenAsked()),
                    *own,
                    Hook(1, hooks.Saving(student, config.train.save_every, checkpoints, logging)),
                    *_beginning_anew(setup),
                    Hook(1, profile.before_step),
                ],
            )
            checkpoints.wait()
            distributed.wait_for_all(f"{student} is saved")  # process 0 writes the manifest
            if moment.interrupted:
                distributed.leave_together()
                raise errors.Interrupted
    last, best = moment.step, int(moment.state.best_step)
    ended = {"finished_at": last, "best_step": best}
    if own:
        ended["tokens"] = round(moment.tokens * steps / last)  # as many as all steps have
    _write_facts(run, student, setup.facts | made_from | ended)
    restore_students.keep_parameters(run)
    if last < steps:
        terminal.say(
            f"student {student}: stopped at step {last}, no better on dev than at step {best}"
        )


def _shapes(batch: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in batch.values())


def _keep(
    run: Run, student: str, state: step.TrainState, checkpoints: checkpoint.Checkpoints, facts: Any
) -> None:
    """Save a student that is not trained as it is: it is finished at step 0."""
    with contextlib.closing(checkpoints):
        checkpoints.save(0, state)
        checkpoints.wait()
        distributed.wait_for_all(f"{student} is saved")  # process 0 writes the manifest
    _write_facts(run, student, facts | {"finished_at": 0, "best_step": 0})
    restore_students.keep_parameters(run)


def _rounds(
    run: Run,
    reporting: Reporting,
    setup: StudentSetup,
    mesh: jax.sharding.Mesh,
    prepared: Prepared,
    whole: Callable[[Any], Any],
) -> list[Hook]:
    """The hook that makes rounds of own samples, if there are rounds."""
    if not rollout_settings.is_on(run.config):
        return []
    return [Hook(1, rounds.Rounds(run, reporting, setup, mesh, prepared, whole))]


def _beginning_anew(setup: StudentSetup) -> list[Hook]:
    """What the optimizer forgets where words are removed from rows, after what is saved."""
    if setup.data.removal is None:
        return []
    return [Hook(1, removal.BeginAnew(setup.data.removal, setup.data.most_removable))]


def _measuring(
    run: Run,
    reporting: Reporting,
    setup: StudentSetup,
    mesh: jax.sharding.Mesh,
    prepared: Prepared,
    first: int,
    whole: Callable[[Any], Any],
) -> list[Hook]:
    """The hook that measures a student while it trains, from step `first` on; `whole` makes
    parameters from what is trained."""
    config, found = run.config.train, []
    if config.eval_every and setup.dev:
        measure = DevMeasurement(run, reporting.tracking, setup, mesh, prepared)
        patience_steps = config.patience * config.eval_every
        measuring = hooks.Measuring(
            setup.student,
            lambda params, at_step: measure(whole(params), at_step),
            patience_steps,
            reporting.tracking,
            reporting.terminal.say,
        )
        found.append(Hook(config.eval_every, measuring))
    if config.parity_test_selection:
        scores = ParityTestSelection(run, reporting, setup, prepared, first, whole)
        found.append(Hook(1, scores))
    return found


def _base(
    run: Run, setup: StudentSetup, mesh: jax.sharding.Mesh, facts: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(host parameters of the base and dtype of their files, what a step only reads, facts) of a
    student with an adapter; (None, {}, {}) of others."""
    adapter, student = setup.trainer.adapter, setup.student
    if adapter is None:
        return None, {}, {}
    name, key = run.config.model[student].init_from, f"config.model.{student}.init_from"
    known = facts.get(student, {})
    params, dtype = student_source.adapted_base(name, key, adapter.model, known)
    frozen = {lora.BASE: step.placed(step.abstract_base(mesh, adapter), adapter.hold(params))}
    return (params, dtype), frozen, {"base_sha256": lora.digest(params)}


def _began_as(run: Run, student: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """The fact that names the published weights that a student began as; {} if there are none."""
    name = run.config.model[student].init_from
    if student in facts:  # the file may be gone by now
        known = facts[student].get(origins.BEGAN_AS)
        return {} if known is None else {origins.BEGAN_AS: known}
    if not name or student_source.other_run(name) is not None:
        return {}
    return {origins.BEGAN_AS: student_source.described(name)}


def _whole(
    setup: StudentSetup, mesh: jax.sharding.Mesh, frozen: dict[str, Any]
) -> Callable[[Any], Any]:
    """The parameters of the network, of what is trained."""
    adapter = setup.trainer.adapter
    if adapter is None:
        return lambda params: params
    return functools.partial(step.merge_on(mesh, adapter), frozen[lora.BASE])


def _first_state(
    run: Run,
    terminal: Terminal,
    facts: Mapping[str, Any],
    setup: StudentSetup,
    abstract: Any,
    checkpoints: checkpoint.Checkpoints,
    base: tuple[Any, str] | None,
) -> tuple[step.TrainState, str]:
    """The first state: of a resumed run, or else from given parameters, or else from random ones.

    Also returns the dtype of the files that the parameters came from. `base`: of an adapter.
    """
    student, trainer = setup.student, setup.trainer
    # First, or one might be told to delete what another run has made.
    if student not in facts and from_first.known_students(run).steps[student]:
        raise UserError(
            f"{run.checkpoint_directory(student)} holds checkpoints of another run: choose "
            "another config.checkpoint_dir"
        )
    restored = checkpoints.restore_latest(abstract)
    if restored is not None:
        terminal.say(f"student {student}: going on from step {restored[0]}")
        return restored[1], facts[student]["weights_dtype"]
    section, seed = run.config.model[student], student_seed(run.config, student)
    if trainer.adapter is not None and base is not None:
        terminal.say(f"student {student}: an adapter of {section.init_from}")
        values = adapters.first_values(run, student, trainer.adapter, base[0], seed)
        return step.state_from_params(abstract, trainer.optimizer, values), base[1]
    if section.init_from:
        key = f"config.model.{student}.init_from"
        params, weights_dtype = student_source.given_params(section.init_from, key, trainer.config)
        terminal.say(f"student {student}: starting from {section.init_from}")
        return step.state_from_params(abstract, trainer.optimizer, params), weights_dtype
    key = jax.random.key(seed)
    return step.random_state(abstract, trainer.config, trainer.optimizer, key), "float32"


def _write_facts(run: Run, student: str, facts: dict[str, Any]) -> None:
    known = from_first.known_students(run).facts
    if distributed.is_first():
        write_json(run.workdir.training_data, known | {student: facts})
