"""The sources of a run's annotations: the task itself, files, or a teacher."""

from dataclasses import replace
from typing import NamedTuple

from distill_jax import records
from distill_jax.annotations import hub
from distill_jax.annotations.mixture import Mixture, file_labels
from distill_jax.annotations.subsets import held_out_questions
from distill_jax.annotations.verify import Rejected
from distill_jax.errors import NoSplit, UserError
from distill_jax.run.run import Run
from distill_jax.teacher.settings import Spending
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import local_path


class Desk(NamedTuple):
    """The run that collects annotations, its terminal, and whether a teacher may be asked."""

    run: Run
    terminal: Terminal
    spending: Spending


class Source(NamedTuple):
    """Unchecked annotations of the problems of one split."""

    problems: list[records.Problem]
    annotations: list[records.Annotation]
    rejected: list[Rejected]  # what could not be read at all
    said: str  # "30 with steps, ": a part of the summary line; "" = nothing to say


def annotations_of(desk: Desk, split: str, most: int = 0) -> Source:
    """The annotations of a split, of the first `most` problems (0 = all) if a teacher is paid.

    Raises UserError if the task or a file cannot be read, and what teacher_annotations raises.
    """
    run = desk.run
    config, task = run.config, run.task
    problems = task.load(split)
    if not run.scheme.needs_steps and not config.data.annotated_only:
        # Only question and answer are needed, so problems without steps can be used.
        annotations = [
            records.Annotation(p.id, p.question, p.answer, (), {"kind": "gold"}) for p in problems
        ]
        return Source(problems, annotations, [], "")
    if config.data.annotations:
        return _from_files(run, desk.terminal, problems)
    if config.teacher.model:
        return _from_teacher(desk, split, problems[:most] if most else problems)
    annotations = task.gold(split, problems)
    records.refuse_duplicates(annotations, f"the annotations of {config.task}")
    return Source(problems, annotations, [], f"{len(annotations)} with steps, ")


def _from_files(run: Run, terminal: Terminal, problems: list[records.Problem]) -> Source:
    from distill_jax.annotations.importers import import_file
    from distill_jax.run.teacher_annotations import check_reasoning

    reasoning = run.config.teacher.reasoning
    check_reasoning(reasoning, run.scheme)
    annotations: list[records.Annotation] = []
    rejected: list[Rejected] = []
    names = run.config.data.annotations
    for name, label in zip(names, file_labels(names), strict=True):
        if name.startswith(hub.PREFIX):
            path = hub.fetch(name.removeprefix(hub.PREFIX))
        else:
            path = local_path(name, "config.data.annotations")
        try:
            found = import_file(path, problems, reasoning)
        except UserError as error:
            raise UserError(f"config.data.annotations: {error}") from None
        terminal.say(
            f"{name}: {found.format}: {found.rows} rows, {len(found.annotations)} of these "
            f"problems with steps and answer, {len(found.rejected)} others"
        )
        here = {"file": label}
        annotations += [replace(each, source=each.source | here) for each in found.annotations]
        rejected += [replace(each, source=each.source | here) for each in found.rejected]
    return Source(problems, annotations, rejected, f"{len(annotations)} annotations, ")


def make_mixture(run: Run) -> Mixture | None:
    """config.data.mixture for the files; None if all annotations are trained on.

    With answer_only no annotation is read, so there is nothing to mix.
    """
    config = run.config
    if not config.data.mixture or not run.scheme.needs_steps:
        return None
    shares = tuple(float(share) for share in config.data.mixture)
    return Mixture(file_labels(config.data.annotations), shares, config.seed)


def _from_teacher(desk: Desk, split: str, problems: list[records.Problem]) -> Source:
    from distill_jax.run.teacher_annotations import (
        make_conversation,
        make_questions,
        teacher_annotations,
    )
    from distill_jax.teacher.settings import TeacherSettings

    run = desk.run
    data = run.config.data
    settings = TeacherSettings(**run.config.teacher)
    conversation = make_conversation(settings, run.config.task, run.scheme)
    gold = run.task.gold(split, problems)
    asked = [problem.question for problem in problems]
    if split == data.dev_split:
        dev = set(asked)
    elif data.dev_split:
        dev = set()
    else:
        dev = held_out_questions(asked, data.dev_problems, data.train_problems)
    questions = make_questions(problems, gold, dev)
    annotations, rejected = teacher_annotations(
        settings, conversation, questions, desk.spending, desk.terminal
    )
    said = f"{len(annotations)} annotations of {settings.model}, "
    return Source(problems, annotations, rejected, said)


def leak_problems(run: Run) -> list[records.Problem]:
    """Problems that may not be trained on: the evaluation's, and those of config.data.test_split.

    Whole splits, whatever config.evaluation.problems is, because the training data must not depend
    on it. If the evaluation asks the training problems on purpose, or the dev problems of the run,
    which are left out in another way, these are not added; and neither is a test split that the
    task does not have.
    """
    asked, data = run.config.evaluation, run.config.data
    own = not asked.task and not asked.task_options
    trained = not asked.task and asked.split == data.train_split
    problems: list[records.Problem] = []
    if not trained and not (own and asked.split in (data.dev_split, "dev")):
        problems += run.evaluated.load(asked.split)
    if data.test_split and not (own and asked.split == data.test_split):
        problems += _test_problems(run)
    return [replace(problem, attributes={}, gold=None) for problem in problems]


def _test_problems(run: Run) -> list[records.Problem]:
    split = run.config.data.test_split
    try:
        return run.task.load(split)
    except NoSplit:
        return []
    except UserError as error:
        raise UserError(
            f"{error} (none of its questions may be trained on: if {run.task.name} has no split "
            f"{split}, set --config.data.test_split=)"
        ) from None
