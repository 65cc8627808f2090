"""How sure a student was of its tokens: by hand, and against scipy and numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue_rules import slow_statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.sampling.token_statistics import token_statistics

COMPILED = jax.jit(token_statistics)


def found(scores, tokens):
    return COMPILED(jnp.array(scores, jnp.float32), jnp.array(tokens, jnp.int32))


def test_by_hand():
    rows = [[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    with np.errstate(divide="ignore"):
        scores = np.log(rows) + np.array([[3.0], [-40.0], [0.0]])  # logits have no fixed sum
    log_probs, entropies, margins = found(scores, [1, 0, 0])
    np.testing.assert_allclose(log_probs, np.log([0.2, 0.5, 1.0]), atol=1e-5)
    np.testing.assert_allclose(entropies, [0.801819, np.log(2), 0.0], atol=1e-5)
    np.testing.assert_allclose(margins, [0.5, 0.0, 1.0], atol=1e-5)


def test_of_a_token_that_is_not_allowed_only_its_own_probability_is_none():
    log_probs, entropies, margins = found([[0.0, 0.0, -np.inf]], [2])
    assert log_probs[0] == -np.inf
    assert (entropies[0], margins[0]) == (pytest.approx(np.log(2)), 0.0)


@settings(deadline=None)  # the first one compiles
@given(
    st.lists(
        st.one_of(st.floats(-30, 30, width=32), st.just(-float("inf"))), min_size=5, max_size=5
    ),
    st.floats(-30, 30, width=32),
    st.data(),
)
def test_against_float64(others, allowed, data):
    """At least one token is allowed."""
    scores = [*others, allowed]
    token = data.draw(st.integers(0, len(scores) - 1))
    expected = slow_statistics(np.array(scores), token)
    ours = [float(part[0]) for part in COMPILED(jnp.array([scores]), jnp.array([token]))]
    assert ours == pytest.approx(expected, abs=2e-5, rel=1e-5)
