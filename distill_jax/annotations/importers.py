"""Reads existing files with answers, in many layouts.

Files need not be converted: the format is recognised by the keys of the rows, and rows are matched
with problems by id or question. Samples that cannot be used are returned with the reason.
"""

import json
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from distill_jax.annotations.generation import Generation, Malformed, Row
from distill_jax.annotations.import_formats import Format
from distill_jax.annotations.import_rows import read_rows
from distill_jax.annotations.matching import Questions
from distill_jax.annotations.verify import LONGEST_TEXT, Rejected
from distill_jax.records import Annotation, Problem, Step
from distill_jax.teacher.finish_reasons import incomplete
from distill_jax.teacher.reply import Reply, has_pairs, parse_chain, parse_pairs, with_thought
from distill_jax.teacher.thoughts import spans, split_thought, without_marks


class ImportedFile(NamedTuple):
    """The contents of a file.

    format       the recognised format, in words
    rows         samples: one per generation
    annotations  not verified yet; their answers are the file's own, so that they can be compared
    rejected     samples without an annotation
    """

    format: str
    rows: int
    annotations: list[Annotation]
    rejected: list[Rejected]


def import_file(
    path: str | pathlib.Path, problems: Sequence[Problem], reasoning: str = "drop"
) -> ImportedFile:
    """The annotations of `problems` in a file.

    The file is JSON Lines or JSON: a list of rows, or an object with such a list as "data"; in one
    of the formats of import_formats.py. Texts are read as pairs (`parse_pairs`) if most of the
    file's are marked so or begin with a question, else as chains (`parse_chain`).

    `reasoning`: what to do with thoughts, whether marked in the text (teacher/thoughts.py) or in a
    separate field: "drop", or "steps", which makes them the steps of the samples that have some.

    A sample whose finish_reason is not one of a complete answer is rejected. A row without
    this field is taken as complete; a null one is not if other rows have a value.

    The source of an annotation is {"kind": "imported", "file", "format", "model" and
    "finish_reason" if the file says, "sample": a count from 0 among those of its problem}, or the
    row's own (see predictions.py for a student's). Reasons of rejection: "unreadable row", "unknown
    problem", "truncated", "content filter", "no text", "refused", "not finished", "unfinished
    thought", "reasoning in steps", "no answer", "no steps", and those of predictions.py.

    Raises UserError if the file is missing, is not JSON, or has another format.
    """
    path = pathlib.Path(path)
    rows, form = read_rows(path)
    generations = [(where, row, each) for where, row in rows for each in _generations(form, row)]
    samples = [each for _, _, each in generations if isinstance(each, Generation)]
    texts = [each.text for each in samples if each.steps is None and each.text]
    paired = 2 * sum(map(has_pairs, texts)) > len(texts)
    parse = parse_pairs if paired else parse_chain
    name = form.name
    if texts:
        name += ", subquestions and solutions" if paired else ", chains"
    if reasoning == "steps":
        name += ", thoughts as steps"
    says = any(each.finish_reason for each in samples)
    how = _How(parse, thoughts_are_steps=reasoning == "steps", says_how_it_ended=says)
    reader = _Reader(path.name, name, Questions(problems), how)
    annotations, rejected = [], []
    for where, row, generation in generations:
        result = reader.read(where, row, generation)
        (annotations if isinstance(result, Annotation) else rejected).append(result)
    return ImportedFile(name, len(generations), annotations, rejected)


def _generations(form: Format, row: Row) -> Iterator[Generation | Malformed]:
    try:
        yield from form.generations(row)
    except (Malformed, KeyError) as error:
        message = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        yield Malformed(message)


class _How(NamedTuple):
    """How the samples of a file are read. `says_how_it_ended`: some row has a finish_reason."""

    parse: Callable[[str], Reply]
    thoughts_are_steps: bool
    says_how_it_ended: bool


class _Reader:
    """Turns the samples of one file into annotations or rejections."""

    def __init__(self, file: str, form: str, questions: Questions, how: _How) -> None:
        self._file, self._form = file, form
        self._questions, self._how = questions, how
        self._samples: Counter[str] = Counter()

    def read(self, where: str, row: Row, sample: Generation | Malformed) -> Annotation | Rejected:
        source: dict[str, Any] = {"kind": "imported", "file": self._file, "format": self._form}
        if isinstance(sample, Malformed):
            text = json.dumps(row, ensure_ascii=False)[:LONGEST_TEXT]
            return Rejected("", "unreadable row", f"{where}: {sample}", "", None, text, source)
        models = [row[key] for key in ("model", "model_name") if isinstance(row.get(key), str)]
        if models:
            source["model"] = models[0]
        if sample.finish_reason:
            source["finish_reason"] = sample.finish_reason
        identifier = row.get("id")
        problem = self._questions.find(
            identifier if isinstance(identifier, str) else "", sample.prompt
        )
        if problem is None:
            text, detail = sample.text[:LONGEST_TEXT], f"{where}: no problem has this question"
            question = sample.prompt[-LONGEST_TEXT:]
            return Rejected("", "unknown problem", detail, question, None, text, source)
        source["sample"] = self._samples[problem.id]
        self._samples[problem.id] += 1
        source = sample.source or source
        result = self._annotation(problem, sample, source)
        if isinstance(result, Annotation):
            return result
        reason, detail = result
        text = sample.text[:LONGEST_TEXT]
        detail = f"{where}: {detail}"
        return Rejected(problem.id, reason, detail, problem.question, None, text, source)

    def _annotation(
        self, problem: Problem, sample: Generation, source: dict[str, Any]
    ) -> Annotation | tuple[str, str]:
        """The annotation, or (reason, detail) why there is none."""
        if sample.objection is not None:
            return sample.objection
        ended = sample.finish_reason
        believed = ended is None or (ended == "" and not self._how.says_how_it_ended)
        if not believed and (reason := incomplete(ended or "")) is not None:
            return reason, f"finish_reason {ended!r}"
        if sample.steps is None:
            spoken = split_thought(sample.text)
            if not spoken.closed:
                return "unfinished thought", f"no end of it in {len(sample.text)} characters"
            thought = without_marks(sample.thought) or spoken.thought
            steps, answer = self._steps_and_answer(sample, thought)
        else:
            steps, answer, thought = sample.steps, sample.answer, ""
            if any(len(spans(step.solution)[0]) > 1 for step in steps):
                return "reasoning in steps", "a step holds a mark such as <think>: import the texts"
        beside = f" besides {len(thought)} of thoughts" if thought else ""
        if not answer:
            return "no answer", f"no final answer in {len(sample.text)} characters{beside}"
        if not steps:
            return "no steps", f"nothing but the answer in {len(sample.text)} characters{beside}"
        return Annotation(problem.id, problem.question, answer, steps, source)

    def _steps_and_answer(
        self, sample: Generation, thought: str
    ) -> tuple[tuple[Step, ...], str | None]:
        reply = self._how.parse(sample.text)
        if self._how.thoughts_are_steps:
            reply = with_thought(reply, thought)
        return reply.steps, reply.answer if sample.answer is None else sample.answer
