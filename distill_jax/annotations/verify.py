"""Which annotations may be trained on: those whose answer is the known one."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.text import calculator
from distill_jax.text.exact_values import extract_numbers, parse_value
from distill_jax.text.written_equations import marks

LONGEST_TEXT = 2000  # characters kept of a text that could not be read

_DECIMALS = re.compile(r"\.([0-9]+)")


@dataclasses.dataclass(frozen=True)
class Rejected:
    """What is not trained on, and why. One line of annotations.rejected.jsonl."""

    id: str  # of the problem; "" where none is known
    reason: str  # a class of reasons, which are counted: "wrong answer", "no steps", ...
    detail: str  # the particulars, one line
    question: str
    annotation: Annotation | None = None
    text: str = ""  # what could not be read, its first LONGEST_TEXT characters
    source: dict[str, Any] = dataclasses.field(default_factory=dict)


def reject(annotation: Annotation, reason: str, detail: str) -> Rejected:
    """An annotation that is not to be trained on."""
    return Rejected(
        annotation.id, reason, detail, annotation.question, annotation, "", annotation.source
    )


def verify(
    annotations: Iterable[Annotation],
    problems: Sequence[Problem],
    grade: Callable[[str, str], Grade],
) -> tuple[list[Annotation], list[Rejected]]:
    """Split annotations into those to keep and those rejected.

    Kept iff its id is that of a problem, its answer grades as right against the problem's, no
    solution or subquestion is empty, and no calculator mark is false. The known answer takes the
    place of the equal one: `$1,080` and `1080.0` are both learned as `1080`.
    """
    known = {problem.id: problem for problem in problems}
    kept, rejected = [], []
    for annotation in annotations:
        problem = known.get(annotation.id)
        found = _objection(annotation, problem, grade)
        if found is None:
            kept.append(dataclasses.replace(annotation, answer=known[annotation.id].answer))
        else:
            rejected.append(reject(annotation, *found))
    return kept, rejected


def _objection(
    annotation: Annotation, problem: Problem | None, grade: Callable[[str, str], Grade]
) -> tuple[str, str] | None:
    """(reason, detail) of the first thing that is wrong, or None."""
    if problem is None:
        return "unknown problem", f"no problem has the id {annotation.id!r}"
    if not grade(f"#### {annotation.answer}", problem.answer).scores["normalised"]:
        return "wrong answer", f"answer {annotation.answer!r} is not {problem.answer!r}"
    if any(not step.solution.strip() for step in annotation.steps):
        return "empty step", "empty solution"
    if any(s.subquestion is not None and not s.subquestion.strip() for s in annotation.steps):
        return "empty step", "empty subquestion"
    false = [mark for step in annotation.steps for mark in false_marks(step.solution)]
    if false:
        return "false calculation", f"{', '.join(false[:3])} is not true"
    return None


def names_no_answer(annotation: Annotation) -> bool:
    """Whether the last solution does not hold the answer, with which it should end.

    Worth a look, and no reason to reject: of GSM8K's 7,473 training solutions 18 end so, some
    with a mistake, some in dollars where the answer is in cents. False where the answer is no
    number, and without steps.
    """
    value = parse_value(annotation.answer)
    if value is None or not annotation.steps:
        return False
    return value not in extract_numbers(annotation.steps[-1].solution)


def false_marks(text: str) -> list[str]:
    """The calculator marks of a text that exact arithmetic refutes, as they are written.

    A value may be rounded to the decimals it is written with; one without decimals must be exact.
    What cannot be evaluated (`<<2x=4>>`) is not called false.

    >>> false_marks("<<48/2=25>>25 and <<10/3=3.33>>3.33 and <<2*3=6>>6")
    ['<<48/2=25>>']
    """
    return [mark.written for mark in marks(text) if _is_false(mark.expression, mark.value)]


def _is_false(expression: str, written: str) -> bool:
    exact = calculator.evaluate(expression.strip())
    value = parse_value(written)
    if exact is None or value is None:
        return False
    decimals = _DECIMALS.search(written)
    places = len(decimals[1]) if decimals else 0
    # Without decimals it must be exact: 7/2=4 is a mistake, however it is rounded.
    tolerance = Fraction(1, 2 * 10**places) if places else 0
    return abs(exact - value) > tolerance
