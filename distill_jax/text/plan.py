"""Plans: a planner's text at the beginning, computed from the steps of a solution.

As in 2211.12835 (https://github.com/eth-nlped/socratic-generation): the equations that will be
needed, or only their operators. And as in 2502.07266: how many operators each step does. For the
solutions `48/2 = <<48/2=24>>24` and `48 + 24 = 72`:

    equations  "48/2 | 48 + 24"
    operators  "/ +"
    step_size  "<1>"
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


def step_size(steps: Sequence[Step]) -> str:
    """How many operators the first step has, `<2>`; "" if it has none.

    This is how many every step has, but for the last one, which may have fewer.

    >>> step_size([Step(None, "+ + 3 5 4=2"), Step(None, "+ 6 2=8")])
    '<2>'
    """
    first = steps[0].solution if steps else ""
    count = _signs_in_front(first.partition("=")[0]) or len(operators(steps[:1]).split())
    return f"<{count}>" if count else ""


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


def _signs_in_front(expression: str) -> int:
    """The operators of an expression in prefix notation, `+ + 3 5 4`; 0 if it is in none."""
    words = expression.split()
    signs = [word for word in words if word in ("+", "-", "*", "/")]
    numbers = [word for word in words if word.isdecimal()]
    is_prefix = words[:1] == signs[:1] and len(numbers) == len(signs) + 1
    return len(signs) if is_prefix and len(signs) + len(numbers) == len(words) else 0


def _computed(found: Sequence[Equation]) -> list[str]:
    return [each.expression.strip() for each in found if _OPERATOR.search(each.expression)]
