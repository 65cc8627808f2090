"""Plans: a planner's text before the first subquestion, computed from the steps of a solution.

As in 2211.12835 (https://github.com/eth-nlped/socratic-generation): the equations that will be
needed, or only their operators. For the solutions `48/2 = <<48/2=24>>24` and `48 + 24 = 72`:

    equations  "48/2 | 48 + 24"
    operators  "/ +"
"""

import re
from collections.abc import Sequence

from distill_jax.records import Step
from distill_jax.text.written_equations import Equation, marks, plain_equations

# A sign between two operands, not one that belongs to a number: of `-3 * -2` the `*`.
_OPERATOR = re.compile(r"(?<=[^-+*/( ]) *([-+*/])")


def equations(steps: Sequence[Step]) -> str:
    """The expressions, without their results; "" if no step has an equation."""
    return " | ".join(expression for step in steps for expression in expressions(step.solution))


def operators(steps: Sequence[Step]) -> str:
    """Only the signs of operations; "" if no step has an equation."""
    return " ".join(
        operator
        for step in steps
        for expression in expressions(step.solution)
        for operator in _OPERATOR.findall(expression)
    )


def expressions(solution: str) -> list[str]:
    """The expressions that a solution computes, from its calculator marks, or without marks from
    its text.

    A mark without an operation, `<<5=5>>`, computes nothing.

    >>> expressions("He has 3 * 4 = <<3*4=12>>12 and <<5=5>>5")
    ['3*4']
    >>> expressions("50 * 20 / 100 = 10, 50 - 10 = 40")
    ['50 * 20 / 100', '50 - 10']
    """
    return _computed(marks(solution)) or _computed(plain_equations(solution))


def _computed(found: Sequence[Equation]) -> list[str]:
    return [each.expression.strip() for each in found if _OPERATOR.search(each.expression)]
