"""Cross entropy at the loss tokens only, in chunks, so that [B, T, V] logits never exist.

Shapes: B rows of a device, T tokens, K loss slots per row, D embed, V vocabulary (padded), R roles,
C tokens of a chunk. Each device moves the loss tokens of its own rows together and works through
them, C at a time; the vocabulary may be split over `tensor`. The gradient is computed with the
loss: once a chunk's logits are there, both of its products follow at once and nothing is computed
twice. The idea is that of Liger Kernel's fused linear cross entropy (https://arxiv.org/abs/2410.10989,
section 3.2). Two rows with loss tokens a b c and d, and chunks of 2:

    slots        a b c . | d . . .
    compact      a b | c d | . . | . .     only the first two chunks are computed
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

_ROWS, _VOCABULARY = P(("data", "fsdp")), P("tensor", None)
_DEVICE_ROWS = ("data", "fsdp")


class LossTokens(NamedTuple):
    """What the network said, and where its loss counts; an unused slot's writer is -1."""

    hidden: jax.Array  # [B, T, D] the network's output
    positions: jax.Array  # int32 [B, K] where in T a loss token is next
    targets: jax.Array  # int32 [B, K] that token
    writers: jax.Array  # int32 [B, K] index of the role that wrote it


class _Chunks(NamedTuple):
    """The loss tokens of a device, moved together; `used` of the chunks hold any."""

    hidden: jax.Array  # [number, C, D]
    targets: jax.Array  # int32 [number, C]
    writers: jax.Array  # int32 [number, C], -1 behind the last one
    source: jax.Array  # int32 [number, C] index into B * T, B * T behind the last one
    slot: jax.Array  # int32 [B * K] the place of each slot in number * C; unused ones: out of range
    used: jax.Array  # int32 []


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def loss_sum(chunk: int, embedding: jax.Array, tokens: LossTokens, allowed: jax.Array) -> jax.Array:
    """Nats summed over all loss tokens of all devices: float32 [].

    chunk      loss tokens per device whose logits exist at a time
    embedding  float32 [V, D], the tied head
    allowed    bool [R, V]: what each role may write; anything else has no probability

    Differentiable in `embedding` and `tokens.hidden`. To be called under `jax.set_mesh`.
    """
    losses, _ = token_losses(chunk, embedding, tokens, allowed)
    return jnp.sum(losses)


def _loss_sum_forward(chunk, embedding, tokens, allowed):
    body = jax.shard_map(
        functools.partial(_with_gradients, chunk),
        in_specs=(_VOCABULARY, _ROWS, P(None, "tensor")),
        out_specs=(P(), _ROWS, P("tensor", "fsdp")),
        check_vma=False,
    )
    total, d_hidden, d_embedding = body(embedding, tokens, allowed)
    return total, (d_hidden, d_embedding)


def _loss_sum_backward(chunk, gradients, scale):
    del chunk
    d_hidden, d_embedding = gradients
    d_hidden = d_hidden * scale.astype(d_hidden.dtype)
    nothing: Any = None  # integers and truth values have no gradient
    return d_embedding * scale, LossTokens(d_hidden, nothing, nothing, nothing), None


loss_sum.defvjp(_loss_sum_forward, _loss_sum_backward)


def token_losses(
    chunk: int, embedding: jax.Array, tokens: LossTokens, allowed: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(nats float32 [B, K], bool [B, K] whether the most likely token is the target).

    Unused slots have 0 nats and True.
    """
    body = jax.shard_map(
        functools.partial(_losses_only, chunk),
        in_specs=(_VOCABULARY, _ROWS, P(None, "tensor")),
        out_specs=(_ROWS, _ROWS),
        check_vma=False,
    )
    return body(embedding, tokens, allowed)


def _with_gradients(chunk, embedding, tokens, allowed):
    """One device's share: (sum over all devices, d hidden, d embedding summed over devices)."""
    chunks = _compact(chunk, tokens)
    weights = embedding.astype(tokens.hidden.dtype)

    def body(index, carry):
        total, d_hidden, d_embedding = carry
        hidden, writers = chunks.hidden[index], chunks.writers[index]
        log_probs, losses, hits = _chunk(weights, chunks, index, allowed)
        d_logits = jnp.where(writers[:, None] >= 0, jnp.exp(log_probs) - hits, 0.0)
        d_logits = d_logits.astype(weights.dtype)
        d_part = jax.lax.psum(jnp.matmul(d_logits, weights), "tensor")
        d_hidden = d_hidden.at[chunks.source[index]].set(d_part, mode="drop")
        d_embedding += jnp.matmul(d_logits.T, hidden, preferred_element_type=jnp.float32)
        return total + jnp.sum(losses), d_hidden, d_embedding

    flat = tokens.hidden.reshape(-1, tokens.hidden.shape[-1])
    zeros = jnp.zeros(embedding.shape, jnp.float32)
    start = (jnp.float32(0.0), jnp.zeros_like(flat), zeros)
    total, d_hidden, d_embedding = jax.lax.fori_loop(0, chunks.used, body, start)
    d_embedding = jax.lax.psum_scatter(d_embedding, "fsdp", scatter_dimension=1, tiled=True)
    d_embedding = jax.lax.psum(d_embedding, "data")
    d_hidden = d_hidden.reshape(tokens.hidden.shape)
    return jax.lax.psum(total, _DEVICE_ROWS), d_hidden, d_embedding


def _losses_only(chunk, embedding, tokens, allowed):
    chunks = _compact(chunk, tokens)
    weights = embedding.astype(tokens.hidden.dtype)

    def body(index, carry):
        all_losses, all_right = carry
        log_probs, losses, _ = _chunk(weights, chunks, index, allowed)
        best = jax.lax.pmax(jnp.max(log_probs, axis=-1), "tensor")
        return all_losses.at[index].set(losses), all_right.at[index].set(-losses >= best)

    start = (jnp.zeros(chunks.targets.shape, jnp.float32), jnp.ones(chunks.targets.shape, bool))
    losses, right = jax.lax.fori_loop(0, chunks.used, body, start)
    shape = tokens.targets.shape
    losses = losses.ravel().at[chunks.slot].get(mode="fill", fill_value=0.0)
    right = right.ravel().at[chunks.slot].get(mode="fill", fill_value=True)
    return losses.reshape(shape), right.reshape(shape)


def _chunk(weights, chunks, index, allowed):
    """Of C loss tokens and v words of this device: log-probabilities float32 [C, v],
    nats float32 [C] (0 behind the last one), bool [C, v] where the word is the target."""
    targets, writers = chunks.targets[index], chunks.writers[index]
    logits = jnp.matmul(chunks.hidden[index], weights.T, preferred_element_type=jnp.float32)
    # Writer -1 reads the last role's line; its result is thrown away.
    logits = jnp.where(allowed[writers], logits, jnp.finfo(jnp.float32).min)
    highest = jax.lax.pmax(jnp.max(logits, axis=-1), "tensor")
    total = jax.lax.psum(jnp.sum(jnp.exp(logits - highest[:, None]), axis=-1), "tensor")
    log_probs = logits - (highest + jnp.log(total))[:, None]
    first = jax.lax.axis_index("tensor") * weights.shape[0]
    hits = (first + jnp.arange(weights.shape[0]))[None] == targets[:, None]
    chosen = jax.lax.psum(jnp.sum(log_probs, axis=-1, where=hits), "tensor")
    return log_probs, jnp.where(writers >= 0, -chosen, 0.0), hits


def _compact(chunk: int, tokens: LossTokens) -> _Chunks:
    """Move the used slots of this device's rows together, in order."""
    rows, slots = tokens.targets.shape
    length, width = tokens.hidden.shape[1:]
    size = min(chunk, rows * slots)
    number = -(-rows * slots // size)
    used = tokens.writers.ravel() >= 0
    slot = jnp.where(used, jnp.cumsum(used) - 1, number * size)

    def move(values, fill):
        out = jnp.full((number * size,), fill, jnp.int32)
        return out.at[slot].set(values.ravel(), mode="drop").reshape(number, size)

    source = move(tokens.positions + jnp.arange(rows)[:, None] * length, rows * length)
    hidden = tokens.hidden.reshape(-1, width).at[source].get(mode="fill", fill_value=0)
    return _Chunks(
        hidden,
        move(tokens.targets, 0),
        move(tokens.writers, -1),
        source,
        slot,
        -(-jnp.sum(used) // size),
    )
