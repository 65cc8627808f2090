"""A student's network as the rest of the project sees it, whatever its family.

Shapes: B batch, T tokens, S cache length, K key-value heads, H head dim, D embed, V vocabulary
(padded). A family (`gpt2.py`) is a frozen dataclass of sizes that is a `NetworkConfig`, and the
Flax module that it builds. The functions below work for every family.
"""

import dataclasses
import math
from collections.abc import Sequence
from re import Pattern
from typing import Any, ClassVar, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from distill_jax.model.hugging_face_files import Tensor

# Per layer {"k", "v"}: [B, K, S, H]. Heads come before slots, so a head's keys are adjacent, and
# attention reads them once and in order (12 times as fast on a CPU, docs/log.md). For the layout in
# a TPU's memory see cache_attention.attend_slots_last.
Cache = tuple[dict[str, jax.Array], ...]


class Divided(NamedTuple):
    """Sizes that an axis of the mesh splits, and so must divide."""

    name: str  # name of the sizes, for a message
    sizes: tuple[int, ...]
    axis: str  # fsdp or tensor


class NetworkConfig(Protocol):
    """The size of a student. It is hashable, so that a program is compiled once for each size.

    The module that `module` builds computes, with dropout where `apply` is given
    rngs={"dropout": key},

    __call__(tokens, positions, segments=None, cache=None, mix=None):
      tokens     int32 [B, T]; with a cache T is at most the slots of a row
      positions  int32 [B, T]; with a cache also the slots that are written, one after another from
                 positions[:, 0] on: a token then sees the slots up to its own
      segments   int32 [B, T] or None; without a cache a token sees itself and what came before it
                 in its own segment (None: in its row)
      cache      a Cache, or None
      mix        tokens that are mixed into `tokens` (layers.Mix), or None
    returns (hidden [B, T, D] of `dtype`, a Cache or None): the given cache with the new keys and
    values; without one, if `keep_cache` is set, those of all T tokens (S = T).
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding: padded to a multiple of 128, except in a file's own size."""
        ...

    @property
    def context(self) -> int:
        """The most tokens of a row, or of a question and its dialogue."""
        ...

    @property
    def layers(self) -> int: ...

    @property
    def heads(self) -> int:
        """The number of query heads."""
        ...

    @property
    def key_value_heads(self) -> int:
        """The number of key-value heads, and so of the cache's heads; it divides `heads`."""
        ...

    @property
    def head_dim(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def embedding_dropout(self) -> float: ...

    @property
    def attention_dropout(self) -> float: ...

    @property
    def residual_dropout(self) -> float: ...

    @property
    def model_type(self) -> str:
        """The name of the family in Hugging Face's config.json and in training_data.json."""
        ...

    @property
    def block_weights(self) -> int:
        """Multiplications per token in the matrix products of all blocks, without attention."""
        ...

    @property
    def looked_up_weights(self) -> int:
        """Parameters in tables of which a decode step reads only one row per token."""
        ...

    @property
    def divided(self) -> tuple[Divided, ...]:
        """Sizes that the mesh must divide, besides rows and vocabulary."""
        ...

    @property
    def partition_rules(self) -> Sequence[tuple[str, PartitionSpec]]:
        """(regex of a parameter's path, how it is split over fsdp and tensor); the first counts."""
        ...

    @property
    def float32_parameters(self) -> Pattern[str]:
        """Texts in the paths of parameters that are float32 whatever the dtype of the
        computation."""
        ...

    def module(
        self,
        dtype: Any = jnp.float32,
        *,
        kernel: str = "xla",
        remat: bool = False,
        layout: PartitionSpec | None = None,
        keep_cache: bool = False,
    ) -> nn.Module:
        """The network up to the head.

        dtype   of the computation; parameters are float32
        kernel  of attention; model/attention.py, with a cache model/cache_attention.py
        remat   keep only the input of a block for the backward pass, compute the rest again
        layout  of activations [B, T, D]; None = what the compiler chooses
        """
        ...

    def head(self, params: Any) -> jax.Array:
        """[V, D]: logits are hidden @ head.T."""
        ...

    @property
    def hugging_face_prefix(self) -> str:
        """The prefix of every tensor except the head, if a model with a head was saved."""
        ...

    @property
    def hugging_face_ignored(self) -> Pattern[str]:
        """Matches names, without prefix, of tensors in old files that are not parameters."""
        ...

    def hugging_face_layout(self) -> dict[str, Tensor]:
        """{name in a file, without prefix: Tensor} of every parameter, the embedding first."""
        ...

    def hugging_face_config(self, **more: Any) -> dict[str, Any]:
        """config.json of a model that computes what this network does; `more` are keyword arguments
        of transformers' config class, for tokens and dtype."""
        ...


def init_params(config: NetworkConfig, key: jax.Array) -> Any:
    """Random float32 parameters, as the authors of the family initialise them."""
    tokens = jnp.zeros((1, 1), jnp.int32)
    return config.module().init(key, tokens, tokens)["params"]


def parameter_count(config: NetworkConfig) -> int:
    """Trained numbers, including the padding of the vocabulary."""
    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def logits(config: NetworkConfig, params: Any, hidden: jax.Array) -> jax.Array:
    """float [..., D] to float32 [..., V], in hidden's dtype up to the sum."""
    return head_logits(hidden, config.head(params).astype(hidden.dtype))


def head_logits(hidden: jax.Array, head: jax.Array) -> jax.Array:
    """[..., D] and [V, D] of one dtype to float32 [..., V].

    Not `hidden @ head.T`: with a bfloat16 head, XLA makes all of it float32 on a CPU then, if
    `hidden` comes from a norm (docs/log.md).
    """
    axes = ((hidden.ndim - 1,), (1,))
    return jax.lax.dot_general(hidden, head, (axes, ((), ())), preferred_element_type=jnp.float32)


def empty_cache(config: NetworkConfig, rows: int, cache_len: int, dtype: Any) -> Cache:
    """Zeros for `rows` rows of `cache_len` slots each."""
    shape = (rows, config.key_value_heads, cache_len, config.head_dim)
    return tuple(
        {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)} for _ in range(config.layers)
    )


def cache_bytes(config: NetworkConfig, cache_len: int, dtype: Any) -> int:
    """Bytes of one row."""
    numbers = 2 * config.layers * config.key_value_heads * config.head_dim
    return numbers * cache_len * jnp.dtype(dtype).itemsize


def drops(config: NetworkConfig) -> bool:
    """Whether there is any dropout, so that training needs a key."""
    return max(config.embedding_dropout, config.attention_dropout, config.residual_dropout) > 0


def to_json(config: NetworkConfig) -> dict[str, Any]:
    """What training_data.json holds; `families.from_json` is the inverse."""
    return {"model_type": config.model_type, **dataclasses.asdict(config)}
