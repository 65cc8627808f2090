"""Rows of a table in bfloat16 are looked up as they are."""

import re

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


def test_a_loop_does_not_begin_with_integers_for_the_whole_table():
    @jax.jit
    def steps(table):
        def next_ids(_, ids):
            return (ids + lookup(table, ids, P(), None).sum(1).astype(int)) % 40

        return jax.lax.fori_loop(0, 3, next_ids, jnp.arange(4))

    text = steps.lower(TABLE).compile().as_text()
    assert "u16[40,8]" in text  # inside the program that looks the rows up
    assert not re.search(r"= u16\[40,8\]\S* fusion\(", text)
