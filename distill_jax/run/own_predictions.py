"""Reads what students answered to training problems: predictions.jsonl of evaluations."""

import dataclasses
import pathlib
from collections.abc import Sequence

from distill_jax.annotations.generation import Malformed, Row
from distill_jax.annotations.import_formats import PREDICTIONS
from distill_jax.annotations.import_rows import read_rows
from distill_jax.annotations.leaks import normalised
from distill_jax.annotations.matching import Questions
from distill_jax.annotations.predictions import read_prediction
from distill_jax.errors import UserError
from distill_jax.records import Prediction, Problem
from distill_jax.text.transcript import Scheme
from distill_jax.workdir import local_path


class Reader:
    """Reads files of predictions. `unknown` counts those of none of the problems."""

    def __init__(
        self,
        key: str,
        problems: Sequence[Problem],
        evaluated: Sequence[Problem],
        scheme: Scheme | None = None,
    ):
        """`key` names the files, `evaluated` may not be among the problems; the dialogues are of
        `scheme`, or if it is None of any."""
        self.unknown = 0
        self._key, self._scheme, self._questions = key, scheme, Questions(problems)
        self._evaluated = {normalised(each.question): each.id for each in evaluated}

    def read(self, name: str) -> list[Prediction]:
        """Those of the problems, under their ids and questions.

        Raises UserError for a file without predictions, for dialogues of another scheme, and for
        questions of the evaluation, which nobody should ask for training.
        """
        path = local_path(name, self._key)
        try:
            rows, form = read_rows(path)
        except UserError as error:
            raise UserError(f"{self._key}: {error}") from None
        if form is not PREDICTIONS:
            raise UserError(f"{self._key}: {path} is {form.name}: predictions.jsonl is expected")
        found = (self._prediction(path, place, row) for place, row in rows)
        return [each for each in found if each is not None]

    def _prediction(self, path: pathlib.Path, place: str, row: Row) -> Prediction | None:
        try:
            prediction = read_prediction(row)
        except Malformed as error:
            raise UserError(f"{self._key}: {place}: {error}") from None
        except KeyError as error:
            raise UserError(f"{self._key}: {place}: field {error} is missing") from None
        self._check_roles(prediction, place)
        name = prediction.id if isinstance(prediction.id, str) else ""
        problem = self._questions.find(name, prediction.question)
        if problem is not None and problem.answer == prediction.answer:
            return dataclasses.replace(prediction, id=problem.id, question=problem.question)
        self.unknown += 1
        same = self._evaluated.get(normalised(prediction.question))
        if problem is None and same is not None:
            raise UserError(
                f"{self._key}: {path} holds answers to questions of the evaluation (the first is "
                f"{same}): ask the training problems instead, --config.evaluation.split=train"
            )
        return None

    def _check_roles(self, prediction: Prediction, place: str) -> None:
        if self._scheme is None:
            return
        samples = prediction.samples or (prediction,)
        written = {str(turn.role) for each in samples for turn in each.turns}
        if other := written - set(self._scheme.roles):
            raise UserError(
                f"{self._key}: {place}: a turn of {', '.join(sorted(other))}: the dialogues must "
                f"be of --config.scheme={self._scheme.name}, whose roles are "
                f"{', '.join(self._scheme.roles)}"
            )
