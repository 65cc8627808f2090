"""The Llama family in Flax Linen: Llama 2 and 3, SmolLM2, Mistral, Qwen 2, 2.5 and 3.

Shapes: B batch, T tokens, S cache length, N query heads, K key-value heads, H head dim, D embed,
V vocabulary (padded). Query head n reads key-value head n // (N / K). The members differ in
fields of `LlamaConfig`. Parameter names follow the Hugging Face checkpoint: embed_tokens
layers_0/{input_layernorm, self_attn/{q_proj, k_proj, v_proj, o_proj, q_norm, k_norm},
post_attention_layernorm, mlp/{gate_proj, up_proj, down_proj}} norm lm_head. Kernels are
[inputs, outputs]; in those of attention the heads are an axis, so that sharding the heads needs no
communication.
"""

import dataclasses
import functools
import pathlib
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.errors import UserError
from distill_jax.model import attention, cache_attention, llama_hugging_face
from distill_jax.model.affine import Affine
from distill_jax.model.hugging_face_files import Tensor
from distill_jax.model.layers import Mix, dropout, normal, words
from distill_jax.model.network import Cache, Divided
from distill_jax.model.rope import Llama3Scaling, angles, inverse_frequencies, rotate

MOST_CONTEXT = 4096  # tokens of a question and its dialogue

_NORMS = re.compile(r"norm/scale$")

# How parameters are laid out over the mesh, as for GPT-2.
PARTITION_RULES = (
    (r"(embed_tokens|lm_head)/embedding$", P("tensor", "fsdp")),
    (r"[qkv]_proj/kernel$", P("fsdp", "tensor", None)),
    (r"[qkv]_proj/bias$", P("tensor", None)),
    (r"o_proj/kernel$", P("tensor", None, "fsdp")),
    (r"(gate|up)_proj/kernel$", P("fsdp", "tensor")),
    (r"down_proj/kernel$", P("tensor", "fsdp")),
    (r"norm/scale$", P()),
)


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """The size of a student of the Llama family."""

    vocab_size: int
    positions: int  # of the published model; no table has this size
    layers: int
    heads: int
    width: int
    embedding_dropout: float = 0.0
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    _: dataclasses.KW_ONLY
    key_value_heads: int
    head_dim: int  # even; heads x head_dim may differ from the width
    hidden: int  # width of the gated MLP
    rope_theta: float
    rope_scaling: Llama3Scaling | None = None
    norm_epsilon: float
    tied: bool  # whether the head is the embedding
    qkv_bias: bool = False  # Qwen 2 and 2.5
    qk_norm: bool = False  # Qwen 3

    def __post_init__(self):
        if isinstance(self.rope_scaling, dict):  # as read from training_data.json
            object.__setattr__(self, "rope_scaling", Llama3Scaling(**self.rope_scaling))
        sizes = (self.positions, self.layers, self.key_value_heads, self.width, self.hidden)
        if min(sizes) < 1 or self.heads % self.key_value_heads or self.head_dim % 2:
            raise UserError(
                f"a student of layers={self.layers} heads={self.heads} "
                f"key_value_heads={self.key_value_heads} head_dim={self.head_dim} "
                f"width={self.width} hidden={self.hidden} positions={self.positions} cannot be "
                "built: all must be at least 1, key_value_heads must divide heads, and head_dim be "
                "even"
            )
        rates = (self.embedding_dropout, self.attention_dropout, self.residual_dropout)
        if not all(0.0 <= rate < 1.0 for rate in rates):
            raise UserError(f"dropout rates {rates} (config.model.<student>): 0 <= rate < 1")

    @property
    def context(self) -> int:
        """Limited, because published contexts of up to 131,072 would make caches very large."""
        return min(self.positions, MOST_CONTEXT)

    @property
    def model_type(self) -> str:
        """Mistral computes what Llama does."""
        return "qwen3" if self.qk_norm else "qwen2" if self.qkv_bias else "llama"

    @property
    def block_weights(self) -> int:
        """Per layer D H (2 N + 2 K) of attention and 3 D of each number of the MLP's width."""
        heads = self.head_dim * 2 * (self.heads + self.key_value_heads)
        return self.layers * self.width * (heads + 3 * self.hidden)

    @property
    def looked_up_weights(self) -> int:
        """The embedding, unless it is the head too."""
        return 0 if self.tied else self.vocab_size * self.width

    @property
    def divided(self) -> tuple[Divided, ...]:
        heads = (self.heads, self.key_value_heads)
        return (
            Divided("width", (self.width,), "fsdp"),
            Divided("heads and key-value heads", heads, "tensor"),
            Divided("width of the MLP", (self.hidden,), "tensor"),
        )

    @property
    def partition_rules(self):
        return PARTITION_RULES

    @property
    def float32_parameters(self) -> re.Pattern[str]:
        """RMSNorms, because they are small, and their statistics are float32."""
        return _NORMS

    def module(
        self,
        dtype: Any = jnp.float32,
        *,
        kernel: str = "xla",
        remat: bool = False,
        layout: P | None = None,
        keep_cache: bool = False,
    ) -> nn.Module:
        return Llama(self, dtype, remat, kernel, layout, keep_cache)

    def head(self, params: Any) -> jax.Array:
        return params["embed_tokens" if self.tied else "lm_head"]["embedding"]

    @property
    def hugging_face_prefix(self) -> str:
        return llama_hugging_face.PREFIX

    @property
    def hugging_face_ignored(self) -> re.Pattern[str]:
        return llama_hugging_face.FREQUENCIES

    def hugging_face_layout(self) -> dict[str, Tensor]:
        return llama_hugging_face.tensor_layout(self)

    @classmethod
    def from_hugging_face(
        cls, config: dict[str, Any], path: pathlib.Path, where: str
    ) -> "LlamaConfig":
        """See `families.from_hugging_face`."""
        return cls(**llama_hugging_face.read_sizes(config, path, where))

    def hugging_face_config(self, **more: Any) -> dict[str, Any]:
        return llama_hugging_face.config_json(self.model_type, dataclasses.asdict(self), more)


class Llama(nn.Module):
    """The network up to the last RMSNorm; for arguments and results see `network.NetworkConfig`."""

    config: LlamaConfig
    dtype: Any = jnp.float32
    remat: bool = False
    kernel: str = "xla"
    layout: P | None = None
    keep_cache: bool = False

    @nn.compact
    def __call__(
        self, tokens, positions, segments=None, cache: Cache | None = None, mix: Mix | None = None
    ):
        config = self.config
        sizes = (config.vocab_size, config.width)
        table = nn.Embed(*sizes, embedding_init=normal(), name="embed_tokens").embedding
        if not config.tied:
            _ = nn.Embed(*sizes, embedding_init=normal(), name="lm_head").embedding  # of `head`
        # Looked up in float32 and cast afterwards, so that its gradients are summed in float32.
        x = words(table, tokens, mix, self.layout).astype(self.dtype)
        x = dropout(self, config.embedding_dropout, x)
        frequencies = inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
        turns = angles(positions, frequencies)
        block = nn.remat(Block) if self.remat and cache is None else Block
        new_cache = []
        for layer in range(config.layers):
            x, layer_cache = block(
                config, self.dtype, self.kernel, self.keep_cache, name=f"layers_{layer}"
            )(x, turns, positions, segments, None if cache is None else cache[layer])
            new_cache.append(layer_cache)
        x = RMSNorm(config.norm_epsilon, self.dtype, name="norm")(x)
        return x, None if cache is None and not self.keep_cache else tuple(new_cache)


class Block(nn.Module):
    """A transformer block with RMSNorm before each part."""

    config: LlamaConfig
    dtype: Any
    kernel: str
    keep_cache: bool

    @nn.compact
    def __call__(self, x, turns, positions, segments, cache):
        config = self.config
        norm = RMSNorm(config.norm_epsilon, self.dtype, name="input_layernorm")(x)
        attended, cache = Attention(
            config, self.dtype, self.kernel, self.keep_cache, name="self_attn"
        )(norm, turns, positions, segments, cache)
        x = x + dropout(self, config.residual_dropout, attended)
        norm = RMSNorm(config.norm_epsilon, self.dtype, name="post_attention_layernorm")(x)
        out = MLP(config, self.dtype, name="mlp")(norm)
        return x + dropout(self, config.residual_dropout, out), cache


class Attention(nn.Module):
    """Grouped-query attention; with a cache, keys and values are written at `positions` first."""

    config: LlamaConfig
    dtype: Any
    kernel: str
    keep_cache: bool

    @nn.compact
    def __call__(self, x, turns, positions, segments, cache):
        config = self.config

        def project(name: str, heads: int):
            features = (heads, config.head_dim)
            return Affine(1, features, self.dtype, normal(), config.qkv_bias, name=name)(x)

        q = project("q_proj", config.heads)  # [B, T, N, H]
        k = project("k_proj", config.key_value_heads)  # [B, T, K, H]
        v = project("v_proj", config.key_value_heads)
        if config.qk_norm:
            q = RMSNorm(config.norm_epsilon, self.dtype, name="q_norm")(q)
            k = RMSNorm(config.norm_epsilon, self.dtype, name="k_norm")(k)
        q, k = rotate(q, turns), rotate(k, turns)
        if cache is None:
            drop = config.attention_dropout > 0 and self.has_rng("dropout")
            key = self.make_rng("dropout") if drop else None
            x = attention.attend(self.kernel, q, k, v, segments, config.attention_dropout, key)
            if self.keep_cache:
                cache = {"k": k.swapaxes(1, 2), "v": v.swapaxes(1, 2)}
        else:
            x, cache = cache_attention.attend_cache(self.kernel, q, k, v, cache, positions)
        out = Affine(2, (config.width,), self.dtype, normal(), bias=False, name="o_proj")(x)
        return out, cache


class MLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    config: LlamaConfig
    dtype: Any

    @nn.compact
    def __call__(self, x):
        project = functools.partial(Affine, 1, dtype=self.dtype, kernel_init=normal(), bias=False)
        gate = project((self.config.hidden,), name="gate_proj")(x)
        up = project((self.config.hidden,), name="up_proj")(x)
        return project((self.config.width,), name="down_proj")(_gated(gate, up))


@jax.checkpoint
def _gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    return nn.silu(gate) * up


class RMSNorm(nn.Module):
    """x / sqrt(mean x^2 + epsilon) over the last axis in float32, cast, then times the scale."""

    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        # The product in float32, so that the scale's gradient is summed in it.
        return (x.astype(self.dtype).astype(jnp.float32) * scale).astype(self.dtype)
