"""The reward of config.rollouts: a module of this project or of the user, and its options."""

import functools
import inspect
import math
import numbers
import traceback
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Prediction, Problem, Turn
from distill_jax.settings import task_module

SHIPPED = "distill_jax.rewards."
_KEY, _OPTIONS = "config.rollouts.reward", "config.rollouts.reward_options"

Reward = Callable[[Sequence[Prediction]], list[float]]  # the samples of one problem


def reward_function(name: str, texts: Sequence[str]) -> Reward:
    """`reward(samples, **options)` of the module `name`, with the options "key=value".

    A module of this package also has its short name. Raises UserError if there is no such module or
    function, and for options that it does not take.
    """
    module = task_module.find_module(name, SHIPPED, _KEY)
    if module is None:
        raise UserError(
            f"{_KEY}={name!r}: no such module; give correct, or a module of yours in this "
            "directory or on PYTHONPATH"
        )
    if not callable(getattr(module, "reward", None)):
        raise UserError(f"{_KEY}={name!r} has no function reward()")
    known = list(inspect.signature(module.reward).parameters)[1:]
    for text in texts:
        key, equals, _ = text.partition("=")
        if not equals or key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no options"
            raise UserError(f"{_OPTIONS} has {text!r}: write KEY=VALUE; {name} {takes}")
    options = task_module.typed_options(module.reward, texts, _OPTIONS)
    return functools.partial(module.reward, **options)


def rewards_of(reward: Reward, samples: Sequence[Prediction]) -> list[float]:
    """The rewards of the samples of one problem. Raises UserError if they are not a finite number
    for each, and if the function fails."""
    try:
        given = reward(samples)
    except UserError:
        raise
    except Exception as error:  # of the user's own module
        *_, place = traceback.extract_tb(error.__traceback__)
        raise UserError(
            f"{_KEY}: reward() fails for the samples of {samples[0].id}: {type(error).__name__}: "
            f"{error} ({place.filename}, line {place.lineno})"
        ) from error
    found = list(given) if isinstance(given, Iterable) else []
    # NumPy's numbers are numbers.
    if len(found) != len(samples) or not all(
        isinstance(each, numbers.Real | np.bool_) and math.isfinite(each) for each in found
    ):
        raise UserError(
            f"{_KEY}: reward() gave {given!r} for the {len(samples)} samples of "
            f"{samples[0].id}: a list with a finite number for each is expected"
        )
    return [float(each) for each in found]


def try_out(reward: Reward, problem: Problem, role: str) -> None:
    """Raise UserError, as `rewards_of` does, for two samples without an answer: `role` ended its
    first turn at once. So a wrong option is told before anything is sampled."""
    turns = (Turn(role, "", 1, 0.0),)
    sample = Prediction(
        problem.id, problem.question, problem.answer, "", turns, None, False, {}, "unparsed"
    )
    rewards_of(reward, [sample, sample])
