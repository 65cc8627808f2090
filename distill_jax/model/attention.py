"""Causal attention without a cache, by the best kernel that the platform has.

Shapes: B batch, T tokens, N query heads, K key-value heads (query head n reads n // (N / K)),
H head dim. Every kernel takes q [B, T, N, H], k and v [B, T, K, H] and `segments` int32 [B, T] or
None; a token sees itself and the tokens before it in its own segment (None: in its row). Kernels
differ only in their speed and in what they support:

    xla      any platform, any dtype, dropout; memory grows with 128 x T, not with T x T
    cudnn    NVIDIA, bfloat16; a packed row becomes an additive T x T bias
    triton   NVIDIA, segments inside the kernel (jax.experimental.pallas.ops.gpu)
    splash   TPU, segments inside the kernel (jax.experimental.pallas.ops.tpu)
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.errors import UserError

KERNELS = ("xla", "cudnn", "triton", "splash")
PLATFORMS = {"cudnn": "gpu", "triton": "gpu", "splash": "tpu"}
QUERY_BLOCK = 128  # tokens; measured on a CPU, docs/log.md

# The compiler cannot partition Pallas kernels, so each device calls them for its own heads and
# rows.
_HEADS, _ROWS = P(("data", "fsdp"), None, "tensor", None), P(("data", "fsdp"))


def choose_kernel(
    wanted: str, platform: str, *, dtype: str, seq_len: int, head_dim: int, dropout: float
) -> tuple[str, str]:
    """(kernel, why) for training rows of `seq_len` tokens on "cpu", "gpu" or "tpu".

    `wanted` is config.train.attention: "auto", or a kernel's name. Raises UserError if that
    kernel cannot do what is asked.
    """
    if wanted not in ("auto", *KERNELS):
        raise UserError(f"config.train.attention={wanted!r}: choose auto, {', '.join(KERNELS)}")
    best = {"gpu": "cudnn", "tpu": "splash"}.get(platform, "xla")
    kernel = best if wanted == "auto" else wanted
    if kernel == "xla":
        return kernel, f"the one for {platform}" if wanted == "auto" else "config.train.attention"
    lacks = []
    if PLATFORMS[kernel] != platform:
        lacks.append(f"runs on {PLATFORMS[kernel]}, not {platform}")
    if dropout > 0:
        lacks.append("has no dropout of attention weights")
    if kernel == "cudnn" and dtype != "bfloat16":
        lacks.append(f"takes bfloat16, not {dtype}")
    if kernel in ("splash", "triton") and seq_len % 128:
        lacks.append(f"takes rows of a multiple of 128 tokens, not {seq_len}")
    if kernel == "splash" and head_dim % 64:
        lacks.append(f"takes heads of a multiple of 64, not {head_dim}")
    if lacks and wanted != "auto":
        raise UserError(f"config.train.attention={kernel}: it {', and '.join(lacks)}")
    if lacks:
        return "xla", f"{kernel} {', and '.join(lacks)}"
    return kernel, f"the best for {platform}" if wanted == "auto" else "config.train.attention"


def attend(
    kernel: str,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segments: jax.Array | None,
    dropout: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """[B, T, N, H] of q's dtype. If there is a key, weights are dropped (only by `xla`)."""
    if kernel == "xla":
        return _xla(q, k, v, segments, dropout, dropout_key)
    assert dropout_key is None or dropout == 0.0, f"{kernel} has no dropout"
    if kernel == "cudnn":
        same = None if segments is None else _same_segment(segments, segments)[:, None]
        return jax.nn.dot_product_attention(
            q, k, v, mask=same, is_causal=True, implementation="cudnn"
        )
    if segments is None:
        segments = jnp.zeros(q.shape[:2], jnp.int32)
    body = _triton if kernel == "triton" else _splash
    manual = jax.shard_map(
        body, in_specs=(_HEADS, _HEADS, _HEADS, _ROWS), out_specs=_HEADS, check_vma=False
    )
    return manual(q, k, v, segments)


def _same_segment(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """bool [B, T, S] of int32 [B, T] and [B, S]."""
    return queries[:, :, None] == keys[:, None, :]


def _xla(q, k, v, segments, dropout, dropout_key):
    """One block of queries after another, each with the keys up to its own end.

    The weights of a block are computed again in the backward pass, because reading them from memory
    takes longer on a CPU. So [T, T] weights never exist.
    """
    length = q.shape[1]
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # [B, N, T, H], [B, K, T, H]
    group = q.shape[1] // k.shape[1]
    blocks = []
    for number, start in enumerate(range(0, length, QUERY_BLOCK)):
        stop = min(start + QUERY_BLOCK, length)
        mask = (jnp.arange(start, stop)[:, None] >= jnp.arange(stop))[None]
        if segments is not None:
            mask &= _same_segment(segments[:, start:stop], segments[:, :stop])
        key = None if dropout_key is None else jax.random.fold_in(dropout_key, number)
        block = functools.partial(_block, dropout=dropout)
        if length > QUERY_BLOCK:
            block = jax.checkpoint(block)
        queries, mask = q[:, :, start:stop], mask[:, None]
        if group > 1:  # heads that read the same keys are adjacent
            queries = queries.reshape(*k.shape[:2], -1, q.shape[3])
            mask = jnp.tile(mask, (1, 1, group, 1))
        out = block(queries, k[:, :, :stop], v[:, :, :stop], mask, key)
        blocks.append(out.reshape(*q.shape[:2], -1, q.shape[3]) if group > 1 else out)
    joined = blocks[0] if len(blocks) == 1 else jnp.concatenate(blocks, axis=2)
    return joined.swapaxes(1, 2)


def _block(q, k, v, mask, key, *, dropout):
    """Attention of some queries [B, K, t, H] to keys [B, K, S, H]; softmax in float32."""
    scores = jnp.einsum("BNTH,BNSH->BNTS", q, k, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores * q.shape[-1] ** -0.5, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1)
    if key is not None and dropout > 0:
        kept = jax.random.bernoulli(key, 1.0 - dropout, weights.shape)
        weights = jnp.where(kept, weights / (1.0 - dropout), 0.0)
    return jnp.einsum("BNTS,BNSH->BNTH", weights.astype(v.dtype), v)


def _repeated(x: jax.Array, q: jax.Array) -> jax.Array:
    """[B, T, K, H] as [B, T, N, H], for kernels that want a key-value head for every query head."""
    group = q.shape[2] // x.shape[2]
    return x if group == 1 else jnp.repeat(x, group, axis=2)


def _triton(q, k, v, segments):
    from jax.experimental.pallas.ops.gpu import attention as gpu_attention

    k, v = _repeated(k, q), _repeated(v, q)
    sizes = gpu_attention.BlockSizes.get_default()
    return gpu_attention.mha(
        q, k, v, segments, sm_scale=q.shape[-1] ** -0.5, causal=True, block_sizes=sizes
    )


def _splash(q, k, v, segments):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    k, v = _repeated(k, q), _repeated(v, q)
    length, heads = q.shape[1], q.shape[2]
    mask = masks.MultiHeadMask([masks.CausalMask((length, length))] * heads)
    kernel = splash.make_splash_mha(mask, head_shards=1, q_seq_shards=1)
    q, k, v = (x.swapaxes(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
    out: Any = jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, segments))
    return out.swapaxes(1, 2)
