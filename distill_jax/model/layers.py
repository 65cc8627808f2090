"""Parts of every network, besides affine maps and attention."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P


class Mix(NamedTuple):
    """Other tokens, whose embeddings are mixed into those of a row.

    tokens  int32 [B, T]
    share   float32 [B] of the row's own tokens, 0 to 1; the others have 1 - share
    """

    tokens: jax.Array
    share: jax.Array


def words(table: jax.Array, ids: jax.Array, mix: Mix | None, layout: P | None) -> jax.Array:
    """The embeddings of tokens [B, T], or if there is a `mix`, sums of two: float32 [B, T, D]."""
    own = lookup(table, ids, P("tensor", None), layout)
    if mix is None:
        return own
    share = mix.share[:, None, None]
    return share * own + (1 - share) * lookup(table, mix.tokens, P("tensor", None), layout)


def lookup(table: jax.Array, ids: jax.Array, table_layout: P, layout: P | None) -> jax.Array:
    """Rows of a table. Without a layout, the compiler would split the result by width, like the
    table, and move data in every layer to undo that."""
    if layout is None:
        return _rows(table, ids)
    table = jax.lax.with_sharding_constraint(table, table_layout)
    return jax.lax.with_sharding_constraint(_rows(table, ids), layout)


def _rows(table: jax.Array, ids: jax.Array) -> jax.Array:
    """table[ids]; NaN for ids past the end."""
    if table.dtype != jnp.bfloat16:
        return jnp.take(table, ids, axis=0)
    return jax.lax.platform_dependent(
        table, ids, cpu=_as_integers, default=lambda table, ids: jnp.take(table, ids, axis=0)
    )


def _as_integers(table: jax.Array, ids: jax.Array) -> jax.Array:
    """As `_rows`, for a CPU, where XLA first makes all of a bfloat16 table float32.

    No gradient passes; a table in bfloat16 is never trained. With the barrier a loop over tokens
    does not begin with integers for the whole table.
    """
    table, ids = jax.lax.optimization_barrier((table, ids))
    bits = jax.lax.bitcast_convert_type(table, jnp.uint16)
    return jax.lax.bitcast_convert_type(jnp.take(bits, ids, axis=0), jnp.bfloat16)


def dropout(module: nn.Module, rate: float, x: jax.Array) -> jax.Array:
    """If there is a key, x with numbers set to 0 at `rate` and the others scaled up."""
    if rate == 0.0 or not module.has_rng("dropout"):
        return x
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1.0 - rate, x.shape)
    return jnp.where(kept, x / (1.0 - rate), 0.0).astype(x.dtype)


def normal(stddev: float = 0.02):
    """Random first parameters."""
    return nn.initializers.normal(stddev)
