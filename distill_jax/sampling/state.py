"""What the decode loop carries from step to step: caches, positions, and the written tokens.

B slots (one row each), W views, C most tokens that wait to be read, M most tokens written per row,
S length of a view's cache, K its key-value heads, H head dim.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.model.network import Cache, empty_cache
from distill_jax.model.sharding import BATCH
from distill_jax.sampling.token_statistics import TokenStatistics
from distill_jax.sampling.turn_rules import EMPTY, TurnRules

CACHE = P(("data", "fsdp"), "tensor", None, None)  # slots over data and fsdp, heads over tensor
VIEWS = P(None, ("data", "fsdp"))
# Tokens that a view reads in one go: on two CPU cores about as long as one token of gpt2.
RUN = 32


class DialogueState(NamedTuple):
    """`tokens[b, :written[b]]` is what the row in slot b has written so far."""

    caches: tuple[Cache, ...]  # [W] each layer k, v [B, K, S, H] of rules.cache_dtype
    # int32 [W, B, C]: of what a view sees, the tokens that it has not read, oldest first; if it has
    # read all, the last one, which may be read again
    pending: jax.Array
    unread: jax.Array  # int32 [W, B] how many of them it has not read
    position: jax.Array  # int32 [W, B] slot in the cache of the last token that a view sees
    writer: jax.Array  # int32 [B] role whose turn it is
    turns: jax.Array  # int32 [B] turns that have ended
    turn_tokens: jax.Array  # int32 [B] of the current turn, without those of the script
    opened: jax.Array  # int32 [B] written tokens of the current turn's header
    written: jax.Array  # int32 [B]
    status: jax.Array  # int32 [B] of turn_rules.py
    pointer: jax.Array  # int32 [B] the next entry of the row's script
    mark: jax.Array  # int32 [B] state of the calculator's automaton in the current turn
    keys: jax.Array  # uint32 [B, 2]
    tokens: jax.Array  # int32 [B, M]
    writers: jax.Array  # int32 [B, M]
    statistics: TokenStatistics  # [B, M] each


def empty_state(rules: TurnRules, slots: int, window: int) -> DialogueState:
    """`slots` slots without a row, with caches for `window` tokens (prompt and dialogue)."""
    zeros = jnp.zeros(slots, jnp.int32)
    by_view = jnp.zeros((len(rules.views), slots), jnp.int32)
    waiting = RUN if slots == 1 and len(rules.views) > 1 else 1  # see reading.py
    written = jnp.zeros((slots, rules.max_tokens), jnp.int32)
    return laid_out(
        DialogueState(
            caches=tuple(
                empty_cache(view.model, slots, view.cache_len(window), jnp.dtype(rules.cache_dtype))
                for view in rules.views
            ),
            pending=jnp.zeros((*by_view.shape, waiting), jnp.int32),
            unread=by_view,
            position=by_view,
            writer=zeros,
            turns=zeros,
            turn_tokens=zeros,
            opened=zeros,
            written=zeros,
            status=jnp.full(slots, EMPTY, jnp.int32),
            pointer=zeros,
            mark=zeros,
            keys=jnp.zeros((slots, 2), jnp.uint32),
            tokens=written,
            writers=written,
            statistics=TokenStatistics(*[jnp.zeros(written.shape)] * 3),
        )
    )


def layout(state: DialogueState) -> Any:
    """A DialogueState with a PartitionSpec for every array: slots are spread over data and fsdp."""
    specs = dict.fromkeys(_BY_VIEW, VIEWS) | {"caches": CACHE}

    def spread(name: str, part: Any) -> Any:
        return jax.tree.map(lambda _: specs.get(name, BATCH), part)

    return DialogueState(*map(spread, DialogueState._fields, state))


def laid_out(state: DialogueState) -> DialogueState:
    """The state with its slots spread over the devices of the mesh; no device has all caches."""
    return jax.tree.map(jax.lax.with_sharding_constraint, state, layout(state))


_BY_VIEW = ("pending", "unread", "position")


def resize_cache(cache: jax.Array, length: int) -> jax.Array:
    """[B, K, S, H] with `length` slots per row: the first ones, with zeros added if there are
    fewer."""
    size = cache.shape[2]
    if length <= size:
        resized = cache[:, :, :length]
    else:
        resized = jnp.pad(cache, ((0, 0), (0, 0), (0, length - size), (0, 0)))
    return jax.lax.with_sharding_constraint(resized, CACHE)


_resize = jax.jit(resize_cache, static_argnums=1)


def resized_caches(
    rules: TurnRules, caches: list[list[dict[str, jax.Array]]], window: int
) -> tuple[Cache, ...]:
    """Caches for `window` tokens, made from those of each view. The lists are emptied array by
    array, so that each old array is freed, and never all arrays are in memory twice."""
    resized = []
    for view, layers in zip(rules.views, caches, strict=True):
        length, new = view.cache_len(window), []
        while layers:
            layer = layers.pop(0)
            new.append(
                {
                    name: layer[name] if layer[name].shape[2] == length
                    else _resize(layer.pop(name), length)
                    for name in ("k", "v")
                }
            )  # fmt: skip
        resized.append(tuple(new))
    return tuple(resized)
