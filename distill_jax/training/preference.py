"""Learning from pairs of a better and a worse text: direct preference optimisation (DPO)."""

import jax
import jax.numpy as jnp


def preference_losses(
    log_probs: jax.Array, reference: jax.Array, signs: jax.Array, beta: float
) -> jax.Array:
    """-log sigmoid(beta (chosen - rejected)) of each row: float32 [B]
    (https://arxiv.org/abs/2305.18290, equation 7).

    log_probs  float32 [B, K] of the loss tokens, from the student that learns
    reference  float32 [B, K] the same, from the student before training
    signs      float32 [B, K] +1 = a token of the chosen text, -1 = of the rejected one, 0 = unused

    A pair is one row, whose two texts are segments that do not see each other. `chosen` is the sum
    of log_probs - reference over the tokens of the chosen text. One token each: -10 and -12, from
    -11 and -11.5, are 1 and -0.5; the margin at beta = 0.1 is 0.15 and the loss 0.620957. Before
    the first update it is log 2, also in a row without a pair.
    """
    return jax.nn.softplus(-preference_margins(log_probs, reference, signs, beta))


def preference_margins(
    log_probs: jax.Array, reference: jax.Array, signs: jax.Array, beta: float
) -> jax.Array:
    """beta (chosen - rejected): float32 [B], above 0 if the chosen text gained more than the other.
    Arguments as in `preference_losses`."""
    return beta * jnp.sum(signs * (log_probs - reference), axis=-1)
