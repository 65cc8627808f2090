"""The problems of an evaluation, and their gold annotations."""

from collections.abc import Sequence

from distill_jax import records
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem
from distill_jax.run.run import Run


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
