"""Learning from a student's own samples by their advantage: PPO's clipped policy loss, per
token."""

import jax
import jax.numpy as jnp


def policy_losses(
    log_probs: jax.Array, old: jax.Array, advantages: jax.Array, clip: float
) -> jax.Array:
    """-min(ratio A, clipped ratio A) of each token, of the arguments' shape: float32
    (https://arxiv.org/abs/1707.06347, equation 7).

    log_probs   float32 of the loss tokens, from the student that learns
    old         float32 the same, from the student at the time when it wrote the sample
    advantages  float32 A; negative: worse than the other samples of the problem

    The ratio exp(log_probs - old) is clipped to 1 - clip .. 1 + clip. With clip = 0.2 and A = 1 the
    loss at a ratio of 1.3 is -1.2, and its gradient is 0; with A = -1 it is 1.3. If
    the ratio is 1, the derivative by log_probs is -A: that of A times the nats.
    """
    ratio = jnp.exp(log_probs - old)
    return -jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)


def clipped(log_probs: jax.Array, old: jax.Array, advantages: jax.Array, clip: float) -> jax.Array:
    """bool: the tokens whose gradient is 0, because they have moved as far as `clip` allows.
    Arguments as in `policy_losses`."""
    ratio = jnp.exp(log_probs - old)
    return jnp.where(advantages > 0, ratio > 1 + clip, (advantages < 0) & (ratio < 1 - clip))
