"""Distil step-by-step reasoning from a large teacher into small GPT-2 students.

import distill_jax

students = distill_jax.load("runs/demo")
[solution] = students.solve(["Ann has 3 bags with 4 apples each. How many apples?"])
print(solution.answer, solution.turns)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from distill_jax.students import Students

__all__ = ["load"]


def load(workdir: "str | os.PathLike[str]", **overrides: object) -> "Students":
    """The finished students of a run, ready to answer; see `distill_jax.students.Students`.

    `overrides` are config keys with `__` for the dot: `evaluation__checkpoint="best"`,
    `sampling__dtype="bfloat16"`. Raises `distill_jax.errors.UserError` where something is missing.
    """
    # jax takes seconds to import: not before it is needed.
    from distill_jax import students

    return students.load(workdir, **overrides)
