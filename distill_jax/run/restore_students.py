"""Which checkpoints of a run are there, and their parameters."""

from typing import Any

from distill_jax import distributed
from distill_jax.errors import UserError
from distill_jax.model import sharding
from distill_jax.model.network import NetworkConfig
from distill_jax.run.run_inputs import RunInputs
from distill_jax.run.student_setup import check_mesh
from distill_jax.training import checkpoint, manifest, step
from distill_jax.workdir import write_json


def finished_students(inputs: RunInputs) -> dict[str, int]:
    """{student: last step} of those that are trained to the end, or stopped early by patience."""
    facts = inputs.facts()
    finished = {}
    for student in inputs.students:
        last = facts.get(student, {}).get("finished_at")
        directory = inputs.checkpoint_directory(student)
        if last is not None and last in manifest.complete_steps(directory):
            finished[student] = last
    return finished


def forget_damaged(inputs: RunInputs) -> None:
    """Students whose last checkpoint is damaged on disk count as finished no longer: training then
    goes on from the one before. Reads all files of these checkpoints."""

    def damaged() -> dict[str, int]:
        return {
            student: last
            for student, last in finished.items()
            if manifest.damaged(inputs.checkpoint_directory(student) / str(last))
        }

    finished = finished_students(inputs)
    found = distributed.from_first(damaged)
    for student, last in found.items():
        inputs.terminal.say(
            f"{inputs.checkpoint_directory(student) / str(last)} is damaged: student {student} is "
            "trained again from the checkpoint before"
        )
    facts = inputs.facts()
    for student in found:
        del facts[student]["finished_at"]
    if found and distributed.is_first():
        write_json(inputs.workdir.training_data, facts)


def check_finished(inputs: RunInputs) -> dict[str, int]:
    """`finished_students`; UserError where one is missing."""
    finished = finished_students(inputs)
    missing = [student for student in inputs.students if student not in finished]
    if missing:
        raise UserError(
            f"{inputs.workdir.path}: student {', '.join(missing)} is not trained to the end: run "
            "`python -m distill_jax.main` with the same config and workdir first"
        )
    return finished


def chosen_steps(inputs: RunInputs, finished: dict[str, int] | None = None) -> dict[str, int]:
    """{student: step} of the checkpoints that config.evaluation.checkpoint chooses: "last", "best",
    a step of all students, or "solver=400,decomposer=200". UserError where one is not there.

    `finished`: the students that are asked for by last or best; None = all, which must be there.
    """
    rule = inputs.config.evaluation.checkpoint
    if rule not in ("last", "best"):
        return _given_steps(inputs, rule)
    finished = check_finished(inputs) if finished is None else finished
    if rule == "last":
        return finished
    facts = inputs.facts()
    best = {student: facts[student]["best_step"] for student in finished}
    unmeasured = [student for student, step in best.items() if step < 0]
    if unmeasured:
        raise UserError(
            f"config.evaluation.checkpoint='best': student {', '.join(unmeasured)} was never "
            "measured on dev (are there enough training problems to hold a tenth out?): choose last"
        )
    return best


def _given_steps(inputs: RunInputs, text: str) -> dict[str, int]:
    steps: dict[str, int] = {}
    for part in text.split(","):
        student, equals, number = part.rpartition("=")
        if not number.strip().isdigit() or (equals and student.strip() not in inputs.students):
            raise UserError(
                f"config.evaluation.checkpoint={text!r}: last, best, a step, or a step for each of "
                f"{', '.join(inputs.students)}, such as {inputs.students[0]}=400"
            )
        chosen = [student.strip()] if equals else inputs.students
        steps |= dict.fromkeys(chosen, int(number))
    for student in inputs.students:
        there = manifest.complete_steps(inputs.checkpoint_directory(student))
        if steps.get(student) not in there:
            raise UserError(
                f"config.evaluation.checkpoint={text!r}: student {student!r} has checkpoints of "
                f"steps {', '.join(map(str, sorted(there))) or '(none)'}"
            )
    return {student: steps[student] for student in inputs.students}


def restore_params(
    inputs: RunInputs, models: dict[str, NetworkConfig], steps: dict[str, int]
) -> dict[str, Any]:
    """{student: parameters} at the given steps, laid out on the mesh of the config.

    Raises UserError where a size does not divide over the mesh.
    """
    mesh = sharding.make_mesh(**inputs.config.mesh)
    for student in steps:
        # Slots are rounded up to what the rows need.
        check_mesh(mesh, student, models[student], mesh.shape["data"] * mesh.shape["fsdp"])
    params = {}
    for student, number in steps.items():
        abstract = step.abstract_params(mesh, models[student])
        checkpoints = checkpoint.Checkpoints(inputs.checkpoint_directory(student), keep=1)
        params[student] = checkpoints.restore_params(number, abstract)
    return params
