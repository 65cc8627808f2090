"""Removes the words of a role from rows, one after another, while a student trains on them.

Stepwise internalisation (Deng et al. 2024, From Explicit CoT to Implicit CoT,
https://arxiv.org/abs/2405.14838): more and more words are removed from the left, until none are
left. End marks are kept, so a row without the decomposer's words is like a dialogue with
`sampling.given=nothing`. For the row `Q R / a1 a2 / A / b1 / B / .` whose decomposer wrote a1 a2
and b1:

    removed  0  Q R / a1 a2 / A / b1 / B / .
             1  Q R / a2 / A / b1 / B / .
             3  Q R / / A / / B / .

The number of removed words at each step and in each row depends only on seed and step.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax.settings import ranges
from distill_jax.training.loop import Moment

ALL = 1 << 30  # removed: more than any row has


@dataclasses.dataclass(frozen=True)
class Removal:
    """config.data.removal; see configs/base.py. `steps_per_epoch` is filled in by Batches."""

    per_epoch: float
    all_beyond: int
    smoothing: float
    start: int
    reset_optimizer: bool
    seed: int
    steps_per_epoch: float = 1.0

    @property
    def every(self) -> int:
        """One more is removed after so many steps; 0 = never.

        >>> Removal(8, 39, 4.0, 0, True, seed=0, steps_per_epoch=2450).every
        306
        """
        return max(1, round(self.steps_per_epoch / self.per_epoch)) if self.per_epoch else 0

    def removed(self, step: int) -> int:
        """Tokens removed from every row at update `step` + 1, without the row's offset; or ALL."""
        removed = self.start + (step // self.every if self.every else 0)
        return ALL if self.all_beyond and removed >= self.all_beyond else removed

    def of_rows(self, step: int, number: int, count: int) -> list[int]:
        """Tokens that the `count` rows lack that are in batch row `number` of update `step` + 1."""
        removed = self.removed(step)
        if removed >= ALL or not self.smoothing:
            return [removed] * count
        drawn = np.random.default_rng((self.seed, number)).random(count)
        return [removed + offset(u, self.smoothing) for u in drawn]

    def begins_anew(self, step: int, most: int) -> bool:
        """Whether the optimizer forgets its state before update `step` + 1, because one more token
        is removed, and some rows had tokens left. `most` tokens of a row can be removed."""
        if not self.reset_optimizer or step == 0:
            return False
        before = self.removed(step - 1)
        return before < most and self.removed(step) > before


def offset(u: float, smoothing: float) -> int:
    """How many more tokens a row loses, from u in [0, 1): o with probability (1 - e^-s) e^(-s o).

    >>> [offset(u, 4.0) for u in (0.0, 0.981, 0.982, 0.9996, 0.99967)]
    [0, 0, 1, 1, 2]
    """
    return math.floor(-math.log1p(-u) / smoothing)


def left_over(removable: np.ndarray, removed: int) -> np.ndarray:
    """bool [T]: which tokens are left without the first `removed` of the removable ones."""
    return ~(removable & (np.cumsum(removable) <= removed))


class BeginAnew:
    """A hook: AdamW forgets its moments and its count whenever a further token is removed.

    The schedule of the learning rate continues. It is called after a checkpoint was saved; a run
    that continues from the checkpoint also forgets.
    """

    def __init__(self, removal: Removal, most: int):
        self._removal, self._most = removal, most

    def __call__(self, moment: Moment) -> None:
        """See `Removal.begins_anew`."""
        if not moment.stop and self._removal.begins_anew(moment.step, self._most):
            old = moment.state.opt_state
            places = jax.tree.map(lambda leaf: leaf.sharding, old)
            new = jax.jit(forgotten, out_shardings=places)(old)
            moment.state = moment.state.replace(opt_state=new)


def forgotten(opt_state: Any) -> Any:
    """An optimizer's state without Adam's moments and count."""

    def forget(part: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, part) if _is_adam(part) else part

    return jax.tree.map(forget, opt_state, is_leaf=_is_adam)


def _is_adam(part: Any) -> bool:
    return isinstance(part, optax.ScaleByAdamState)


def mistakes(removal: Any, roles: Sequence[str]) -> list[str]:
    """What is wrong with config.data.removal, for a scheme with these roles."""
    least = {"per_epoch": 0.0, "all_beyond": 0, "smoothing": 0.0, "start": 0}
    values = {key: removal[key] for key in (*least, "role")}
    found = ranges.mistakes("data.removal", values, least=least, choices={"role": ("", *roles)})
    if removal.role and not removal.per_epoch and not removal.start:
        found.append(
            "config.data.removal.role is set, but nothing is removed: set "
            "config.data.removal.per_epoch or config.data.removal.start above 0"
        )
    return found
