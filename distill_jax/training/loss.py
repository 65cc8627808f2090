"""Cross entropy at the loss tokens only, in chunks, so that [B, T, V] logits never exist.

Shapes: B rows, K loss slots per row, D embed, V vocabulary (padded), R roles, C slots per chunk.
Each device works through the loss tokens of its own rows; the vocabulary may be split over
`tensor`. The gradient is computed together with the loss, chunk by chunk: once a chunk's logits are
there, both of its products follow at once and nothing is computed twice. The idea is that of
Liger Kernel's fused linear cross entropy (https://arxiv.org/abs/2410.10989, section 3.2).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

_ROWS, _VOCABULARY = P(("data", "fsdp")), P("tensor", None)
_DEVICE_ROWS = ("data", "fsdp")


class LossTokens(NamedTuple):
    """Where loss counts. Used slots of a row come first; an unused slot's writer is -1."""

    hidden: jax.Array  # [B, K, D] the network's output before the token
    targets: jax.Array  # int32 [B, K] the token
    writers: jax.Array  # int32 [B, K] index of the role that wrote it


def gather(hidden: jax.Array, batch: dict[str, jax.Array]) -> LossTokens:
    """The loss tokens of `hidden` [B, T, D] and a batch as in `training/batches.py`."""
    chosen = jnp.take_along_axis(hidden, batch["loss_positions"][..., None], axis=1)
    return LossTokens(chosen, batch["targets"], batch["writers"])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def loss_sum(chunk: int, embedding: jax.Array, tokens: LossTokens, allowed: jax.Array) -> jax.Array:
    """Nats summed over all loss tokens of all devices: float32 [].

    chunk      loss tokens per device whose logits exist at a time (at least one slot per row)
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
    return d_embedding * scale, LossTokens(d_hidden, nothing, nothing), None


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
    chunks, used = _split(chunk, tokens)
    weights = embedding.astype(tokens.hidden.dtype)

    def body(index, carry):
        total, d_hidden, d_embedding = carry
        part = jax.tree.map(lambda x: x[index], chunks)
        log_probs, losses, hits = _chunk(weights, part, allowed)
        d_logits = jnp.where(part.writers[:, None] >= 0, jnp.exp(log_probs) - hits, 0.0)
        d_logits = d_logits.astype(weights.dtype)
        d_part = jax.lax.psum(jnp.matmul(d_logits, weights), "tensor")
        d_embedding += jnp.matmul(d_logits.T, part.hidden, preferred_element_type=jnp.float32)
        return total + jnp.sum(losses), d_hidden.at[index].set(d_part), d_embedding

    zeros = jnp.zeros(embedding.shape, jnp.float32)
    start = (jnp.float32(0.0), jnp.zeros_like(chunks.hidden), zeros)
    total, d_hidden, d_embedding = jax.lax.fori_loop(0, used, body, start)
    d_embedding = jax.lax.psum_scatter(d_embedding, "fsdp", scatter_dimension=1, tiled=True)
    d_embedding = jax.lax.psum(d_embedding, "data")
    return jax.lax.psum(total, _DEVICE_ROWS), _join(d_hidden, tokens), d_embedding


def _losses_only(chunk, embedding, tokens, allowed):
    chunks, used = _split(chunk, tokens)
    weights = embedding.astype(tokens.hidden.dtype)

    def body(index, carry):
        all_losses, all_right = carry
        part = jax.tree.map(lambda x: x[index], chunks)
        log_probs, losses, _ = _chunk(weights, part, allowed)
        best = jax.lax.pmax(jnp.max(log_probs, axis=-1), "tensor")
        right = (-losses >= best) | (part.writers < 0)
        return all_losses.at[index].set(losses), all_right.at[index].set(right)

    shape = chunks.targets.shape
    start = (jnp.zeros(shape, jnp.float32), jnp.ones(shape, bool))
    losses, right = jax.lax.fori_loop(0, used, body, start)
    return _join(losses, tokens), _join(right, tokens)


def _chunk(weights, part, allowed):
    """Of n loss tokens and v words of this device: log-probabilities float32 [n, v],
    nats float32 [n] (0 in unused slots), bool [n, v] where the word is the target."""
    logits = jnp.matmul(part.hidden, weights.T, preferred_element_type=jnp.float32)
    # Writer -1 reads the last role's line; its result is thrown away.
    logits = jnp.where(allowed[part.writers], logits, jnp.finfo(jnp.float32).min)
    highest = jax.lax.pmax(jnp.max(logits, axis=-1), "tensor")
    total = jax.lax.psum(jnp.sum(jnp.exp(logits - highest[:, None]), axis=-1), "tensor")
    log_probs = logits - (highest + jnp.log(total))[:, None]
    first = jax.lax.axis_index("tensor") * weights.shape[0]
    hits = (first + jnp.arange(weights.shape[0]))[None] == part.targets[:, None]
    chosen = jax.lax.psum(jnp.sum(log_probs, axis=-1, where=hits), "tensor")
    return log_probs, jnp.where(part.writers >= 0, -chosen, 0.0), hits


def _split(chunk: int, tokens: LossTokens) -> tuple[LossTokens, jax.Array]:
    """Chunks [number, B * C, ...] of the slots, and how many of them hold any loss token.

    With B = 2, K = 5 and chunk = 4: C = 2, so slots 0 1 | 2 3 | 4 and one of padding.
    """
    rows, slots = tokens.targets.shape
    size = max(1, min(slots, chunk // rows))
    number = -(-slots // size)

    def split(x, fill):
        padding = ((0, 0), (0, number * size - slots)) + ((0, 0),) * (x.ndim - 2)
        x = jnp.pad(x, padding, constant_values=fill)
        x = x.reshape(rows, number, size, *x.shape[2:]).swapaxes(0, 1)
        return x.reshape(number, rows * size, *x.shape[3:])

    longest = jnp.max(jnp.sum(tokens.writers >= 0, axis=1))
    chunks = LossTokens(
        split(tokens.hidden, 0), split(tokens.targets, 0), split(tokens.writers, -1)
    )
    return chunks, -(-longest // size)


def _join(x: jax.Array, tokens: LossTokens) -> jax.Array:
    """The inverse of `_split`: [number, B * C, ...] to [B, K, ...]."""
    rows, slots = tokens.targets.shape
    x = x.reshape(x.shape[0], rows, -1, *x.shape[2:]).swapaxes(0, 1)
    return x.reshape(rows, -1, *x.shape[3:])[:, :slots]
