"""Rotary positions (RoPE, https://arxiv.org/abs/2104.09864), as Llama computes them.

Number i of the first half of a head and number i of the second half are a point in a plane, which
is turned by position x frequency i. The product of a query and a key then depends only on the
distance between them. Shapes: B batch, T tokens, N heads, H head dim.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Llama3Scaling:
    """How Llama 3.1 and 3.2 stretch a context (rope_type "llama3" in config.json).

    A frequency that makes fewer than `low_factor` turns in `original_context` tokens is divided by
    `factor`; one that makes more than `high_factor` turns is kept; the others are in between.
    """

    factor: float
    low_factor: float
    high_factor: float
    original_context: int


def inverse_frequencies(
    head_dim: int, theta: float, scaling: Llama3Scaling | None = None
) -> np.ndarray:
    """float32 [H / 2]: theta^(-2 i / H), radians per token."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1.0) / np.float32(theta) ** exponents
    if scaling is None:
        return frequencies
    rounds = scaling.original_context * frequencies / np.float32(2 * math.pi)
    share = (rounds - scaling.low_factor) / (scaling.high_factor - scaling.low_factor)
    share = np.clip(share, 0.0, 1.0)
    return ((1.0 - share) * frequencies / scaling.factor + share * frequencies).astype(np.float32)


def angles(positions: jax.Array, frequencies: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """(cosine, sine) of position x frequency: int32 [B, T] to float32 [B, T, 1, H / 2]."""
    angle = positions[..., None, None].astype(jnp.float32) * frequencies
    return jnp.cos(angle), jnp.sin(angle)


def rotate(x: jax.Array, turns: tuple[Any, Any]) -> jax.Array:
    """[B, T, N, H] with every plane turned by its angle, computed in float32, in x's dtype.

    A head (1, 2, 3, 4), whose planes are (1, 3) and (2, 4), at position 1 with theta 10,000
    (frequencies 1 and 0.01): (-1.984111, 1.959901, 2.462378, 4.019800).
    """
    cosine, sine = turns
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
