"""How sure a student was of each token that it wrote."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax.sampling.pick import most_likely


class TokenStatistics(NamedTuple):
    """Of written tokens, at temperature 1 and before top-k and top-p: float32 arrays of one shape.

    Of an ensemble they are those of the mean of its members.
    """

    log_probs: Any  # natural log of the token's probability
    entropies: Any  # nats: how many tokens were possible; 0 = one
    margins: Any  # probability of the most likely token minus that of the second; 1 = one


def token_statistics(scores: jax.Array, tokens: jax.Array) -> TokenStatistics:
    """[B] each, of tokens int32 [B] after `scores` float32 [B, V], logits that are -inf for tokens
    that are not allowed (said.py). With probabilities .7 .2 .1 and the second token: log(.2), .8018
    nats, .5. If only one token is allowed, the entropy is 0 and the margin 1.
    """
    best = jnp.max(scores, axis=-1, keepdims=True)
    below = scores - best
    weights = jnp.exp(below)
    total = jnp.sum(weights, axis=-1)
    # 0 x -inf would be NaN.
    mean_below = jnp.sum(jnp.where(weights > 0, weights * below, 0.0), axis=-1) / total
    others = jnp.where(
        jnp.arange(scores.shape[-1]) == most_likely(scores)[:, None], -jnp.inf, below
    )
    chosen = jnp.take_along_axis(below, tokens[:, None], axis=1)[:, 0]
    return TokenStatistics(
        log_probs=chosen - jnp.log(total),
        entropies=jnp.log(total) - mean_below,
        margins=(1.0 - jnp.exp(jnp.max(others, axis=-1))) / total,
    )
