"""Divergences between two students: worked numbers, dense autodiff, TRL."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import make_mesh
from token_rows import (
    ALLOWED,
    ROWS,
    SLOTS,
    WORDS,
    assert_close,
    dense_log_softmax,
    make_head,
    make_tokens,
)

from distill_jax.training.chunks import LossTokens
from distill_jax.training.divergence import (
    Divergence,
    Reading,
    divergence_sum,
    token_divergences,
)

BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)
# Of logits (1, 0.5, 0) of a student and (2, 0, -1) of its teacher, worked by hand.
VALUES = {
    1.0: (0.255111, 0.023219, 0.068869, 0.027837, 0.323018),
    2.0: (0.091307, 0.008217, 0.022971, 0.008420, 0.094178),
}
GRADIENTS = {
    0.0: (-0.337314, 0.193001, 0.144314),
    0.5: (-0.088369, 0.048468, 0.039901),
    1.0: (-0.422122, 0.204764, 0.217358),
}


def of_logits(logits):
    """A reading of one row of one loss token, whose logits are these: its head is the identity."""
    zero = jnp.zeros((1, 1), jnp.int32)
    return Reading(jnp.eye(3), LossTokens(jnp.array(logits)[None, None], zero, zero, zero))


def test_worked_numbers():
    student, teacher = of_logits([1.0, 0.5, 0.0]), of_logits([2.0, 0.0, -1.0])
    kinds = [Divergence(beta, temperature) for temperature in (1.0, 2.0) for beta in BETAS]

    @jax.jit
    def compute(student, teacher):
        arguments = teacher, jnp.ones((1, 1)), jnp.ones((1, 3), bool)
        differentiated = jax.value_and_grad(divergence_sum, 2, allow_int=True)
        found = [differentiated(1, kind, student, *arguments) for kind in kinds]
        return [(value, gradient.tokens.hidden[0, 0]) for value, gradient in found]

    with jax.set_mesh(make_mesh()):
        found = compute(student, teacher)
    values = [float(value) for value, _ in found]
    np.testing.assert_allclose(values, VALUES[1.0] + VALUES[2.0], atol=1e-6)
    for beta, expected in GRADIENTS.items():
        np.testing.assert_allclose(found[BETAS.index(beta)][1], expected, atol=1e-6)


def dense_divergences(kind, student, teacher):
    """float32 [B, K], by the definition."""
    log_s, log_t = (dense_log_softmax(*each, kind.temperature) for each in (student, teacher))
    words = jnp.asarray(ALLOWED)[student.tokens.writers]

    def kl(log_p, log_q):
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1, where=words)

    if kind.beta == 0:
        values = kl(log_t, log_s)
    elif kind.beta == 1:
        values = kl(log_s, log_t)
    else:
        mixture = kind.beta * jnp.exp(log_t) + (1 - kind.beta) * jnp.exp(log_s)
        log_m = jnp.log(jnp.where(words, mixture, 1.0))  # log 0 has no gradient
        values = kind.beta * kl(log_t, log_m) + (1 - kind.beta) * kl(log_s, log_m)
    return jnp.where(student.tokens.writers >= 0, values, 0.0)


def two_readings(dtype):
    """A student, and a teacher of another width that reads rows of its own."""
    tokens = make_tokens(dtype)
    hidden = jax.random.normal(jax.random.key(7), (ROWS, 13, 24)).astype(dtype)
    positions = jnp.asarray(np.tile(np.arange(SLOTS) * 2, (ROWS, 1)), jnp.int32)
    head = jax.random.normal(jax.random.key(8), (WORDS, 24))
    teacher = Reading(head / 2, tokens._replace(hidden=hidden, positions=positions))
    return Reading(make_head() / 2, tokens), teacher


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_and_gradients_equal_dense_autodiff(dtype):
    """On eight devices with the vocabulary split, in chunks that no row fills."""
    student, teacher = two_readings(dtype)
    weights = jnp.asarray(np.random.default_rng(3).random((ROWS, SLOTS)), jnp.float32)
    kinds = [Divergence(0.0), Divergence(0.3, temperature=2.0), Divergence(1.0)]

    def chunked(kind, student, teacher):
        return divergence_sum(3, kind, student, teacher, weights, jnp.asarray(ALLOWED))

    def dense(kind, student, teacher):
        return jnp.sum(weights * dense_divergences(kind, student, teacher))

    @functools.partial(jax.jit, static_argnums=0)
    def compute(function, student, teacher):
        def of_kind(kind):
            def total(embedding, hidden):
                moved = Reading(embedding, student.tokens._replace(hidden=hidden))
                return function(kind, moved, teacher)

            return jax.value_and_grad(total, (0, 1))(student.embedding, student.tokens.hidden)

        return [of_kind(kind) for kind in kinds]

    with jax.set_mesh(make_mesh((2, 2, 2))):
        found = compute(chunked, student, teacher)
    expected = compute(dense, student, teacher)
    for (value, gradients), (dense_value, dense_gradients) in zip(found, expected, strict=True):
        assert float(value) == pytest.approx(float(dense_value), rel=1e-5)
        for a, b in zip(gradients, dense_gradients, strict=True):
            # bfloat16 has 8 bits: the derivative by the logits is rounded once, then by hidden.
            assert a.dtype == b.dtype
            assert_close(a, b, 1e-5 if dtype == "float32" else 2.0**-8)


def test_equal_students_do_not_differ_and_the_teacher_gets_no_gradient():
    student, teacher = two_readings("float32")
    allowed, kind = jnp.asarray(ALLOWED), Divergence(0.5)

    @jax.jit
    def compute(student, teacher):
        weights = jnp.ones((ROWS, SLOTS))
        own = token_divergences(3, kind, student, student, allowed)
        gradient = jax.grad(divergence_sum, 3, allow_int=True)
        return own, gradient(3, kind, student, teacher, weights, allowed)

    with jax.set_mesh(make_mesh((2, 2, 2))):
        own, gradient = compute(student, teacher)
    assert np.abs(own).max() < 1e-6
    assert not np.any(gradient.embedding) and not np.any(gradient.tokens.hidden)


def test_trl_gives_the_same_divergences():
    gkd = pytest.importorskip("trl.experimental.gkd", reason="no TRL: it is in the extra [trl]")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (EXTRAS=peers)")
    student, teacher = two_readings("float32")
    used = np.asarray(student.tokens.writers) >= 0
    kinds = [Divergence(beta, temperature) for temperature in (1.0, 2.0) for beta in BETAS]

    @jax.jit
    def compute(student, teacher):
        allowed = jnp.asarray(ALLOWED)
        return [token_divergences(5, kind, student, teacher, allowed) for kind in kinds]

    with jax.set_mesh(make_mesh()):
        ours = compute(student, teacher)
    logits = [torch.tensor(np.array(dense_log_softmax(*each))) for each in (student, teacher)]
    for kind, found in zip(kinds, ours, strict=True):
        expected = gkd.GKDTrainer.generalized_jsd_loss(
            *logits, beta=kind.beta, temperature=kind.temperature, reduction="none"
        )
        expected = expected.sum(dim=-1).numpy()
        np.testing.assert_allclose(np.asarray(found)[used], expected[used], atol=1e-5)
