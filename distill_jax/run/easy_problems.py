"""The problems that a teacher student finds easy: config.easy."""

from collections.abc import Sequence

from distill_jax.annotations import easy
from distill_jax.annotations.verify import Rejected
from distill_jax.errors import UserError
from distill_jax.records import Annotation
from distill_jax.run.annotation_sources import leak_problems
from distill_jax.run.own_predictions import Reader
from distill_jax.run.run import Run
from distill_jax.text.formats import MARKER

_KEY = "config.easy.files"


def treat(run: Run, train: list[Annotation]) -> tuple[list[Annotation], Sequence[Rejected], str]:
    """(kept, rejected, what was done in words) of the annotations to train on, as `easy.treat`.

    Raises UserError if a file is none of predictions for training problems, or nothing is easy.
    """
    settings = run.config.easy
    if not settings.files:
        return train, (), ""
    if settings.hard == "abstain":
        _check_unread(run, train)
    problems = run.task.load(run.config.data.train_split)
    reader = Reader(_KEY, problems, leak_problems(run))
    predictions = [each for name in settings.files for each in reader.read(name)]
    found = easy.easy_problems(predictions, settings.margin)
    of_train = {each.id for each in train}
    if not found & of_train:
        raise UserError(
            f"{_KEY}: none of {len(of_train)} problems is easy ({len(predictions)} were answered): "
            "lower config.easy.margin"
        )
    kept, rejected = easy.treat(train, found, settings.hard)
    hard = len(of_train - found)
    return kept, rejected, f"; {hard} of {len(of_train)} problems are hard ({settings.hard})"


def _check_unread(run: Run, train: Sequence[Annotation]) -> None:
    """Raise UserError if the task would take the answer of an abstention for one."""
    text = f"{MARKER} {easy.ABSTENTION}"
    read = run.task.grade(text, train[0].answer).prediction if train else None
    if read is not None:
        raise UserError(
            f"config.easy.hard='abstain': {run.config.task} reads the answer {easy.ABSTENTION!r} "
            f"as {read!r}: use --config.easy.hard=drop"
        )
