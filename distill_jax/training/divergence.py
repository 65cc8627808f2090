"""Divergence between the next-token probabilities of a student and of a frozen one, in chunks.

Shapes as in `training/loss.py`; each student has its own width D and rows of T tokens. With T
the teacher's probabilities of the tokens that a role may write, S the student's, and
M = beta T + (1 - beta) S, the generalised Jensen-Shannon divergence
(https://arxiv.org/abs/2306.13649, equation 1) is

    beta KL(T || M) + (1 - beta) KL(S || M)

Its limit at both ends is 0; as in TRL, KL(T || S) is used for beta = 0, and KL(S || T) for beta =
1.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.model.network import head_logits
from distill_jax.training import chunks
from distill_jax.training.chunks import LossTokens


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Which divergence. Logits of both students are divided by `temperature` first; the loss is not
    multiplied by its square (a weight can do that)."""

    beta: float  # 0 to 1
    temperature: float = 1.0


class Reading(NamedTuple):
    """The outputs of one student at the loss tokens, and the head that turns them into logits."""

    embedding: jax.Array  # float32 [V, D]
    tokens: LossTokens


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def divergence_sum(
    chunk: int,
    kind: Divergence,
    student: Reading,
    teacher: Reading,
    weights: jax.Array,
    allowed: jax.Array,
) -> jax.Array:
    """Divergences (nats) times `weights` (float32 [B, K]), summed over loss tokens and devices.

    Differentiable in the student's embedding and hidden states; everything else is constant. The
    gradient is computed with the divergence. Slot k of both readings is the same token, so both
    have the same targets and writers; the teacher's row may differ. `chunk` and `allowed` as in
    `training/loss.py`; float32 []. To be called under `jax.set_mesh`.
    """
    return jnp.sum(weights * token_divergences(chunk, kind, student, teacher, allowed))


def _forward(chunk, kind, student, teacher, weights, allowed):
    def body(student, teacher, weights, allowed):
        mine, term = _both(chunk, kind, student, teacher, allowed)
        moved = mine.move(weights)

        def weighted(index):
            values, d_logits = term(index)
            return moved[index] * values, moved[index][:, None] * d_logits

        return chunks.sum_with_gradients(weighted, mine, student.embedding, student.tokens.hidden)

    total, *gradients = chunks.each_device(
        body,
        in_specs=(_READING, _READING, chunks.ROWS, chunks.ALLOWED),
        out_specs=(P(), chunks.ROWS, chunks.D_VOCABULARY),
    )(student, teacher, weights, allowed)
    return total, gradients


def _backward(chunk, kind, gradients, scale):
    del chunk, kind
    d_hidden, d_embedding = gradients
    nothing: Any = None  # integers have no gradient, the teacher gets none
    tokens = LossTokens(d_hidden * scale.astype(d_hidden.dtype), nothing, nothing, nothing)
    return Reading(d_embedding * scale, tokens), None, None, None


divergence_sum.defvjp(_forward, _backward)


def token_divergences(
    chunk: int, kind: Divergence, student: Reading, teacher: Reading, allowed: jax.Array
) -> jax.Array:
    """The divergence at every loss token: float32 [B, K], 0 in unused slots. Not differentiable;
    arguments as in `divergence_sum`."""

    def body(student, teacher, allowed):
        mine, term = _both(chunk, kind, student, teacher, allowed)

        def step(index, values):
            return values.at[index].set(term(index)[0])

        values = jnp.zeros(mine.targets.shape, jnp.float32)
        values = jax.lax.fori_loop(0, mine.used, step, values)
        return mine.move_back(values, 0.0).reshape(student.tokens.targets.shape)

    return chunks.each_device(
        body, in_specs=(_READING, _READING, chunks.ALLOWED), out_specs=chunks.ROWS
    )(student, teacher, allowed)


_READING = Reading(chunks.VOCABULARY, chunks.ROWS)  # type: ignore[arg-type]  # specs, not arrays


def _both(chunk, kind, student, teacher, allowed):
    """(the student's chunks, index -> (divergences float32 [C], derivatives of their sum by the
    student's logits float32 [C, v]), both 0 after the last loss token)."""
    mine, other = (chunks.compact(chunk, each.tokens) for each in (student, teacher))

    def log_probs(reading, compacted, index):
        head = reading.embedding.astype(reading.tokens.hidden.dtype)
        logits = head_logits(compacted.hidden[index], head) / kind.temperature
        return chunks.log_softmax(logits, allowed[mine.writers[index]])

    def term(index):
        values, d_logits = _divergence(
            kind, log_probs(student, mine, index), log_probs(teacher, other, index)
        )
        used = mine.writers[index] >= 0
        return jnp.where(used, values, 0.0), jnp.where(used[:, None], d_logits, 0.0)

    return mine, term


def _divergence(kind, log_s, log_t):
    """(values [C], their derivatives by the student's logits [C, v]) of log-probabilities
    [C, v]."""

    def over_words(x):
        return jax.lax.psum(jnp.sum(x, axis=-1), "tensor")

    # A word that is not allowed has log-probabilities of about -3e38, finite: 0 * (a - b) is 0.
    s, t = jnp.exp(log_s), jnp.exp(log_t)
    if kind.beta == 0.0:
        values, d_logits = over_words(t * (log_t - log_s)), s - t
    elif kind.beta == 1.0:
        values = over_words(s * (log_s - log_t))
        d_logits = s * (log_s - log_t - values[:, None])
    else:
        log_m = jnp.logaddexp(log_t + math.log(kind.beta), log_s + math.log1p(-kind.beta))
        of_student = over_words(s * (log_s - log_m))
        values = kind.beta * over_words(t * (log_t - log_m)) + (1 - kind.beta) * of_student
        d_logits = (1 - kind.beta) * s * (log_s - log_m - of_student[:, None])
    return values, d_logits / kind.temperature
