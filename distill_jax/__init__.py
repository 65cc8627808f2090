"""Distil step-by-step reasoning from a large teacher into small students.

import distill_jax

students = distill_jax.load("runs/demo")
[solution] = students.solve(
    ["Ann has 4 cups. Later Ann wins 8 cups. Ann loses 5 of them. How many cups does Ann have now?"]
)
print(solution.answer, solution.turns)

results = distill_jax.read_run("runs/demo")
print(results.accuracy, results.errors())
"""

from typing import TYPE_CHECKING

# jax takes seconds to import, so nothing is imported before it is needed.
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from distill_jax.evaluation.displays import Exhibit
    from distill_jax.evaluation.results import Results
    from distill_jax.run.students import Students

__all__ = ["compare", "evaluate_run", "load", "read_run"]


def load(workdir: "str | os.PathLike[str]", **overrides: object) -> "Students":
    """The finished students of a run, ready to answer; see `distill_jax.run.students.Students`.

    `overrides` are config keys with `__` for the dot: `evaluation__checkpoint="best"`,
    `sampling__dtype="bfloat16"`. Raises `distill_jax.errors.UserError` if something is missing.
    """
    from distill_jax.run import students

    return students.load(workdir, **overrides)


def read_run(workdir: "str | os.PathLike[str]") -> "Results":
    """The headline evaluation of a run, see `distill_jax.evaluation.results`.

    Raises `distill_jax.errors.UserError` if the run is not evaluated yet.
    """
    from distill_jax.evaluation import results

    return results.read_run(workdir)


def evaluate_run(workdir: "str | os.PathLike[str]", **overrides: object) -> "Results":
    """`python -m distill_jax.evaluate`: the students answer the run's problems with other settings.

    `overrides` are config keys with `__` for the dot: `sampling__given="subquestions"`,
    `evaluation__problems=50`. The evaluation is kept in the run's directory, and is
    only read the next time. Raises `distill_jax.errors.UserError` like the command.
    """
    import os

    from distill_jax.evaluation import results
    from distill_jax.run import experiment

    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return results.read_evaluation(experiment.evaluate(os.fspath(workdir), changed))


def compare(results: "Mapping[str, Results]") -> "Exhibit":
    """{name: results} on the problems that all of them answered: accuracies, and paired tests
    against the first.

    Raises `distill_jax.errors.UserError` if no problem was answered by all.
    """
    from distill_jax.evaluation import results as found

    return found.compare(results)
