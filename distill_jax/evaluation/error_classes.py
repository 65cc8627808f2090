"""Why an answer is wrong, as far as the dialogue shows it.

The first class that fits, in this order:

unfinished           the dialogue was stopped: by a limit, the context, or a question too long
unparsable           it ended, but no answer can be read
wrong decomposition  the number of subquestions differs from that of the gold steps; of a chain,
                     which asks none, the number of lines before the answer
wrong arithmetic     as many steps as gold, but a calculator mark `<<48/2=25>>` or an equation
                     `48 / 2 = 25` of a solver is false by exact arithmetic
wrong operation      as many steps as gold, no equation is false, and the answer is wrong:
                     another operation than the question needs, or other numbers
unknown cause        the number of gold steps is not known (then false arithmetic still counts as
                     such), or no step was written, as in scheme answer_only

This cannot know whether another number of steps is a mistake (one step may contain two), whether
the questions ask for the right things, which of several mistakes made the answer wrong, and what is
written in sentences instead of equations. Percentages and unknowns are not checked. If an answer is
yes or no, "wrong operation" means that the reasoning is wrong somewhere.
"""

import collections
from collections.abc import Mapping, Sequence

from distill_jax.records import ENDED, Annotation, Prediction
from distill_jax.text.false_equations import false_equations
from distill_jax.text.transcript import lines, written_steps

UNFINISHED = "unfinished"
UNPARSABLE = "unparsable"
WRONG_DECOMPOSITION = "wrong decomposition"
WRONG_ARITHMETIC = "wrong arithmetic"
WRONG_OPERATION = "wrong operation"
UNKNOWN_CAUSE = "unknown cause"
CLASSES = (
    UNFINISHED,
    UNPARSABLE,
    WRONG_DECOMPOSITION,
    WRONG_ARITHMETIC,
    WRONG_OPERATION,
    UNKNOWN_CAUSE,
)

# config.sampling.given with which the number of questions is not the decomposer's.
_NOT_ASKED = ("nothing", "history")


def classify(prediction: Prediction, gold: Annotation | None, *, given: str = "") -> str | None:
    """The class of a wrong prediction, one of CLASSES; None if it is right.

    Without `gold`, the number of its steps is attributes["steps"], if that exists. `given` is
    config.sampling.given; if it is nothing or history, the numbers are not compared.
    """
    if prediction.correct:
        return None
    if prediction.status not in ENDED:
        return UNFINISHED
    if prediction.prediction is None:
        return UNPARSABLE
    written = written_steps(prediction.turns)
    wanted = None if given in _NOT_ASKED else _gold_steps(prediction, gold)
    if wanted is not None and 0 < written != wanted:
        return WRONG_DECOMPOSITION
    if any(false_equations(turn.text) for turn in prediction.turns if turn.role == "solver"):
        return WRONG_ARITHMETIC
    return UNKNOWN_CAUSE if wanted is None or not written else WRONG_OPERATION


def count(
    predictions: Sequence[Prediction], gold: Mapping[str, Annotation], *, given: str = ""
) -> dict[str, int]:
    """How many wrong predictions are of each class; `gold` by id, as far as it is known."""
    classes = collections.Counter(classify(p, gold.get(p.id), given=given) for p in predictions)
    return {name: classes[name] for name in CLASSES}


def _gold_steps(prediction: Prediction, gold: Annotation | None) -> int | None:
    if gold is None:
        steps = prediction.attributes.get("steps")
        return steps if isinstance(steps, int) else None
    if any(turn.role == "decomposer" for turn in prediction.turns):
        return len(gold.steps)
    return sum(lines(step.solution) for step in gold.steps)
