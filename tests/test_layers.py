"""Rows of a table in bfloat16 are looked up as they are."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from distill_jax.model.layers import lookup

TABLE = jnp.asarray(np.random.default_rng(0).normal(size=(40, 8)), jnp.bfloat16)


def test_a_table_in_bfloat16_is_not_made_float32():
    ids = jnp.array([[0, 39], [7, 7]])
    program = jax.jit(lambda table: lookup(table, ids, P(), None))
    found = program(TABLE)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(found), np.float32(TABLE)[np.asarray(ids)])
    # XLA's way on a CPU.
    taken = jax.jit(lambda table: jnp.take(table, ids, axis=0))
    texts = [each.lower(TABLE).compile().as_text() for each in (program, taken)]
    assert ["f32[40,8]" in text for text in texts] == [False, True]
