"""The loss of a pair of texts: worked numbers, and slots that are no pair's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax.training.preference import preference_losses, preference_margins

# Chosen -10 (reference -11), rejected -12 (reference -11.5), each in two tokens, one slot unused.
LOG_PROBS = jnp.array([[-4.0, -6.0, -5.0, -7.0, -3.0]])
REFERENCE = jnp.array([[-5.0, -6.0, -5.5, -6.0, 0.0]])
SIGNS = jnp.array([[1.0, 1.0, -1.0, -1.0, 0.0]])


def test_worked_numbers():
    value, slopes = jax.value_and_grad(lambda x: preference_losses(x, REFERENCE, SIGNS, 0.1)[0])(
        LOG_PROBS
    )
    assert float(preference_margins(LOG_PROBS, REFERENCE, SIGNS, 0.1)[0]) == pytest.approx(0.15)
    assert float(value) == pytest.approx(0.620957, abs=1e-6)
    expected = [[-0.046257, -0.046257, 0.046257, 0.046257, 0.0]]
    np.testing.assert_allclose(slopes, expected, atol=1e-6)


def test_at_the_start_every_pair_costs_log_2_and_pulls_alike():
    value, slopes = jax.value_and_grad(lambda x: preference_losses(x, REFERENCE, SIGNS, 0.1)[0])(
        REFERENCE
    )
    assert float(value) == pytest.approx(np.log(2))
    np.testing.assert_allclose(slopes, -0.05 * SIGNS, atol=1e-7)


def test_a_pair_that_is_told_apart_wrongly_by_far_stays_finite():
    value, slopes = jax.value_and_grad(lambda x: preference_losses(x, REFERENCE, SIGNS, 1.0)[0])(
        LOG_PROBS - 1000.0 * SIGNS
    )
    assert float(value) == pytest.approx(4000 - 1.5)
    np.testing.assert_allclose(slopes, -SIGNS, atol=1e-6)
