"""Embeddings with rows that belong to no id, cut or added: the logits of all ids stay."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax.model import gpt2, hugging_face, llama, network

SIZES = {
    "gpt2": gpt2.GPT2Config(40, 32, 1, 2, 8),
    "tied": llama.LlamaConfig(
        40, 32, 1, 2, 8, key_value_heads=1, head_dim=4, hidden=12, rope_theta=100.0,
        norm_epsilon=1e-5, tied=True,
    ),
}  # fmt: skip
SIZES["untied"] = dataclasses.replace(SIZES["tied"], tied=False)


@pytest.mark.parametrize("rows", [30, 40, 50])
@pytest.mark.parametrize("name", SIZES)
def test_the_logits_of_the_ids_stay(name, rows):
    model = SIZES[name]
    params = network.init_params(model, jax.random.key(0))
    tokens = jnp.arange(12).reshape(1, 12)

    def logits(size, values):
        hidden, _ = size.module(dtype="float32").apply(
            {"params": values}, tokens, jnp.arange(12)[None]
        )
        return network.logits(size, values, hidden)[..., :30]

    expected = logits(model, params)
    fitted = dataclasses.replace(model, vocab_size=rows)
    shapes = jax.eval_shape(lambda: network.init_params(fitted, jax.random.key(0)))
    for kind, given in ((jax.Array, params), (np.ndarray, jax.tree.map(np.asarray, params))):
        changed = hugging_face.fit_rows(given, model, rows)
        assert all(isinstance(leaf, kind) for leaf in jax.tree.leaves(changed))
        assert jax.tree.map(np.shape, changed) == jax.tree.map(lambda leaf: leaf.shape, shapes)
        np.testing.assert_allclose(logits(fitted, changed), expected, rtol=0, atol=1e-6)
