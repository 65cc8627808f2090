"""The loss tokens of a device, moved together and used C at a time, so [B, T, V] never exists.

Shapes: B rows of a device, T tokens, K loss slots per row, D embed, V vocabulary (padded), v the
words of a device (V split over `tensor`), R roles, C tokens of a chunk. Two rows with loss tokens
a b c and d, and chunks of 2:

    slots        a b c . | d . . .
    compact      a b | c d | . . | . .     only the first two chunks are computed

All functions except `each_device` are called inside a `jax.shard_map` over the mesh.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.model.affine import contracted

# How arguments and results are laid out over the mesh.
ROWS = P(("data", "fsdp"))  # [B, ...]
VOCABULARY = P("tensor", None)  # the head [V, D]
ALLOWED = P(None, "tensor")  # [R, V]
D_VOCABULARY = P("tensor", "fsdp")  # the head's gradient


class LossTokens(NamedTuple):
    """The network's outputs, and the positions of its loss; an unused slot's writer is -1."""

    hidden: jax.Array  # [B, T, D] the network's output
    positions: jax.Array  # int32 [B, K] positions in T before a loss token, each used once
    targets: jax.Array  # int32 [B, K] that token
    writers: jax.Array  # int32 [B, K] index of the role that wrote it


class Chunks(NamedTuple):
    """The loss tokens of a device, moved together; the first `used` chunks have some."""

    hidden: jax.Array  # [number, C, D]
    targets: jax.Array  # int32 [number, C]
    writers: jax.Array  # int32 [number, C], -1 after the last one
    source: jax.Array  # int32 [number, C] index into B * T, B * T after the last one
    slot: jax.Array  # int32 [B * K] the place of each slot in number * C; unused ones: out of range
    used: jax.Array  # int32 []

    def move(self, values: jax.Array) -> jax.Array:
        """[B, K] of slots to [number, C]; 0 after the last one."""
        return _move(values, self.slot, self.targets.shape, 0)

    def move_back(self, values: jax.Array, fill: float | bool) -> jax.Array:
        """[number, C] to [B * K] of slots; unused slots get `fill`."""
        return values.ravel().at[self.slot].get(mode="fill", fill_value=fill)


def compact(chunk: int, tokens: LossTokens) -> Chunks:
    """Move the used slots of this device's rows together, in order."""
    rows, slots = tokens.targets.shape
    length, width = tokens.hidden.shape[1:]
    size = min(chunk, rows * slots)
    number = -(-rows * slots // size)
    used = tokens.writers.ravel() >= 0
    slot = jnp.where(used, jnp.cumsum(used) - 1, number * size)
    shape = (number, size)
    from_start = tokens.positions + jnp.arange(rows)[:, None] * length
    source = _move(from_start, slot, shape, rows * length)
    hidden = tokens.hidden.reshape(-1, width).at[source].get(mode="fill", fill_value=0)
    return Chunks(
        hidden,
        _move(tokens.targets, slot, shape, 0),
        _move(tokens.writers, slot, shape, -1),
        source,
        slot,
        -(-jnp.sum(used) // size),
    )


def _move(values, slot, shape, fill):
    out = jnp.full((shape[0] * shape[1],), fill, values.dtype)
    return out.at[slot].set(values.ravel(), mode="drop").reshape(shape)


def log_softmax(values: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-probabilities float32 [C, v] of logits [C, v], over the words of all devices.

    `allowed` is bool [C, v]; other words have probability 0, but a finite log-probability.
    """
    values = jnp.where(allowed, values, jnp.finfo(jnp.float32).min)
    highest = jax.lax.pmax(jnp.max(values, axis=-1), "tensor")
    total = jax.lax.psum(jnp.sum(jnp.exp(values - highest[:, None]), axis=-1), "tensor")
    return values - (highest + jnp.log(total))[:, None]


def hits(targets: jax.Array, words: int) -> jax.Array:
    """bool [C, v]: whether a word of this device, which holds `words` of them, is the target."""
    first = jax.lax.axis_index("tensor") * words
    return (first + jnp.arange(words))[None] == targets[:, None]


def sum_with_gradients(
    term: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    chunks: Chunks,
    embedding: jax.Array,
    hidden: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Add up a term of the loss over all tokens of all devices, with its gradients.

    term       index of a chunk -> (values float32 [C], derivatives of their sum by the logits
               float32 [C, v]); both 0 after the last loss token
    embedding  float32 [v, D], the head
    hidden     [B, T, D]

    Returns (sum float32 [], its derivatives by `hidden` and, summed over devices, by `embedding`).
    After the logits of a chunk, both products of the backward pass are computed at once, so nothing
    is computed twice. The idea is from Liger Kernel's fused linear cross entropy
    (https://arxiv.org/abs/2410.10989, section 3.2).
    """
    head = embedding.astype(hidden.dtype)

    def body(index, carry):
        total, d_hidden, d_embedding = carry
        values, d_logits = term(index)
        d_logits = d_logits.astype(head.dtype)
        d_part = jax.lax.psum(contracted(d_logits, head, ((1,), (0,))), "tensor")
        d_hidden = d_hidden.at[chunks.source[index]].set(d_part, mode="drop")
        d_embedding += jnp.matmul(
            d_logits.T, chunks.hidden[index], preferred_element_type=jnp.float32
        )
        return total + jnp.sum(values), d_hidden, d_embedding

    flat = hidden.reshape(-1, hidden.shape[-1])
    zeros = jnp.zeros(embedding.shape, jnp.float32)
    start = (jnp.float32(0.0), jnp.zeros_like(flat), zeros)
    total, d_hidden, d_embedding = jax.lax.fori_loop(0, chunks.used, body, start)
    d_embedding = jax.lax.psum_scatter(d_embedding, "fsdp", scatter_dimension=1, tiled=True)
    d_embedding = jax.lax.psum(d_embedding, "data")
    return jax.lax.psum(total, ("data", "fsdp")), d_hidden.reshape(hidden.shape), d_embedding


def each_device(body: Callable, in_specs, out_specs) -> Callable:
    """`body` as a function of global arrays; each device runs it on its part."""
    return jax.shard_map(body, in_specs=in_specs, out_specs=out_specs, check_vma=False)
