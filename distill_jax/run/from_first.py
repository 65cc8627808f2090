"""Sends what process 0 finds in the working directory to every process.

Every function here communicates with the other processes, so all of them must call it, in the same
order.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from distill_jax import distributed, records
from distill_jax.errors import UserError
from distill_jax.run import student_source, workdir_check
from distill_jax.run.run import Run
from distill_jax.text import tokenizer as text_tokenizer
from distill_jax.text.formats import TextFormat
from distill_jax.tracking import progress
from distill_jax.training import manifest
from distill_jax.workdir import read_facts, write_text

TOKENIZER_ROWS = 100_000  # a tokenizer is trained on so many annotations at most


def checked(run: Run, *, may_take_over: bool = False) -> Run:
    """`run`, if its directory is its own or new; see workdir_check.py, for `may_take_over` too.

    Raises UserError in every process if the directory is another run's.
    """
    takes_over = distributed.from_first(
        lambda: workdir_check.check_workdir(
            run.workdir, run.identity(), may_take_over=may_take_over
        )
    )
    return dataclasses.replace(run, takes_over=takes_over)


class KnownStudents(NamedTuple):
    """The state on the disk of the students whose training has begun."""

    facts: dict[str, Any]  # training_data.json
    steps: dict[str, list[int]]  # of complete checkpoints, ascending, of every student

    @property
    def finished(self) -> dict[str, int]:
        """{student: last step} of those that are trained to the end, or stopped by patience."""
        last = {name: self.facts.get(name, {}).get("finished_at") for name in self.steps}
        return {name: step for name, step in last.items() if step in self.steps[name]}


def known_students(run: Run) -> KnownStudents:
    """The state that process 0 finds."""

    def read() -> list[Any]:
        path = run.workdir.training_data
        facts = read_facts(path) if path.exists() and not run.takes_over else {}
        steps = {
            s: list(manifest.complete_steps(run.checkpoint_directory(s))) for s in run.students
        }
        return [facts, steps]

    return KnownStudents(*distributed.from_first(read))


def tokenizer(run: Run, annotations: Sequence[records.Annotation] = ()) -> text_tokenizer.Tokenizer:
    """The run's tokenizer: the directory's, or else trained on `annotations` or loaded as the
    config says."""
    if distributed.processes() == 1:
        return _own_tokenizer(run, annotations)
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)

        def files() -> dict[str, str]:
            _own_tokenizer(run, annotations).save(directory)
            return {path.name: path.read_text("utf-8") for path in directory.iterdir()}

        for name, text in distributed.from_first(files).items():
            write_text(directory / name, text)
        return text_tokenizer.load_tokenizer(str(directory))


def _own_tokenizer(run: Run, annotations: Sequence[records.Annotation]) -> text_tokenizer.Tokenizer:
    if run.workdir.tokenizer.exists() and not run.takes_over:
        return text_tokenizer.load_tokenizer(str(run.workdir.tokenizer))
    given = student_source.first_tokenizer(run.config, run.students)
    if given is not None:
        return given
    if not annotations:
        raise UserError(
            f"{run.workdir.tokenizer} is missing: put back a copy, or start a new --workdir"
        )
    texts = _texts(evenly_spaced(annotations), run.scheme.text_format)
    marks = student_source.end_marks(run.config)
    return text_tokenizer.train_tokenizer(texts, run.config.tokenizer.vocab_size, marks)


def evenly_spaced(annotations: Sequence[records.Annotation]) -> Sequence[records.Annotation]:
    """All of them, or TOKENIZER_ROWS of them from all over: more do not change the tokens."""
    count = len(annotations)
    if count <= TOKENIZER_ROWS:
        return annotations
    return [annotations[i * count // TOKENIZER_ROWS] for i in range(TOKENIZER_ROWS)]


def _texts(annotations: Sequence[records.Annotation], text_format: TextFormat) -> Iterator[str]:
    """The texts that a tokenizer is trained on: questions, and everything written about them."""
    for annotation in progress.each(annotations, "training a tokenizer", len(annotations)):
        yield text_format.question(annotation.question)
        for step in annotation.steps:
            yield from (step.subquestion or "", step.solution)
        yield f"{text_format.before_answer}{annotation.answer}{text_format.after_answer}"
