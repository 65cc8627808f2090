"""The problems of an evaluation, their given parts, and which of them were trained on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax import records
from distill_jax.annotations import leaks
from distill_jax.dialogues import given
from distill_jax.dialogues.sampler import Sampler, make_rules
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem
from distill_jax.run import preference_pairs
from distill_jax.run.origins import Origins
from distill_jax.run.origins import add as add_origins
from distill_jax.run.run import Run
from distill_jax.run.student_setup import sizes
from distill_jax.run.training_annotations import read_stored
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.workdir import Workdir, read_facts

TRAINING = "training"  # what the problems of the split that is trained on are called


@dataclasses.dataclass(frozen=True)
class Made:
    """What the run has made, of which its evaluation needs to know."""

    train: Sequence[Annotation]
    dev: Sequence[Annotation]
    tokenizer: Tokenizer
    facts: Mapping[str, Any]  # training_data.json


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked.

    problems    of which there are several dialogues each, if gold steps are asked by themselves
    dialogues   each problem with what is given of its dialogue, in order
    trained_on  {question: the annotation that has it}; {} where the split is what is trained on
    origins     what the students were before the run
    reader      reads and writes what is given: a sampler without students
    """

    problems: list[Problem]
    dialogues: given.Problems
    trained_on: dict[str, str]
    origins: Origins
    reader: Sampler


def ask(run: Run, made: Made) -> Asked:
    """What config.evaluation and config.sampling say. Reads the task's data; UserError."""
    problems = evaluation_problems(run, made.dev)
    # No student is asked here: neither the kernel nor the calculator matters.
    settings = dataclasses.replace(run.sampling, attention="xla", calculator=False)
    gold = gold_annotations(run, problems) if given.needs_gold(settings) else {}
    models = sizes(run, made.tokenizer, made.facts)
    rules = make_rules(run.scheme, run.views, models, made.tokenizer, settings)
    reader = Sampler(rules, run.scheme, made.tokenizer, {}, settings, run.config.seed)
    trained_on, before = {}, Origins()
    add_origins(
        before, run.config.to_dict(), {name: made.facts.get(name, {}) for name in run.students}
    )
    for name in run.config.evaluation.ensemble:
        other = Workdir(name)
        add_origins(before, other.stored_config(), read_facts(other.training_data))
    if not asks_training_problems(run):
        questions = [problem.question for problem in problems]
        train = [*made.train, *preference_pairs.learned_from(run.workdir)]
        for name in run.config.evaluation.ensemble:  # what the others have been trained on
            others, _ = read_stored(Workdir(name))
            train += [*others, *preference_pairs.learned_from(Workdir(name))]
        train += before.learned()
        trained_on = leaks.trained_on(questions, train, templated=run.config.data.templated)
    return Asked(problems, given.with_scripts(problems, gold, reader), trained_on, before, reader)


def asks_training_problems(run: Run) -> bool:
    """Whether the evaluated split is the one that is trained on."""
    own = run.evaluated.same_problems_as(run.task)
    return own and run.config.evaluation.split == run.config.data.train_split


def split_name(run: Run) -> str:
    """What the problems are called: "test", or "training"."""
    return TRAINING if asks_training_problems(run) else run.config.evaluation.split


def evaluation_problems(run: Run, held_out: Sequence[Annotation]) -> list[Problem]:
    """The problems of config.evaluation, in order. If dev was held out of the training problems,
    the split "dev" is `held_out`."""
    settings, task = run.config.evaluation, run.evaluated
    if settings.split == "dev" and _is_held_out(run, held_out):
        problems = [Problem(a.id, a.question, a.answer, "dev", gold=a) for a in held_out]
    else:
        problems = task.load(settings.split)
    if not problems:
        raise UserError(f"{task.name} {settings.split}: no problems to evaluate on")
    records.refuse_duplicates(problems, f"{task.name} {settings.split}")
    return problems[: settings.problems] if settings.problems else problems


def gold_annotations(run: Run, problems: Sequence[Problem]) -> dict[str, Annotation]:
    """{id: gold annotation} of the problems of config.evaluation."""
    return {a.id: a for a in run.evaluated.gold(run.config.evaluation.split, problems)}


def _is_held_out(run: Run, held_out: Sequence[Annotation]) -> bool:
    """Whether the dev problems were held out of the run's training problems."""
    settings = run.config.evaluation
    own = not settings.task and not settings.task_options and not run.config.data.dev_split
    return bool(held_out) and own
