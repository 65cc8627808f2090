"""What networks of every family are made of, besides affine maps and attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P


def lookup(table: jax.Array, ids: jax.Array, table_layout: P, layout: P | None) -> jax.Array:
    """Rows of a table. Left alone, the compiler splits the result as the table is split, by width,
    and moves data in every layer to undo it."""
    if layout is None:
        return jnp.take(table, ids, axis=0)
    table = jax.lax.with_sharding_constraint(table, table_layout)
    return jax.lax.with_sharding_constraint(jnp.take(table, ids, axis=0), layout)


def dropout(module: nn.Module, rate: float, x: jax.Array) -> jax.Array:
    """x with numbers set to 0 at `rate` and the others scaled up, where there is a key."""
    if rate == 0.0 or not module.has_rng("dropout"):
        return x
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1.0 - rate, x.shape)
    return jnp.where(kept, x / (1.0 - rate), 0.0).astype(x.dtype)


def normal(stddev: float = 0.02):
    """Random first parameters."""
    return nn.initializers.normal(stddev)
