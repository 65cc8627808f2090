"""GPT-2 in Flax Linen, with the cache as an argument and a return value.

Shapes: B batch, T tokens, S cache length, N heads, H head dim, D embed, V vocabulary (padded).
Parameter names follow the Hugging Face checkpoint: wte wpe h_0/{ln_1, attn/{c_attn, c_proj},
ln_2, mlp/{c_fc, c_proj}} ln_f. `c_attn` is [D, 3, N, H], so that sharding the heads needs no
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
from distill_jax.model import attention, cache_attention, gpt2_hugging_face
from distill_jax.model.affine import Affine
from distill_jax.model.hugging_face_files import Tensor
from distill_jax.model.layers import Mix, dropout, lookup, normal, words
from distill_jax.model.network import Cache, Divided

_NORMS = re.compile(r"(^|/)ln_")

# How parameters are laid out over the mesh. Attention is split by heads, the MLP by its hidden
# width, the vocabulary by rows, so that each block needs one sum over `tensor` per part; `fsdp`
# splits what is left.
PARTITION_RULES = (
    (r"wte/embedding$", P("tensor", "fsdp")),
    (r"wpe/embedding$", P(None, "fsdp")),
    (r"attn/c_attn/kernel$", P("fsdp", None, "tensor", None)),
    (r"attn/c_attn/bias$", P(None, "tensor", None)),
    (r"attn/c_proj/kernel$", P("tensor", None, "fsdp")),
    (r"mlp/c_fc/kernel$", P("fsdp", "tensor")),
    (r"mlp/c_fc/bias$", P("tensor")),
    (r"mlp/c_proj/kernel$", P("tensor", "fsdp")),
    (r"(ln_1|ln_2|ln_f)/(scale|bias)$", P()),
    (r"c_proj/bias$", P()),
)


@dataclasses.dataclass(frozen=True)
class GPT2Config:
    """The size of a student. `vocab_size` is already padded to a multiple of 128."""

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
    def model_type(self) -> str:
        return "gpt2"

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def key_value_heads(self) -> int:
        return self.heads

    @property
    def block_weights(self) -> int:
        """12 D^2 per layer: c_attn 3 D^2, c_proj D^2, c_fc 4 D^2, c_proj 4 D^2."""
        return self.layers * 12 * self.width**2

    @property
    def looked_up_weights(self) -> int:
        """The table of positions. The table of words is also the head, and is read whole."""
        return self.context * self.width

    @property
    def divided(self) -> tuple[Divided, ...]:
        return Divided("width", (self.width,), "fsdp"), Divided("heads", (self.heads,), "tensor")

    @property
    def partition_rules(self):
        return PARTITION_RULES

    @property
    def float32_parameters(self) -> re.Pattern[str]:
        """LayerNorms, because they are small, and their statistics are float32."""
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
        return GPT2(self, dtype, remat, kernel, layout, keep_cache)

    def head(self, params: Any) -> jax.Array:
        """Tied: the embedding."""
        return params["wte"]["embedding"]

    @property
    def hugging_face_prefix(self) -> str:
        return gpt2_hugging_face.PREFIX

    @property
    def hugging_face_ignored(self) -> re.Pattern[str]:
        return gpt2_hugging_face.MASKS

    def hugging_face_layout(self) -> dict[str, Tensor]:
        return gpt2_hugging_face.tensor_layout(
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            context=self.context,
            vocab_size=self.vocab_size,
        )

    @classmethod
    def from_hugging_face(
        cls, config: dict[str, Any], path: pathlib.Path, where: str
    ) -> "GPT2Config":
        """See `families.from_hugging_face`."""
        return cls(**gpt2_hugging_face.read_sizes(config, path, where))

    def hugging_face_config(self, **more: Any) -> dict[str, Any]:
        import transformers

        return transformers.GPT2Config(
            architectures=["GPT2LMHeadModel"],
            vocab_size=self.vocab_size,
            n_positions=self.context,
            n_embd=self.width,
            n_layer=self.layers,
            n_head=self.heads,
            activation_function="gelu_new",
            layer_norm_epsilon=gpt2_hugging_face.EPSILON,
            embd_pdrop=self.embedding_dropout,
            attn_pdrop=self.attention_dropout,
            resid_pdrop=self.residual_dropout,
            **more,
        ).to_diff_dict()


class GPT2(nn.Module):
    """The network up to the last LayerNorm; for arguments and results see
    `network.NetworkConfig`."""

    config: GPT2Config
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
        wte = nn.Embed(config.vocab_size, config.width, embedding_init=normal(), name="wte")
        wpe = nn.Embed(config.context, config.width, embedding_init=normal(0.01), name="wpe")
        # Looked up in float32 and cast afterwards, so that their gradients are summed in float32.
        x = words(wte.embedding, tokens, mix, self.layout)
        x = (x + lookup(wpe.embedding, positions, P(), self.layout)).astype(self.dtype)
        x = dropout(self, config.embedding_dropout, x)
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
        x = x + dropout(self, config.residual_dropout, attended)
        norm = _layer_norm(self.dtype, "ln_2")(x)
        out = MLP(config, self.dtype, name="mlp")(norm)
        return x + dropout(self, config.residual_dropout, out), cache


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
        qkv = Affine(1, features, self.dtype, normal(), name="c_attn")(x)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # [B, T, N, H]
        if cache is None:
            drop = config.attention_dropout > 0 and self.has_rng("dropout")
            key = self.make_rng("dropout") if drop else None
            x = attention.attend(self.kernel, q, k, v, segments, config.attention_dropout, key)
            if self.keep_cache:
                cache = {"k": k.swapaxes(1, 2), "v": v.swapaxes(1, 2)}
        else:
            x, cache = cache_attention.attend_cache(self.kernel, q, k, v, cache, positions)
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
        x = Affine(1, (4 * width,), self.dtype, normal(), name="c_fc")(x)
        x = jax.checkpoint(functools.partial(nn.gelu, approximate=True))(x)
        return Affine(1, (width,), self.dtype, _residual_init(self.config), name="c_proj")(x)


def _layer_norm(dtype, name: str) -> nn.LayerNorm:
    # Statistics are float32.
    return nn.LayerNorm(epsilon=gpt2_hugging_face.EPSILON, dtype=dtype, name=name)


def _residual_init(config: GPT2Config):
    # Residual projections start smaller, as in GPT-2: their sum over layers keeps its size.
    return normal(0.02 * (2 * config.layers) ** -0.5)
