"""Which annotations may be trained on: those whose answer is the known one."""

import dataclasses
from collections.abc import Callable, Sequence

from distill_jax.records import Annotation, Grade, Problem


@dataclasses.dataclass(frozen=True)
class Rejected:
    """An annotation that is not trained on, and why."""

    id: str
    reason: str
    annotation: Annotation


def verify(
    annotations: Sequence[Annotation],
    problems: Sequence[Problem],
    grade: Callable[[str, str], Grade],
) -> tuple[list[Annotation], list[Rejected]]:
    """Split annotations into those to keep and those rejected.

    Kept iff its id is that of a problem, its answer grades as right against the problem's, and no
    solution is empty.
    """
    known = {problem.id: problem for problem in problems}
    kept, rejected = [], []
    for annotation in annotations:
        problem = known.get(annotation.id)
        if problem is None:
            reason = "unknown problem"
        elif not grade(f"#### {annotation.answer}", problem.answer).scores["normalised"]:
            reason = f"answer {annotation.answer!r} is not {problem.answer!r}"
        elif any(not step.solution.strip() for step in annotation.steps):
            reason = "empty solution"
        else:
            kept.append(annotation)
            continue
        rejected.append(Rejected(annotation.id, reason, annotation))
    return kept, rejected
