"""Cross entropy at the loss tokens, their log-probabilities and entropies, in chunks.

Shapes: B rows, K loss slots per row, D embed, V vocabulary (padded), R roles, C tokens of a chunk.
All functions work through the loss tokens as `training/chunks.py` says, take

    chunk      loss tokens per device whose logits exist at a time
    embedding  float32 [V, D], the head
    tokens     LossTokens; what is computed for an unused slot is thrown away
    allowed    bool [R, V]: what each role may write; anything else has no probability

and are to be called under `jax.set_mesh`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.model.network import head_logits
from distill_jax.training import chunks
from distill_jax.training.chunks import LossTokens


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def loss_sum(
    chunk: int, embedding: jax.Array, tokens: LossTokens, weights: jax.Array, allowed: jax.Array
) -> jax.Array:
    """Nats times `weights` (float32 [B, K]), summed over loss tokens and devices: float32 [].

    Differentiable in `embedding` and `tokens.hidden`; the weights are constants. The gradient is
    computed with the loss.
    """
    losses, _ = token_losses(chunk, embedding, tokens, allowed)
    return jnp.sum(weights * losses)


def _loss_sum_forward(chunk, embedding, tokens, weights, allowed):
    total, *gradients = _with_gradients(chunk, embedding, tokens, weights, allowed)
    return total, gradients


def _loss_sum_backward(chunk, gradients, scale):
    del chunk
    d_hidden, d_embedding = gradients
    d_hidden = d_hidden * scale.astype(d_hidden.dtype)
    return d_embedding * scale, _only_hidden(d_hidden), None, None


loss_sum.defvjp(_loss_sum_forward, _loss_sum_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def token_log_probs(
    chunk: int, embedding: jax.Array, tokens: LossTokens, allowed: jax.Array
) -> jax.Array:
    """Log-probability of every loss token: float32 [B, K], 0 in unused slots.

    Differentiable in `embedding` and `tokens.hidden`, with any cotangent per token. The logits of
    a chunk are computed again in the backward pass: four products with the head, not the three of
    `loss_sum`.
    """
    losses, _ = token_losses(chunk, embedding, tokens, allowed)
    return -losses


def _log_probs_forward(chunk, embedding, tokens, allowed):
    return token_log_probs(chunk, embedding, tokens, allowed), (embedding, tokens, allowed)


def _log_probs_backward(chunk, saved, cotangent):
    embedding, tokens, allowed = saved
    _, d_hidden, d_embedding = _with_gradients(chunk, embedding, tokens, -cotangent, allowed)
    return d_embedding, _only_hidden(d_hidden), None


token_log_probs.defvjp(_log_probs_forward, _log_probs_backward)


def token_losses(
    chunk: int, embedding: jax.Array, tokens: LossTokens, allowed: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(nats float32 [B, K], bool [B, K] whether the most likely token is the target).

    Unused slots have 0 nats and True.
    """

    def measure(log_probs, losses):
        best = jax.lax.pmax(jnp.max(log_probs, axis=-1), "tensor")
        return losses, -losses >= best

    losses, right = _each_token(measure, (0.0, True), chunk, embedding, tokens, allowed)
    return losses, right


def token_entropies(
    chunk: int, embedding: jax.Array, tokens: LossTokens, allowed: jax.Array
) -> jax.Array:
    """How unsure a student is at its loss tokens, in nats: float32 [B, K], 0 in unused slots.

    Not differentiable. If a role may write only one token, it is 0.
    """

    def measure(log_probs, losses):
        del losses
        return (-jax.lax.psum(jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1), "tensor"),)

    [found] = _each_token(measure, (0.0,), chunk, embedding, tokens, allowed)
    return found


def _with_gradients(chunk, embedding, tokens, weights, allowed):
    """(sum of weighted nats, its derivatives by hidden and embedding)."""

    def body(embedding, tokens, weights, allowed):
        mine = chunks.compact(chunk, tokens)
        head = embedding.astype(tokens.hidden.dtype)
        moved = mine.move(weights)

        def term(index):
            log_probs, losses, hits = _chunk(head, mine, index, allowed)
            used = mine.writers[index][:, None] >= 0
            d_logits = jnp.where(used, moved[index][:, None] * (jnp.exp(log_probs) - hits), 0.0)
            return moved[index] * losses, d_logits

        return chunks.sum_with_gradients(term, mine, embedding, tokens.hidden)

    return chunks.each_device(
        body,
        in_specs=(chunks.VOCABULARY, chunks.ROWS, chunks.ROWS, chunks.ALLOWED),
        out_specs=(P(), chunks.ROWS, chunks.D_VOCABULARY),
    )(embedding, tokens, weights, allowed)


def _each_token(measure, fills, chunk, embedding, tokens, allowed):
    """`measure` of all loss tokens: arrays [B, K], with `fills` in unused slots.

    measure  (log-probabilities [C, v], nats [C]) -> arrays [C], one for each of `fills`
    """

    def body(embedding, tokens, allowed):
        mine = chunks.compact(chunk, tokens)
        head = embedding.astype(tokens.hidden.dtype)

        def step(index, carry):
            log_probs, losses, _ = _chunk(head, mine, index, allowed)
            new = measure(log_probs, losses)
            return tuple(all_.at[index].set(part) for all_, part in zip(carry, new, strict=True))

        start = tuple(jnp.full(mine.targets.shape, fill) for fill in fills)
        values = jax.lax.fori_loop(0, mine.used, step, start)
        return tuple(
            mine.move_back(value, fill).reshape(tokens.targets.shape)
            for value, fill in zip(values, fills, strict=True)
        )

    return chunks.each_device(
        body,
        in_specs=(chunks.VOCABULARY, chunks.ROWS, chunks.ALLOWED),
        out_specs=(chunks.ROWS,) * len(fills),
    )(embedding, tokens, allowed)


def _chunk(head, mine, index, allowed):
    """For C loss tokens and v words of this device: log-probabilities float32 [C, v],
    nats float32 [C] (0 after the last one), bool [C, v]: whether the word is the target."""
    writers = mine.writers[index]
    # Writer -1 reads the last role's row; the result is not used.
    log_probs = chunks.log_softmax(head_logits(mine.hidden[index], head), allowed[writers])
    hits = chunks.hits(mine.targets[index], head.shape[0])
    chosen = jax.lax.psum(jnp.sum(log_probs, axis=-1, where=hits), "tensor")
    return log_probs, jnp.where(writers >= 0, -chosen, 0.0), hits


def _only_hidden(d_hidden: jax.Array) -> LossTokens:
    nothing: Any = None  # integers have no gradient
    return LossTokens(d_hidden, nothing, nothing, nothing)
