"""Transcripts: what is said by whom, in which order, for each scheme.

A transcript is a list of turns (writer, text) after the question. For a problem with two steps:

    answer_only  solver "\\n#### 72"
    chain        solver "48/2 = 24\\n48+24 = 72\\n#### 72"
    socratic     decomposer "How many in May?"   solver "48/2 = 24"
                 decomposer "How many in all?"   solver "48+24 = 72\\n#### 72"
"""

import dataclasses

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step

ANSWER_MARK = "\n#### "

Turns = list[tuple[str, str]]  # (writer, text)


@dataclasses.dataclass(frozen=True)
class Scheme:
    """Who writes, in turn order; `ender` is the one role that may end the dialogue."""

    name: str
    roles: tuple[str, ...]
    ender: str


SCHEMES = {
    "answer_only": Scheme("answer_only", ("solver",), "solver"),
    "chain": Scheme("chain", ("solver",), "solver"),
    "socratic": Scheme("socratic", ("decomposer", "solver"), "decomposer"),
}


def render(annotation: Annotation, scheme: Scheme) -> Turns:
    """The turns that teach `annotation` under `scheme`; `parse` is the inverse.

    Raises UserError where the annotation cannot be written so: no steps, an answer of more than
    one line, or (socratic) a step without a subquestion.
    """
    if "\n" in annotation.answer:
        raise UserError(f"{annotation.id}: the answer has more than one line")
    ending = f"{ANSWER_MARK}{annotation.answer}"
    if scheme.name == "answer_only":
        return [("solver", ending)]
    if not annotation.steps:
        raise UserError(f"{annotation.id}: no steps: scheme {scheme.name!r} needs some")
    if scheme.name == "chain":
        return [("solver", "\n".join(step.solution for step in annotation.steps) + ending)]
    turns: Turns = []
    for step in annotation.steps:
        if step.subquestion is None:
            raise UserError(
                f"{annotation.id}: a step has no subquestion: use --config.scheme=chain, or "
                "annotations with subquestions"
            )
        turns += [("decomposer", step.subquestion), ("solver", step.solution)]
    turns[-1] = ("solver", turns[-1][1] + ending)
    return turns


def parse(turns: Turns, scheme: Scheme) -> tuple[tuple[Step, ...], str | None]:
    """Steps and answer of a transcript; the answer is None where no turn has an answer mark.

    The inverse of `render`, up to the borders between the steps of a chain, which a chain does not
    mark (its solutions come back as one). A subquestion that got no solution is left out.
    """
    texts = [text for writer, text in turns if writer == "solver"]
    answer = None
    if texts and ANSWER_MARK in texts[-1]:
        texts[-1], answer = texts[-1].rsplit(ANSWER_MARK, 1)
    if scheme.name == "answer_only":
        return (), answer
    if scheme.name == "chain":
        return tuple(Step(None, text) for text in texts), answer
    questions = [text for writer, text in turns if writer == "decomposer"]
    return tuple(map(Step, questions, texts)), answer


def completion_text(turns: Turns) -> str:
    """What a grader reads: all turns, one after the other, on lines of their own."""
    return "\n".join(text for _, text in turns)
