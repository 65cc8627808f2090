"""A right answer is worth 1, less the longer it is among the right answers of its problem.

With `alpha` 0 only right and wrong count. The penalty is that of "Training Language Models to
Reason Efficiently" (https://arxiv.org/abs/2502.04463, equation 2): a student learns to be as short
as its own right answers allow, problem by problem.
"""

import math
import statistics
from collections.abc import Sequence

from distill_jax.errors import UserError
from distill_jax.records import Prediction


def reward(samples: Sequence[Prediction], alpha: float = 0.0) -> list[float]:
    """1 - alpha sigmoid((L - mean) / deviation) for every right sample of one problem, 0 for wrong
    ones.

    L is the number of tokens that were written, end marks included. Mean and deviation (of the
    population) are those of the right samples, so that wrong ones, which may be cut off, do not
    count. With alpha 0.1 a right sample of average length is worth 0.95. Raises UserError unless
    alpha is from 0 to 1: beyond, a wrong answer could be worth more than a right one.
    """
    if not 0.0 <= alpha <= 1.0:
        raise UserError(f"config.rollouts.reward_options: alpha={alpha}: must be from 0 to 1")
    lengths = [tokens(sample) for sample in samples if is_right(sample)]
    if not lengths:
        return [0.0] * len(samples)
    mean, deviation = statistics.fmean(lengths), statistics.pstdev(lengths)

    def worth(sample: Prediction) -> float:
        distance = (tokens(sample) - mean) / (deviation + 1e-7)
        return 1.0 - alpha / (1.0 + math.exp(-distance))

    return [worth(sample) if is_right(sample) else 0.0 for sample in samples]


def is_right(sample: Prediction) -> bool:
    """Whether the answer is right and the dialogue was not cut off. A sample at a limit of tokens
    or turns is wrong: a student must not learn to stop nowhere."""
    return sample.correct and sample.status == "finished"


def tokens(sample: Prediction) -> int:
    """Tokens of all turns, end marks included."""
    return sum(turn.tokens for turn in sample.turns)
