"""GPT-2 in Flax Linen, with the cache as an argument and a return value.

Shapes: B batch, T tokens, S cache length, N heads, H head dim, D embed, V vocabulary (padded).
Parameter names follow the Hugging Face checkpoint: wte wpe h_0/{ln_1, attn/{c_attn, c_proj},
ln_2, mlp/{c_fc, c_proj}} ln_f. `c_attn` is held as [D, 3, N, H], so that sharding the heads needs
no communication.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from distill_jax.errors import UserError

LAYER_NORM_EPSILON = 1e-5  # flax's default is 1e-6

Cache = tuple[dict[str, jax.Array], ...]  # per layer {"k", "v"}: [B, S, N, H]


@dataclasses.dataclass(frozen=True)
class GPT2Config:
    """The size of a student. `vocab_size` is padded to a multiple of 128 already."""

    vocab_size: int
    context: int  # learned positions
    layers: int
    heads: int
    width: int

    def __post_init__(self):
        if min(self.context, self.layers, self.heads, self.width) < 1 or self.width % self.heads:
            raise UserError(
                f"a student of layers={self.layers} heads={self.heads} width={self.width} "
                f"context={self.context} cannot be built: all must be at least 1, and heads must "
                "divide width (config.model.<student>)"
            )

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


class Attention(nn.Module):
    """Multi-head attention; with a cache, keys and values are written at `positions` first."""

    config: GPT2Config

    @nn.compact
    def __call__(self, x, positions, attention_mask, cache):
        config = self.config
        features = (3, config.heads, config.head_dim)
        qkv = nn.DenseGeneral(features, kernel_init=_normal(), name="c_attn")(x)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # [B, T, N, H]
        if cache is not None:
            rows = jnp.arange(x.shape[0])[:, None]
            k = cache["k"].at[rows, positions].set(k)
            v = cache["v"].at[rows, positions].set(v)
            cache = {"k": k, "v": v}
        scores = jnp.einsum("BTNH,BSNH->BNTS", q, k) * config.head_dim**-0.5
        scores = jnp.where(attention_mask[:, None], scores, jnp.finfo(scores.dtype).min)
        weights = jax.nn.softmax(scores, axis=-1)
        x = jnp.einsum("BNTS,BSNH->BTNH", weights, v)
        # Residual projections start smaller, as in GPT-2: their sum over layers keeps its size.
        init = _normal(0.02 * (2 * config.layers) ** -0.5)
        x = nn.DenseGeneral(config.width, axis=(-2, -1), kernel_init=init, name="c_proj")(x)
        return x, cache


class MLP(nn.Module):
    """Two dense layers with the tanh approximation of gelu in between."""

    config: GPT2Config

    @nn.compact
    def __call__(self, x):
        config = self.config
        x = nn.Dense(4 * config.width, kernel_init=_normal(), name="c_fc")(x)
        x = nn.gelu(x, approximate=True)
        init = _normal(0.02 * (2 * config.layers) ** -0.5)
        return nn.Dense(config.width, kernel_init=init, name="c_proj")(x)


class Block(nn.Module):
    """A transformer block with LayerNorm before each part."""

    config: GPT2Config

    @nn.compact
    def __call__(self, x, positions, attention_mask, cache):
        norm = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="ln_1")(x)
        attended, cache = Attention(self.config, name="attn")(
            norm, positions, attention_mask, cache
        )
        x = x + attended
        norm = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="ln_2")(x)
        return x + MLP(self.config, name="mlp")(norm), cache


class GPT2(nn.Module):
    """The network up to the last LayerNorm; `logits` is the tied head.

    __call__(tokens, positions, attention_mask, cache):
      tokens          int32 [B, T]
      positions       int32 [B, T]; with a cache also the slots that are written
      attention_mask  bool [B or 1, T, T], with a cache [B or 1, T, S]; True = may attend
      cache           a Cache, or None
    returns (hidden float32 [B, T, D], the cache with the new keys and values, or None).
    """

    config: GPT2Config

    @nn.compact
    def __call__(self, tokens, positions, attention_mask, cache: Cache | None = None):
        config = self.config
        wte = nn.Embed(config.vocab_size, config.width, embedding_init=_normal(), name="wte")
        wpe = nn.Embed(config.context, config.width, embedding_init=_normal(0.01), name="wpe")
        x = wte(tokens) + wpe(positions)
        new_cache = []
        for layer in range(config.layers):
            layer_cache = None if cache is None else cache[layer]
            x, layer_cache = Block(config, name=f"h_{layer}")(
                x, positions, attention_mask, layer_cache
            )
            new_cache.append(layer_cache)
        x = nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, name="ln_f")(x)
        return x, None if cache is None else tuple(new_cache)


def logits(params: Any, hidden: jax.Array) -> jax.Array:
    """The tied head: float32 [..., D] to float32 [..., V]."""
    return hidden @ params["wte"]["embedding"].T


def empty_cache(config: GPT2Config, rows: int, cache_len: int) -> Cache:
    """Zeros for `rows` rows of `cache_len` slots each."""
    shape = (rows, cache_len, config.heads, config.head_dim)
    return tuple(
        {"k": jnp.zeros(shape, jnp.float32), "v": jnp.zeros(shape, jnp.float32)}
        for _ in range(config.layers)
    )


def causal_mask(length: int) -> jax.Array:
    """bool [1, T, T]: each token sees itself and what came before it."""
    return jnp.tril(jnp.ones((1, length, length), bool))


def init_params(config: GPT2Config, key: jax.Array) -> Any:
    """Random parameters as GPT-2 initialises them (normal 0.02, positions 0.01)."""
    tokens = jnp.zeros((1, 1), jnp.int32)
    return GPT2(config).init(key, tokens, tokens, causal_mask(1))["params"]


def _normal(stddev: float = 0.02):
    return nn.initializers.normal(stddev)
