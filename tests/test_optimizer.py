"""Schedule, weight decay, clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_student import MODEL

from distill_jax.model import network
from distill_jax.training import optimizer


def test_weight_decay_spares_biases_and_layer_norms():
    params = network.init_params(MODEL, jax.random.key(0))
    mask = optimizer.decay_mask(params)
    assert mask["wte"]["embedding"] and mask["h_1"]["attn"]["c_attn"]["kernel"]
    assert not mask["h_1"]["attn"]["c_attn"]["bias"] and not mask["ln_f"]["scale"]


def test_schedule_warms_up_and_decays():
    schedule = optimizer.learning_rate_schedule(
        steps=100, learning_rate=2.0, final_learning_rate=0.5, warmup_steps=10
    )
    assert [float(schedule(s)) for s in (0, 5, 10, 55, 100)] == pytest.approx(
        [0.0, 1.0, 2.0, 1.25, 0.5]
    )


def test_clipping_scales_the_gradient_to_the_norm():
    params = network.init_params(MODEL, jax.random.key(0))
    huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 100.0), params)
    clipped, _ = optax.clip_by_global_norm(1.0).update(huge, optax.EmptyState())
    ours = optimizer.make_optimizer(
        lambda step: 1.0, b1=0.0, b2=0.0, epsilon=1.0, weight_decay=0.0, clip_norm=1.0
    )
    updates, _ = ours.update(huge, ours.init(params), params)
    expected = jax.tree.map(lambda g: -g / (jnp.abs(g) + 1.0), clipped)
    for got, want in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
