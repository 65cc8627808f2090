"""The export of a run: restore its students and write each in Hugging Face format."""

import pathlib
import re
import shlex
from typing import Any, NamedTuple

import jax
import numpy as np

from distill_jax import records
from distill_jax.annotations import hub
from distill_jax.dialogues.sampler import make_rules
from distill_jax.errors import UserError
from distill_jax.export import (
    alternate_program,
    chat_template,
    gguf_export,
    hugging_face_export,
    model_card,
)
from distill_jax.model import sharding
from distill_jax.model.lora import Adapter
from distill_jax.model.network import NetworkConfig
from distill_jax.run import adapters, from_first
from distill_jax.run.restore_students import check_finished, chosen_steps, restore_params
from distill_jax.run.run import Run, stored_run
from distill_jax.run.student_setup import sizes
from distill_jax.text import messages
from distill_jax.text.formats import CHATML, TURNS
from distill_jax.text.tokenizer import Tokenizer, saved_marks
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import step
from distill_jax.workdir import Workdir, read_json, write_text

EXAMPLE = "alternate.py"


class Options(NamedTuple):
    """What to write, and where."""

    output: pathlib.Path
    dtype: str | None  # float32, float16 or bfloat16; None = that of the files it began from
    gguf: str  # type of a file for llama.cpp, f32, f16 or q8_0; "" = no such file
    push_to_hub: str  # NAME/PREFIX: every student becomes NAME/PREFIX-<student>; "" = nowhere


def export(path: str, options: Options, overrides: dict[str, str]) -> None:
    """Write every finished student of the run in `path` to `output/<student>/`. If all are
    finished, also write `output/alternate.py`, a program in which they take turns.

    If `dtype` is None, it is the student's `weights_dtype` in training_data.json, or else float32.
    Raises UserError if no student is finished, if one of the directories is not empty, for a text
    format whose chats no template writes, and if the Hub refuses a student (after the directories
    are written).
    """
    workdir = Workdir(path)
    run = from_first.checked(stored_run(workdir, overrides))
    if options.push_to_hub and not re.fullmatch(r"[\w.-]+/[\w.-]+", options.push_to_hub):
        raise UserError(f"--push_to_hub={options.push_to_hub}: give NAME/PREFIX, such as me/pair")
    terminal = Terminal()
    with workdir.locked():
        form = run.scheme.text_format
        if form not in (TURNS, CHATML):
            raise UserError(
                f"config.text_format={form.name!r}: only students of the formats turns and chatml "
                "can be exported: there is no chat template for others"
            )
        known = from_first.known_students(run)
        finished = known.finished
        if not finished:
            check_finished(run, known)
        for student in finished:  # before the first of them is written
            hugging_face_export.check_target(options.output, student)
        tokenizer = from_first.tokenizer(run)
        students = _Students(run, tokenizer, sizes(run, tokenizer, known.facts), known.facts)
        if options.gguf:
            for student in finished:
                gguf_export.check(students.models[student], workdir.tokenizer, options.gguf)
        targets = {}
        chosen = chosen_steps(run, known, finished)
        for student in chosen:
            dtype = options.dtype or known.facts[student]["weights_dtype"]
            targets[student] = _export_one(students, student, chosen, dtype, options)
            terminal.say(f"student {student}: {targets[student]} ({dtype})")
    unfinished = [student for student in run.students if student not in finished]
    if not unfinished:
        places = {student: f"./{student}" for student in run.students}
        write_text(options.output / EXAMPLE, _example(run, tokenizer, places))
        program = shlex.quote(str(options.output / EXAMPLE))
        terminal.say(f'try them, with PyTorch installed: python {program} "QUESTION"')
    else:
        terminal.say(f"not trained to the end, left out: {', '.join(unfinished)}")
    if options.push_to_hub:
        for student, target in targets.items():
            name = f"{options.push_to_hub}-{student}"
            terminal.say(hub.push_folder(target, name, "model"))


class _Students(NamedTuple):
    """The run whose students are exported, and what they have in common."""

    run: Run
    tokenizer: Tokenizer
    models: dict[str, NetworkConfig]
    facts: dict[str, Any]


def _export_one(
    students: _Students, student: str, chosen: dict[str, int], dtype: str, options: Options
) -> pathlib.Path:
    steps = chosen[student]
    run, workdir, facts = students.run, students.run.workdir, students.facts[student]
    if options.push_to_hub:
        places = {each: f"{options.push_to_hub}-{each}" for each in run.students}
    else:
        places = {each: f"../{each}" for each in run.students}
    own_views = [view for view in run.views if view.student == student]
    of = model_card.CardFacts(
        student,
        config=run.config,
        scheme=run.scheme,
        views=own_views,
        annotations=[row for _, row in records.read_json_lines(workdir.annotations)],
        licences=getattr(run.task.module, "LICENCES", {}),  # a user's task need not have any
        facts=facts,
        report=read_json(workdir.report_json) if workdir.report_json.exists() else None,
        steps=chosen,
        dtype=dtype,
        example=_example(run, students.tokenizer, places),
        marks=students.tokenizer.marks,
    )
    return hugging_face_export.export_student(
        options.output,
        hugging_face_export.Exported(
            student,
            _restore(students, student, steps),
            students.models[student],
            workdir.tokenizer,
            _adapter(students, student, steps),
            chat_template.chat_template(run.scheme, own_views, students.tokenizer.marks),
        ),
        dtype,
        model_card.model_card(of),
        _never_writes(students, student),
        gguf=options.gguf,
    )


def _example(run: Run, tokenizer: Tokenizer, places: dict[str, str]) -> str:
    sampling = run.sampling
    return alternate_program.example(
        run.scheme,
        run.views,
        places,
        max_turns=sampling.max_turns,
        max_turn_tokens=sampling.max_turn_tokens,
        end_of_turn=saved_marks(run.workdir.tokenizer).turn,
        headers=alternate_program.Headers(
            *messages.around_question(run.scheme, tokenizer),
            messages.openings(run.scheme, tokenizer),
        ),
    )


def _restore(students: _Students, student: str, steps: int) -> Any:
    """The parameters of one student at `steps`, as numpy arrays on this host."""
    run = students.run
    with jax.set_mesh(sharding.make_mesh(**run.config.mesh)):
        params = restore_params(run, students.models, {student: steps})[student]
        return jax.tree.map(np.asarray, params)


def _adapter(students: _Students, student: str, steps: int) -> tuple[Adapter, Any, str] | None:
    """What is trained of a student beside its base, and the name of the base."""
    run = students.run
    adapter = adapters.trained(students.facts, student, students.models[student])
    if adapter is None:
        return None
    mesh = sharding.make_mesh(**run.config.mesh)
    values = adapters.restore(run, student, steps, step.abstract_trained(mesh, adapter))
    return adapter, jax.tree.map(np.asarray, values), run.config.model[student].init_from


def _never_writes(students: _Students, student: str) -> list[int]:
    """The end marks that no role of `student` may write."""
    run = students.run
    rules = make_rules(run.scheme, run.views, students.models, students.tokenizer, run.sampling)
    roles = [r for r, [view] in enumerate(rules.role_views) if rules.views[view].student == student]
    never = []
    if not any(rules.may_pass[role] for role in roles):
        never.append(rules.end_of_turn)
    if not any(rules.may_end[role] for role in roles):
        never.append(rules.end_of_text)
    return never
