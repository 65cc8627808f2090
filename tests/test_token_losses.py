"""Log-probabilities and statistics of loss tokens in chunks, against dense logits and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from tiny_student import make_mesh
from token_rows import (
    ALLOWED,
    ROWS,
    SLOTS,
    WORDS,
    assert_close,
    dense_log_probs,
    dense_log_softmax,
    gradients_by_head_and_hidden,
    make_head,
    make_tokens,
)

from distill_jax.model.network import head_logits
from distill_jax.training import chunks, loss

# bfloat16 has 8 bits: half of its last one, for the derivative by the logits and by hidden.
PRECISION = {"float32": 1e-6, "bfloat16": 2.0**-8}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_token_log_probs_equal_dense_autodiff_with_a_cotangent_per_token(dtype):
    head, tokens = make_head(), make_tokens(dtype)
    cotangent = np.random.default_rng(1).standard_normal((ROWS, SLOTS)).astype(np.float32)

    def chunked(head, tokens):
        return cotangent * loss.token_log_probs(3, head, tokens, jnp.asarray(ALLOWED))

    def dense(head, tokens):
        return cotangent * dense_log_probs(head, tokens)

    with jax.set_mesh(make_mesh((2, 2, 2))):
        (_, values), found = gradients_by_head_and_hidden(chunked, head, tokens)
    (_, expected_values), expected = gradients_by_head_and_hidden(dense, head, tokens)
    assert values.dtype == np.float32 and found[0].dtype == np.float32
    assert_close(values, expected_values, 1e-6)
    assert (np.asarray(values)[np.asarray(tokens.writers) < 0] == 0).all()
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert_close(a, b, PRECISION[dtype])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_entropies_equal_those_of_dense_logits(dtype):
    head, tokens = make_head(), make_tokens(dtype)
    with jax.set_mesh(make_mesh((2, 2, 2))):
        found = jax.jit(lambda *a: loss.token_entropies(3, *a, jnp.asarray(ALLOWED)))(head, tokens)
    probabilities = np.exp(np.asarray(dense_log_softmax(head, tokens), np.float64))
    logs = np.log(probabilities, where=probabilities > 0, out=np.zeros_like(probabilities))
    used = np.asarray(tokens.writers) >= 0
    assert_close(found, np.where(used, -(probabilities * logs).sum(axis=-1), 0.0), 1e-5)


def test_a_role_that_may_write_one_token_is_sure_of_it():
    tokens = make_tokens()._replace(targets=jnp.full((ROWS, SLOTS), 7))
    only = jnp.broadcast_to(jnp.arange(WORDS) == 7, (2, WORDS))
    with jax.set_mesh(make_mesh((2, 2, 2))):
        found = jax.jit(lambda *a: loss.token_entropies(3, *a))(make_head(), tokens, only)
    assert not np.any(found)


def unweighted_loss(chunk, head, tokens, allowed):
    """(sum, derivatives by hidden and head) of cross entropy that knows of no weights."""

    def body(head, tokens, allowed):
        mine = chunks.compact(chunk, tokens)

        def term(index):
            logits = head_logits(mine.hidden[index], head.astype(tokens.hidden.dtype))
            log_probs = chunks.log_softmax(logits, allowed[mine.writers[index]])
            hits = chunks.hits(mine.targets[index], head.shape[0])
            chosen = jax.lax.psum(jnp.sum(log_probs, axis=-1, where=hits), "tensor")
            used = mine.writers[index] >= 0
            d_logits = jnp.where(used[:, None], jnp.exp(log_probs) - hits, 0.0)
            return jnp.where(used, -chosen, 0.0), d_logits

        return chunks.sum_with_gradients(term, mine, head, tokens.hidden)

    return chunks.each_device(
        body,
        in_specs=(chunks.VOCABULARY, chunks.ROWS, chunks.ALLOWED),
        out_specs=(P(), chunks.ROWS, chunks.D_VOCABULARY),
    )(head, tokens, allowed)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_one_keep_every_bit_and_others_equal_log_probs(dtype):
    head, tokens, allowed = make_head(), make_tokens(dtype), jnp.asarray(ALLOWED)
    some = jnp.asarray(np.random.default_rng(2).standard_normal((ROWS, SLOTS)), jnp.float32)

    def weighted(head, hidden, weights):
        return loss.loss_sum(3, head, tokens._replace(hidden=hidden), weights, allowed)

    def by_log_probs(head, hidden):
        moved = tokens._replace(hidden=hidden)
        return -jnp.sum(some * loss.token_log_probs(3, head, moved, allowed))

    @jax.jit
    def compute(head, hidden):
        ones = jax.value_and_grad(weighted, (0, 1))(head, hidden, jnp.ones((ROWS, SLOTS)))
        plain, d_hidden, d_head = unweighted_loss(3, head, tokens._replace(hidden=hidden), allowed)
        found = jax.value_and_grad(weighted, (0, 1))(head, hidden, some)
        expected = jax.value_and_grad(by_log_probs, (0, 1))(head, hidden)
        return (ones, (plain, (d_head, d_hidden))), (found, expected)

    with jax.set_mesh(make_mesh((2, 2, 2))):
        bits, (found, expected) = compute(head, tokens.hidden)
    for a, b in zip(*map(jax.tree.leaves, bits), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-5)
    for a, b in zip(found[1], expected[1], strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
