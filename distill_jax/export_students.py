"""The export of a run: restore its students and write each in Hugging Face format."""

import pathlib
from typing import Any

import jax
import numpy as np

from distill_jax import command_line, model_card, records, sharding
from distill_jax.errors import UserError
from distill_jax.model import hugging_face_export
from distill_jax.restore_students import chosen_steps, finished_students, restore_params
from distill_jax.run_inputs import RunInputs
from distill_jax.text.formats import TURNS
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.workdir import Workdir, read_json


def export(path: str, output: str, dtype: str | None, overrides: dict[str, str]) -> None:
    """Write every finished student of the run in `path` to `output/<student>/`.

    `dtype` is float32, float16 or bfloat16; None takes what training_data.json has as the student's
    `weights_dtype`, or else float32. Raises UserError where no student is finished, where one of
    the directories is not empty, and for another text format than our own.
    """
    workdir = Workdir(path)
    config = command_line.config_from_dict(workdir.stored_config())
    command_line.apply_overrides(config, overrides)
    with workdir.locked():
        inputs = RunInputs(config, workdir)
        workdir.check_identity(inputs.identity())
        if inputs.scheme.text_format is not TURNS:
            raise UserError(
                f"config.text_format={inputs.scheme.text_format.name!r}: only students of the "
                "format 'turns' can be exported: the chat template is that of turns"
            )
        finished = finished_students(inputs)
        if not finished:
            raise UserError(
                f"--workdir={path}: no student is trained to the end: run "
                "`python -m distill_jax.main` with the same config and workdir first"
            )
        for student in finished:  # before the first of them is written
            hugging_face_export.check_target(pathlib.Path(output), student)
        for student, steps in chosen_steps(inputs, finished).items():
            target = _export_one(inputs, student, steps, pathlib.Path(output), dtype)
            inputs.terminal.say(f"student {student}: {target}")
    unfinished = [student for student in inputs.students if student not in finished]
    if unfinished:
        inputs.terminal.say(f"not trained to the end, left out: {', '.join(unfinished)}")


def _export_one(
    inputs: RunInputs, student: str, steps: int, output: pathlib.Path, dtype: str | None
) -> pathlib.Path:
    workdir = inputs.workdir
    tokenizer = inputs.tokenizer()
    facts = read_json(workdir.training_data)[student]
    _, first = next(iter(records.read_json_lines(workdir.annotations)))
    card = model_card.model_card(
        student,
        config=inputs.config,
        scheme=inputs.scheme,
        views=[view for view in inputs.views if view.student == student],
        annotation=records.annotation_from_dict(first),
        facts=facts,
        report=read_json(workdir.report_json) if workdir.report_json.exists() else None,
    )
    return hugging_face_export.export_student(
        output,
        student,
        _restore(inputs, tokenizer, student, steps),
        inputs.models(tokenizer)[student],
        workdir.tokenizer,
        # Runs from before this key was written hold float32.
        dtype or facts.get("weights_dtype", "float32"),
        card,
        _never_writes(inputs, tokenizer, student),
    )


def _restore(inputs: RunInputs, tokenizer: Tokenizer, student: str, steps: int) -> Any:
    """The parameters of one student at `steps`, as numpy arrays on this host."""
    with jax.set_mesh(sharding.make_mesh(**inputs.config.mesh)):
        params = restore_params(inputs, inputs.models(tokenizer), {student: steps})[student]
        return jax.tree.map(np.asarray, params)


def _never_writes(inputs: RunInputs, tokenizer: Tokenizer, student: str) -> list[int]:
    """The end marks that no role of `student` may write."""
    plan = inputs.plan(tokenizer)
    roles = [r for r, view in enumerate(plan.role_view) if plan.views[view].student == student]
    never = []
    if not any(plan.may_pass[role] for role in roles):
        never.append(plan.end_of_turn)
    if not any(plan.may_end[role] for role in roles):
        never.append(plan.end_of_text)
    return never
