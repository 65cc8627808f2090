"""Hidden states and loss tokens of two roles without a network, and their dense logits."""

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.training.chunks import LossTokens

ROWS, LENGTH, SLOTS, WIDTH, WORDS = 4, 10, 6, 16, 128
# Role 0 may write ids below 100, role 1 odd ones below 60; the rest is padding.
ALLOWED = np.stack([np.arange(WORDS) < 100, (np.arange(WORDS) % 2 == 1) & (np.arange(WORDS) < 60)])


def make_head(seed=0):
    """float32 [V, D]"""
    return jax.random.normal(jax.random.key(seed), (WORDS, WIDTH))


def make_tokens(dtype="float32", seed=0):
    """LossTokens of rows with 0 to K loss tokens each."""
    rng = np.random.default_rng(seed)
    hidden = jax.random.normal(jax.random.key(100 + seed), (ROWS, LENGTH, WIDTH)).astype(dtype)
    positions = np.stack([rng.permutation(LENGTH)[:SLOTS] for _ in range(ROWS)]).astype(np.int32)
    writers = rng.integers(-1, 2, (ROWS, SLOTS)).astype(np.int32)
    writers[0], writers[1] = -1, np.arange(SLOTS) % 2
    choices = [rng.choice(np.flatnonzero(ALLOWED[role]), (ROWS, SLOTS)) for role in (0, 1)]
    targets = np.where(writers == 1, choices[1], choices[0]).astype(np.int32)
    return LossTokens(hidden, *map(jnp.asarray, (positions, targets, writers)))


def dense_log_softmax(head, tokens, temperature=1.0):
    """float32 [B, K, V], the obvious way; words that are not allowed have -1e30 or so."""
    hidden = jnp.take_along_axis(tokens.hidden, tokens.positions[..., None], axis=1)
    logits = jnp.matmul(hidden, head.astype(hidden.dtype).T, preferred_element_type=jnp.float32)
    logits = jnp.where(jnp.asarray(ALLOWED)[tokens.writers], logits / temperature, -1e30)
    return jax.nn.log_softmax(logits)


def dense_log_probs(head, tokens):
    """float32 [B, K], 0 in unused slots."""
    chosen = jnp.take_along_axis(dense_log_softmax(head, tokens), tokens.targets[..., None], -1)
    return jnp.where(tokens.writers >= 0, chosen[..., 0], 0.0)


def gradients_by_head_and_hidden(function, head, tokens):
    """((sum, what function gives), gradients of the sum); `function` gives an array [B, K]."""

    def total(head, hidden):
        values = function(head, tokens._replace(hidden=hidden))
        return jnp.sum(values), values

    return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(head, tokens.hidden)


def assert_close(found, expected, relative):
    """The distance of two arrays, relative to the size of `expected`."""
    found, expected = (np.asarray(x, np.float32) for x in (found, expected))
    assert np.linalg.norm(found - expected) <= relative * np.linalg.norm(expected)
