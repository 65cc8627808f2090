"""Which annotations are trained on: those whose answer is the known one."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.settings import ranges
from distill_jax.text import yes_no
from distill_jax.text.exact_values import extract_numbers, parse_value
from distill_jax.text.false_equations import false_equations, false_marks
from distill_jax.text.text_answers import text_key
from distill_jax.tracking import progress

LONGEST_TEXT = 2000  # characters kept of a text that could not be read


@dataclasses.dataclass(frozen=True)
class Rejected:
    """An annotation that is not trained on, and why. One line of annotations.rejected.jsonl."""

    id: str  # of the problem; "" if none is known
    reason: str  # a class of reasons, which are counted: "wrong answer", "no steps", ...
    detail: str  # the particulars, one line
    question: str
    annotation: Annotation | None = None
    text: str = ""  # the text that could not be read, its first LONGEST_TEXT characters
    source: dict[str, Any] = dataclasses.field(default_factory=dict)


def reject(annotation: Annotation, reason: str, detail: str) -> Rejected:
    """An annotation that is not to be trained on."""
    return Rejected(
        annotation.id, reason, detail, annotation.question, annotation, "", annotation.source
    )


def verify(
    annotations: Sequence[Annotation],
    problems: Sequence[Problem],
    grade: Callable[[str, str], Grade],
    *,
    equations: str = "count",
) -> tuple[list[Annotation], list[Rejected]]:
    """Split annotations into those to keep and those rejected.

    An annotation is kept iff its id is that of a problem, its answer grades as right against the
    problem's, no solution or subquestion is empty, and no calculator mark is false. `equations` is
    config.data.false_equations: with "reject" no equation of the text may be false either. The
    known answer takes the place of the equal one: `$1,080` and `1080.0` are both learned as `1080`.
    An answer that equals the known one letter for letter is right, whatever `grade` would say.
    """
    find_false = false_equations if equations == "reject" else false_marks
    known = {problem.id: problem for problem in problems}
    kept, rejected = [], []
    for annotation in progress.each(annotations, "checking annotations", len(annotations)):
        problem = known.get(annotation.id)
        found = _objection(annotation, problem, grade, find_false)
        if found is not None:
            rejected.append(reject(annotation, *found))
        elif problem is not None and annotation.answer != problem.answer:
            kept.append(dataclasses.replace(annotation, answer=problem.answer))
        else:
            kept.append(annotation)
    return kept, rejected


def _objection(
    annotation: Annotation,
    problem: Problem | None,
    grade: Callable[[str, str], Grade],
    find_false: Callable[[str], list[str]],
) -> tuple[str, str] | None:
    """(reason, detail) of the first thing that is wrong, or None."""
    if problem is None:
        return "unknown problem", f"no problem has the id {annotation.id!r}"
    if annotation.answer != problem.answer and not _is_right(annotation, problem, grade):
        return "wrong answer", f"answer {annotation.answer!r} is not {problem.answer!r}"
    steps = annotation.steps
    if any(not step.solution.strip() for step in steps):
        return "empty step", "empty solution"
    # A chain that was cut into segments may begin with an inference: nothing is asked before it.
    asks = annotation.source["kind"] != "segments"
    if asks and any(s.subquestion is not None and not s.subquestion.strip() for s in steps):
        return "empty step", "empty subquestion"
    false = [equation for step in annotation.steps for equation in find_false(step.solution)]
    if false:
        return "false calculation", f"{', '.join(false[:3])} is not true"
    return None


def _is_right(annotation: Annotation, problem: Problem, grade: Callable[[str, str], Grade]) -> bool:
    return grade(f"#### {annotation.answer}", problem.answer).scores["normalised"]


def has_false_equation(annotation: Annotation) -> bool:
    """Whether exact arithmetic refutes an equation of a solution."""
    return any(false_equations(step.solution) for step in annotation.steps)


def names_no_answer(annotation: Annotation) -> bool:
    """Whether the last solution does not contain the answer, with which it should end.

    This may be a mistake, but is not a reason to reject: of GSM8K's 7,473 training solutions 18 end
    like this, some with a mistake, some in dollars although the answer is in cents. A text answer
    is looked for as text, and yes or no contradicts a solution that says the other. False if the
    answer is text and the solution ends in a number (`four` for `It is 4`), and without steps.
    """
    if not annotation.steps:
        return False
    solution = annotation.steps[-1].solution
    answer = annotation.answer
    if answer.isdecimal() and answer.isascii() and solution.endswith(f"= {answer}"):
        return False  # as most solutions end, which need not be searched
    value = parse_value(answer)
    if value is not None:
        return value not in extract_numbers(solution)
    if (meant := yes_no.meaning(answer)) in ("yes", "no"):
        return meant != next(reversed(yes_no.said(solution)), meant)
    key, text = text_key(answer), text_key(solution)
    if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text):
        return False
    return not text[-1:].isdigit()


def mistakes(data: Any) -> list[str]:
    """What is wrong with the keys of config.data that are read here, one line each."""
    values = {"false_equations": data.false_equations}
    return ranges.mistakes("data", values, choices={"false_equations": ("reject", "count")})
