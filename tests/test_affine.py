"""Products of bfloat16: what each platform is asked for, and that they are rounded once."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax.model.affine import contracted
from distill_jax.model.network import head_logits

X, W = jnp.ones((4, 8), jnp.bfloat16), jnp.ones((8, 16), jnp.bfloat16)


def product(x, w):
    return contracted(x, w, ((1,), (0,)))


@pytest.mark.parametrize(("platform", "result"), [("cpu", "f32"), ("tpu", "bf16")])
def test_only_a_cpu_is_asked_for_float32(platform, result):
    """XLA uses a CPU's own products of bfloat16 only for results in float32."""
    text = jax.jit(product).trace(X, W).lower(lowering_platforms=(platform,)).as_text()
    [found] = re.findall(r"dot_general .*-> tensor<4x16x(\w+)>", text)
    assert found == result


def test_the_head_is_asked_for_as_it_is_stored():
    """[V, D], not transposed: XLA would make all of it float32 on a CPU (network.head_logits)."""
    words = jnp.ones((32, 8), jnp.bfloat16)
    text = jax.jit(head_logits).lower(X, words).as_text()
    [found] = re.findall(r"dot_general .*", text)
    assert "(tensor<4x8xbf16>, tensor<32x8xbf16>) -> tensor<4x32xf32>" in found
    assert "transpose" not in text and "convert" not in text
    assert (head_logits(X, words) == 8).all()


def test_the_result_is_rounded_once():
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=a.shape), jnp.bfloat16) for a in (X, W))
    exact = np.asarray(x, np.float64) @ np.asarray(w, np.float64)
    found = jax.jit(product)(x, w)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=2**-8, atol=1e-6)
    np.testing.assert_array_equal(product(np.float32(X), np.float32(W)), np.full((4, 16), 8.0))
