"""GPT-2 in Flax Linen, with the cache as an argument and a return value.

Shapes: B batch, T tokens, S cache length, N heads, H head dim, D embed, V vocabulary (padded).
Parameter names follow the Hugging Face checkpoint: wte wpe h_0/{ln_1, attn/{c_attn, c_proj},
ln_2, mlp/{c_fc, c_proj}} ln_f. `c_attn` is held as [D, 3, N, H], so that sharding the heads needs
no communication. Parameters are float32; `GPT2.dtype` is what is computed in.
"""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.errors import UserError
from distill_jax.model import attention, cache_attention
from distill_jax.model.affine import Affine

LAYER_NORM_EPSILON = 1e-5  # flax's default is 1e-6

# Per layer {"k", "v"}: [B, N, S, H]. Heads before slots: a head's keys lie side by side, so that
# attention reads them once and in order (12 times as fast on a CPU, docs/log.md). How they lie in a
# TPU's memory: cache_attention.attend_slots_last.
Cache = tuple[dict[str, jax.Array], ...]


@dataclasses.dataclass(frozen=True)
class GPT2Config:
    """The size of a student. `vocab_size` is padded to a multiple of 128 already."""

    vocab_size: int
    context: int  # learned positions
    layers: int
    heads: int
    width: int
    embedding_dropout: float = 0.0
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0

    def __post_init__(self):
        if min(self.context, self.layers, self.heads, self.width) < 1 or self.width % self.heads:
            raise UserError(
                f"a student of layers={self.layers} heads={self.heads} width={self.width} "
                f"context={self.context} cannot be built: all must be at least 1, and heads must "
                "divide width (config.model.<student>)"
            )
        rates = (self.embedding_dropout, self.attention_dropout, self.residual_dropout)
        if not all(0.0 <= rate < 1.0 for rate in rates):
            raise UserError(f"dropout rates {rates} (config.model.<student>): 0 <= rate < 1")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def dropout(self) -> bool:
        """Whether any site drops, so that training needs a key."""
        return max(self.embedding_dropout, self.attention_dropout, self.residual_dropout) > 0


class GPT2(nn.Module):
    """The network up to the last LayerNorm; `logits` is the tied head.

    __call__(tokens, positions, segments, cache):
      tokens     int32 [B, T]; with a cache T is 1
      positions  int32 [B, T]; with a cache also the slots that are written: the token then sees
                 the slots up to its own
      segments   int32 [B, T] or None; without a cache a token sees itself and what came before it
                 in its own segment (None: in its row)
      cache      a Cache, or None
    returns (hidden [B, T, D] of `dtype`, a Cache or None): the given cache with the new keys and
    values; without one, where `keep_cache` is set, those of all T tokens (S = T).

    Dropout acts where `apply` is given rngs={"dropout": key}. `remat` keeps only the input of a
    block for the backward pass and computes the rest again.
    """

    config: GPT2Config
    dtype: Any = jnp.float32
    remat: bool = False
    kernel: str = "xla"  # of attention; model/attention.py, with a cache model/cache_attention.py
    layout: P | None = None  # of activations [B, T, D]; None = what the compiler chooses
    keep_cache: bool = False

    @nn.compact
    def __call__(self, tokens, positions, segments=None, cache: Cache | None = None):
        config = self.config
        wte = nn.Embed(config.vocab_size, config.width, embedding_init=_normal(), name="wte")
        wpe = nn.Embed(config.context, config.width, embedding_init=_normal(0.01), name="wpe")
        # Looked up in float32 and cast then: so their gradients are summed in float32.
        words = _lookup(wte.embedding, tokens, P("tensor", None), self.layout)
        x = (words + _lookup(wpe.embedding, positions, P(), self.layout)).astype(self.dtype)
        x = _dropout(self, config.embedding_dropout, x)
        block = nn.remat(Block) if self.remat and cache is None else Block
        new_cache = []
        for layer in range(config.layers):
            x, layer_cache = block(
                config, self.dtype, self.kernel, self.keep_cache, name=f"h_{layer}"
            )(x, positions, segments, None if cache is None else cache[layer])
            new_cache.append(layer_cache)
        x = _layer_norm(self.dtype, "ln_f")(x)
        return x, None if cache is None and not self.keep_cache else tuple(new_cache)


class Block(nn.Module):
    """A transformer block with LayerNorm before each part."""

    config: GPT2Config
    dtype: Any
    kernel: str
    keep_cache: bool

    @nn.compact
    def __call__(self, x, positions, segments, cache):
        config = self.config
        norm = _layer_norm(self.dtype, "ln_1")(x)
        attended, cache = Attention(config, self.dtype, self.kernel, self.keep_cache, name="attn")(
            norm, positions, segments, cache
        )
        x = x + _dropout(self, config.residual_dropout, attended)
        norm = _layer_norm(self.dtype, "ln_2")(x)
        out = MLP(config, self.dtype, name="mlp")(norm)
        return x + _dropout(self, config.residual_dropout, out), cache


class Attention(nn.Module):
    """Multi-head attention; with a cache, keys and values are written at `positions` first."""

    config: GPT2Config
    dtype: Any
    kernel: str
    keep_cache: bool

    @nn.compact
    def __call__(self, x, positions, segments, cache):
        config = self.config
        features = (3, config.heads, config.head_dim)
        qkv = Affine(1, features, self.dtype, _normal(), name="c_attn")(x)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # [B, T, N, H]
        if cache is None:
            drop = config.attention_dropout > 0 and self.has_rng("dropout")
            key = self.make_rng("dropout") if drop else None
            x = attention.attend(self.kernel, q, k, v, segments, config.attention_dropout, key)
            if self.keep_cache:
                cache = {"k": k.swapaxes(1, 2), "v": v.swapaxes(1, 2)}
        else:
            q, k, v = q[:, 0], k[:, 0], v[:, 0]  # T is 1
            x, cache = cache_attention.attend_cache(self.kernel, q, k, v, cache, positions[:, 0])
            x = x[:, None]
        return Affine(2, (config.width,), self.dtype, _residual_init(config), name="c_proj")(
            x
        ), cache


class MLP(nn.Module):
    """Two affine maps with the tanh approximation of gelu in between."""

    config: GPT2Config
    dtype: Any

    @nn.compact
    def __call__(self, x):
        width = self.config.width
        x = Affine(1, (4 * width,), self.dtype, _normal(), name="c_fc")(x)
        x = jax.checkpoint(functools.partial(nn.gelu, approximate=True))(x)
        return Affine(1, (width,), self.dtype, _residual_init(self.config), name="c_proj")(x)


def logits(params: Any, hidden: jax.Array) -> jax.Array:
    """The tied head: float [..., D] to float32 [..., V], in hidden's dtype up to the sum."""
    embedding = params["wte"]["embedding"].astype(hidden.dtype)
    return jnp.matmul(hidden, embedding.T, preferred_element_type=jnp.float32)


def empty_cache(config: GPT2Config, rows: int, cache_len: int, dtype: Any = jnp.float32) -> Cache:
    """Zeros for `rows` rows of `cache_len` slots each."""
    shape = (rows, config.heads, cache_len, config.head_dim)
    return tuple(
        {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)} for _ in range(config.layers)
    )


def cache_bytes(config: GPT2Config, cache_len: int, dtype: Any) -> int:
    """Of one row."""
    return 2 * config.layers * config.width * cache_len * jnp.dtype(dtype).itemsize


def init_params(config: GPT2Config, key: jax.Array) -> Any:
    """Random parameters as GPT-2 initialises them (normal 0.02, positions 0.01)."""
    tokens = jnp.zeros((1, 1), jnp.int32)
    return GPT2(config).init(key, tokens, tokens)["params"]


def parameter_count(config: GPT2Config) -> int:
    """Trained numbers, the padding of the vocabulary included."""
    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _lookup(table: jax.Array, ids: jax.Array, table_layout: P, layout: P | None) -> jax.Array:
    """Rows of a table. Left alone, the compiler splits the result as the table is split, by width,
    and moves data in every layer to undo it."""
    if layout is None:
        return jnp.take(table, ids, axis=0)
    table = jax.lax.with_sharding_constraint(table, table_layout)
    return jax.lax.with_sharding_constraint(jnp.take(table, ids, axis=0), layout)


def _layer_norm(dtype, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, dtype=dtype, name=name)  # statistics: float32


def _dropout(module: nn.Module, rate: float, x: jax.Array) -> jax.Array:
    """x with numbers set to 0 at `rate` and the others scaled up, where there is a key."""
    if rate == 0.0 or not module.has_rng("dropout"):
        return x
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1.0 - rate, x.shape)
    return jnp.where(kept, x / (1.0 - rate), 0.0).astype(x.dtype)


def _residual_init(config: GPT2Config):
    # Residual projections start smaller, as in GPT-2: their sum over layers keeps its size.
    return _normal(0.02 * (2 * config.layers) ** -0.5)


def _normal(stddev: float = 0.02):
    return nn.initializers.normal(stddev)
