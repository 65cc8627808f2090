"""Distil step-by-step reasoning from a large teacher into small students.

import distill_jax

distill_jax.train("configs/demo.py", "runs/demo")

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

    from ml_collections import ConfigDict

    from distill_jax.evaluation.displays import Exhibit
    from distill_jax.evaluation.results import Results
    from distill_jax.run.students import Students

__all__ = ["compare", "evaluate_run", "load", "read_run", "train"]


def train(
    config: "str | os.PathLike[str] | ConfigDict",
    workdir: "str | os.PathLike[str]",
    *,
    yes: bool = False,
    **overrides: object,
) -> "Results":
    """`python -m distill_jax.main`: train the students of a config, evaluate them, say the results.

    config     a file with get_config() (`configs/demo.py`), or what such a function returned; it
               is not changed
    workdir    where everything is written; what is there already is continued, as by the command
    yes        ask the teacher of the config, whatever it costs
    overrides  config keys with `__` for the dot: `train__steps=500`, `scheme="chain"`

    Raises `distill_jax.errors.UserError` as the command does. Interrupted, it saves, and raises
    KeyboardInterrupt.
    """
    import os

    from distill_jax import devices, errors
    from distill_jax.settings import command_line

    if isinstance(config, str | os.PathLike):
        config = command_line.load_config(os.fspath(config))
    else:
        config = config.copy_and_resolve_references().lock()
    devices.keep_freed_memory()
    from distill_jax.run import checks, experiment

    texts = {
        key.replace("__", "."): command_line.as_text(value) for key, value in overrides.items()
    }
    checks.set_and_check(config, texts)
    with errors.signals_handled():
        experiment.run(config, os.fspath(workdir), yes)
    return read_run(workdir)


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
