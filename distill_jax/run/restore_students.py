"""The checkpoints of a run, and their parameters."""

import functools
from collections.abc import Mapping
from typing import Any

from etils import epath

from distill_jax import distributed
from distill_jax.errors import UserError
from distill_jax.model import sharding
from distill_jax.model.network import NetworkConfig
from distill_jax.run import adapters, from_first
from distill_jax.run.from_first import KnownStudents
from distill_jax.run.run import Run
from distill_jax.run.student_setup import check_mesh
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import checkpoint, manifest, step
from distill_jax.workdir import write_json


def forget_damaged(run: Run, terminal: Terminal) -> None:
    """Students whose last checkpoint is damaged on disk no longer count as finished; training then
    continues from the checkpoint before. Process 0 reads all files of these checkpoints, and tells
    the others.

    Raises UserError if training cannot continue, because a finished student keeps only parameters.
    """
    known = from_first.known_students(run)

    def damaged() -> dict[str, int]:
        return {
            student: last
            for student, last in known.finished.items()
            if manifest.damaged(run.checkpoint_directory(student) / str(last))
        }

    found = distributed.from_first(damaged)
    for student, last in found.items():
        directory = run.checkpoint_directory(student)
        if not distributed.from_first(functools.partial(_resumable, directory, before=last)):
            raise UserError(
                f"{directory / str(last)} is damaged, and no other checkpoint has the optimizer's "
                f"state, which a finished student does not keep: delete {directory} to train "
                f"student {student} anew"
            )
    for student, last in found.items():
        terminal.say(
            f"{run.checkpoint_directory(student) / str(last)} is damaged: student {student} is "
            "trained again from the checkpoint before"
        )
        del known.facts[student]["finished_at"]
    if found and distributed.is_first():
        write_json(run.workdir.training_data, known.facts)


def _resumable(directory: epath.Path, before: int) -> bool:
    """Whether training can continue from an undamaged checkpoint before that step."""
    return any(
        manifest.has(path, checkpoint.TRAINING) and not manifest.damaged(path)
        for step in manifest.complete_steps(directory)
        if step < before
        for path in [directory / str(step)]
    )


def keep_parameters(run: Run) -> None:
    """Delete the optimizer's state from the checkpoints of finished students, also of one for which
    the run was killed while it did that. All processes must call this."""
    finished = from_first.known_students(run).finished

    def slim() -> None:
        for student in finished:
            checkpoint.keep_parameters(run.checkpoint_directory(student))

    distributed.from_first(slim)


def check_finished(run: Run, known: KnownStudents) -> dict[str, int]:
    """`known.finished`; UserError if a student is missing."""
    missing = [student for student in run.students if student not in known.finished]
    if missing:
        begun = [student for student in missing if "finished_at" in known.facts.get(student, {})]
        if begun and not run.checkpoint_directory(begun[0]).exists():
            raise UserError(
                f"{run.checkpoint_directory(begun[0])}: no such directory, but student {begun[0]} "
                "was trained: set --config.checkpoint_dir to where its checkpoints are now"
            )
        raise UserError(
            f"{run.workdir.path}: student {', '.join(missing)} is not trained to the end: run "
            "`python -m distill_jax.main` with the same config and workdir first"
        )
    return known.finished


def chosen_steps(
    run: Run, known: KnownStudents, finished: dict[str, int] | None = None
) -> dict[str, int]:
    """{student: step} of the checkpoints that config.evaluation.checkpoint chooses: "last", "best",
    a step of all students, or "solver=400,decomposer=200". UserError if one is not there.

    `finished`: the students whose last or best checkpoint is wanted; None = all, which must exist.
    """
    rule = run.config.evaluation.checkpoint
    if rule not in ("last", "best"):
        return _given_steps(run, known, rule)
    finished = check_finished(run, known) if finished is None else finished
    if rule == "last":
        return finished
    best = {student: known.facts[student]["best_step"] for student in finished}
    unmeasured = [student for student, step in best.items() if step < 0]
    if unmeasured:
        raise UserError(
            f"config.evaluation.checkpoint='best': student {', '.join(unmeasured)} was never "
            "measured on dev (are there enough training problems to hold a tenth out?): choose last"
        )
    return best


def check_given_steps(run: Run, last: Mapping[str, int]) -> None:
    """Raise UserError if config.evaluation.checkpoint names a step of which no checkpoint will be
    left. `last`: the last step of each student that is to be trained."""
    rule, train = run.config.evaluation.checkpoint, run.config.train
    if rule in ("last", "best"):
        return
    known, named = from_first.known_students(run), _named_steps(run, rule)
    for student, end in last.items():
        step = named.get(student, -1)
        saved = [*range(train.save_every, end, train.save_every), end]
        # Patience may end the training earlier, and the best one on dev is kept wherever it is.
        kept = saved if train.patience else saved[-train.keep :]
        is_measured = train.eval_every and 0 < step <= end and step % train.eval_every == 0
        if step not in kept and not is_measured and step not in known.steps[student]:
            raise UserError(
                f"config.evaluation.checkpoint={rule!r}: of student {student!r} the checkpoints of "
                f"steps {', '.join(map(str, kept))} will be left (config.train.keep={train.keep}, "
                f"save_every={train.save_every})"
            )


def _given_steps(run: Run, known: KnownStudents, text: str) -> dict[str, int]:
    steps = _named_steps(run, text)
    for student in run.students:
        if steps.get(student) not in known.steps[student]:
            raise UserError(
                f"config.evaluation.checkpoint={text!r}: student {student!r} has checkpoints of "
                f"steps {', '.join(map(str, known.steps[student])) or '(none)'}"
            )
    return {student: steps[student] for student in run.students}


def _named_steps(run: Run, text: str) -> dict[str, int]:
    """{student: step} of "400" or "solver=400,decomposer=200"; UserError for another text."""
    steps: dict[str, int] = {}
    for part in text.split(","):
        student, equals, number = part.rpartition("=")
        if not number.strip().isdigit() or (equals and student.strip() not in run.students):
            raise UserError(
                f"config.evaluation.checkpoint={text!r}: last, best, a step, or a step for each of "
                f"{', '.join(run.students)}, such as {run.students[0]}=400"
            )
        chosen = [student.strip()] if equals else run.students
        steps |= dict.fromkeys(chosen, int(number))
    return steps


def restore_params(
    run: Run, models: dict[str, NetworkConfig], steps: dict[str, int]
) -> dict[str, Any]:
    """{student: parameters} at the given steps, laid out on the mesh of the config.

    Raises UserError if a size does not divide over the mesh.
    """
    mesh = sharding.make_mesh(**run.config.mesh)
    for student in steps:
        # Slots are rounded up to a number that fits the rows.
        check_mesh(mesh, student, models[student], mesh.shape["data"] * mesh.shape["fsdp"])
    params, facts = {}, from_first.known_students(run).facts
    for student, number in steps.items():
        adapter = adapters.trained(facts, student, models[student])
        if adapter is None:
            abstract = step.abstract_params(mesh, models[student])
            params[student] = adapters.restore(run, student, number, abstract)
        else:
            params[student] = adapters.merged(run, student, number, adapter, facts, mesh)
    return params
