"""Advantages: by how much a sample is better than the other samples of its problem.

Everything here is float64 on the host: a round has thousands of numbers, not millions.
"""

from collections.abc import Callable, Sequence

import numpy as np


def rloo(rewards: Sequence[float]) -> np.ndarray:
    """Each reward less the mean of the others, [n] for the n >= 2 samples of a problem
    (leave-one-out, https://arxiv.org/abs/2402.14740).

    >>> rloo([1.0, 0.0, 0.0])
    array([ 1. , -0.5, -0.5])
    """
    values = np.asarray(rewards, np.float64)
    return _from_mean(values) * len(values) / (len(values) - 1)


def grpo(rewards: Sequence[float]) -> np.ndarray:
    """Each reward less the mean, in standard deviations (of a sample: n - 1), [n] for the n >= 2
    samples of a problem (https://arxiv.org/abs/2402.03300). As in TRL, 1e-4 is added to the
    deviation.

    >>> grpo([1.0, 0.0, 0.0]).round(2)
    array([ 1.15, -0.58, -0.58])
    """
    values = np.asarray(rewards, np.float64)
    return _from_mean(values) / (values.std(ddof=1) + 1e-4)


def _from_mean(values: np.ndarray) -> np.ndarray:
    """Exactly 0 if all are equal, which rounding of the mean would not be."""
    return np.zeros_like(values) if np.ptp(values) == 0.0 else values - values.mean()


# What config.rollouts.advantage names.
ADVANTAGES: dict[str, Callable[[Sequence[float]], np.ndarray]] = {"rloo": rloo, "grpo": grpo}


def less_divergence(
    advantage: float, old: np.ndarray, reference: np.ndarray, weight: float
) -> np.ndarray:
    """The advantage of each of a sample's tokens, [tokens]: that of the sample, less `weight` times
    the divergence from here to its end.

    old        [tokens] log-probabilities by the student that wrote them
    reference  [tokens] by the student that it is not to leave

    The sum of old - reference over the tokens is the divergence KL(student || reference) as one
    sample estimates it. A token answers for what follows it, not for what came before.
    """
    to_go = np.cumsum((np.asarray(old, np.float64) - reference)[::-1])[::-1]
    return advantage - weight * to_go


def whitened(advantages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same numbers with mean 0 and deviation 1 over the tokens of all samples together.

    advantages  [tokens] of every sample; a long sample therefore counts more

    If all are equal there is nothing to learn, and they become 0.
    """
    if not advantages:
        return []
    everything = np.concatenate(advantages)
    deviation = everything.std()
    if deviation < 1e-12:
        return [np.zeros_like(each) for each in advantages]
    return [(each - everything.mean()) / deviation for each in advantages]
