"""Where the annotations of a run come from: the task itself, files, or a teacher."""

import pathlib
from dataclasses import replace
from typing import NamedTuple

from distill_jax import records
from distill_jax.annotations import hub
from distill_jax.annotations.mixture import Mixture, file_labels
from distill_jax.annotations.subsets import held_out_questions
from distill_jax.annotations.verify import Rejected
from distill_jax.errors import UserError
from distill_jax.run.run_inputs import RunInputs


class Source(NamedTuple):
    """Annotations that nobody has checked yet, of the problems of one split."""

    problems: list[records.Problem]
    annotations: list[records.Annotation]
    rejected: list[Rejected]  # what could not be read at all
    said: str  # "30 with steps, ": what there is, for one line; "" where nothing need be said


def annotations_of(inputs: RunInputs, split: str, most: int = 0) -> Source:
    """The annotations of a split, of the first `most` problems (0 = all) if a teacher is paid.

    Raises UserError if the task or a file cannot be read, and what teacher_annotations raises.
    """
    config, task = inputs.config, inputs.task
    problems = task.load(split, **inputs.task_options)
    if inputs.scheme.name == "answer_only":
        # Nothing but question and answer is needed, so problems without steps will do.
        annotations = [
            records.Annotation(p.id, p.question, p.answer, (), {"kind": "gold"}) for p in problems
        ]
        return Source(problems, annotations, [], "")
    if config.data.annotations:
        return _from_files(inputs, problems)
    if config.teacher.model:
        return _from_teacher(inputs, split, problems[:most] if most else problems)
    annotations = task.load_annotations(split, **inputs.task_options)
    records.refuse_duplicates(annotations, f"the annotations of {config.task}")
    return Source(problems, annotations, [], f"{len(annotations)} with steps, ")


def _from_files(inputs: RunInputs, problems: list[records.Problem]) -> Source:
    from distill_jax.annotations.importers import import_file
    from distill_jax.run.teacher_annotations import check_reasoning

    reasoning = inputs.config.teacher.reasoning
    check_reasoning(reasoning, inputs.scheme)
    annotations: list[records.Annotation] = []
    rejected: list[Rejected] = []
    names = inputs.config.data.annotations
    for name, label in zip(names, file_labels(names), strict=True):
        hosted = name.startswith(hub.PREFIX)
        path = hub.fetch(name.removeprefix(hub.PREFIX)) if hosted else pathlib.Path(name)
        try:
            found = import_file(path, problems, reasoning)
        except UserError as error:
            raise UserError(f"config.data.annotations: {error}") from None
        inputs.terminal.say(
            f"{name}: {found.format}: {found.rows} rows, {len(found.annotations)} of these "
            f"problems with steps and answer, {len(found.rejected)} others"
        )
        here = {"file": label}
        annotations += [replace(each, source=each.source | here) for each in found.annotations]
        rejected += [replace(each, source=each.source | here) for each in found.rejected]
    return Source(problems, annotations, rejected, f"{len(annotations)} annotations, ")


def make_mixture(inputs: RunInputs) -> Mixture | None:
    """What config.data.mixture says of the files; None where all annotations are trained on.

    With answer_only no annotation is read, so there is nothing to mix.
    """
    config = inputs.config
    if not config.data.mixture or inputs.scheme.name == "answer_only":
        return None
    shares = tuple(float(share) for share in config.data.mixture)
    return Mixture(file_labels(config.data.annotations), shares, config.seed)


def _from_teacher(inputs: RunInputs, split: str, problems: list[records.Problem]) -> Source:
    from distill_jax.run.teacher_annotations import (
        make_conversation,
        make_questions,
        teacher_annotations,
    )
    from distill_jax.teacher.settings import TeacherSettings

    data = inputs.config.data
    settings = TeacherSettings(**inputs.config.teacher)
    conversation = make_conversation(settings, inputs.config.task, inputs.scheme)
    gold = inputs.task.load_annotations(split, **inputs.task_options)
    asked = [problem.question for problem in problems]
    if split == data.dev_split:
        dev = set(asked)
    elif data.dev_split:
        dev = set()
    else:
        dev = held_out_questions(asked, data.dev_problems, data.train_problems)
    questions = make_questions(problems, gold, dev)
    annotations, rejected = teacher_annotations(
        settings, conversation, questions, inputs.spending, inputs.terminal
    )
    said = f"{len(annotations)} annotations of {settings.model}, "
    return Source(problems, annotations, rejected, said)


def leak_problems(inputs: RunInputs) -> list[records.Problem]:
    """The evaluation's problems, none of which may be trained on.

    All of the split, whatever config.evaluation.problems says: what is trained on must not depend
    on it. None where the evaluation asks what is trained on, or the dev problems of the run, which
    are left out by other means.
    """
    config = inputs.config
    own = not config.evaluation.task
    if own and config.evaluation.split in (config.data.train_split, config.data.dev_split, "dev"):
        return []
    problems = inputs.evaluated.module.load(config.evaluation.split, **inputs.evaluated.options)
    return [replace(problem, attributes={}) for problem in problems]
