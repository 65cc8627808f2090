"""Views read what is written: token by token, or what waits for a lone row in one go.

B slots, W views, C most tokens that wait to be read, D embed, V vocabulary (padded).

Of many rows some write with each student, so every view reads every row's last token in every
step. Of a lone row only the view that writes must have read everything, and a step takes as long as
reading a student's weights. So there the tokens of other views wait, until their role has the turn
or there are C of them. Prompt `Q /`, views that both see both:

    step              0    1    2      3    4    5
    asker reads       /    a    -      -    -    / A B /
    answerer reads    -    -    / a /  A    B    -
    written           a    /    A      B    /    b
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax.model.network import Cache
from distill_jax.model.sharding import BATCH
from distill_jax.sampling.said import said
from distill_jax.sampling.state import DialogueState
from distill_jax.sampling.turn_rules import TurnRules, ViewRules

# (tokens int32 [B, T], their positions int32 [B, T], cache) -> (hidden [B, T, D], cache)
Network = Callable[[jax.Array, jax.Array, Cache], tuple[jax.Array, Cache]]


def read(
    rules: TurnRules, params: dict[str, Any], state: DialogueState, allowed: jax.Array
) -> tuple[jax.Array, DialogueState]:
    """What the role whose turn it is says of each row's next token (float32 [B, V], see said.py;
    `allowed` bool [B, V]), and the state after the views that it needs have read everything."""
    lone = state.pending.shape[2] > 1
    needed = _needed(rules, state) if lone else jnp.ones(len(rules.views), bool)
    hidden, caches = [], []
    for index, view in enumerate(rules.views):
        network = _network(rules, params, view)
        waiting = _Waiting(state.pending[index], state.unread[index], state.position[index])
        step = functools.partial(_read_if, needed[index]) if lone else _read_last
        own, cache = step(network, waiting, state.caches[index])
        hidden.append(own)
        caches.append(cache)
    last = jnp.maximum(state.unread - 1, 0)[..., None]
    first = jnp.take_along_axis(state.pending, last, axis=2)
    kept = jnp.where(needed[:, None, None], first, state.pending[..., :1])
    state = state._replace(
        caches=tuple(caches),
        pending=state.pending.at[..., :1].set(kept),
        unread=jnp.where(needed[:, None], 0, state.unread),
    )
    return said(rules, params, hidden, state.writer, allowed), state


class _Waiting(NamedTuple):
    """Of one view; see DialogueState."""

    pending: jax.Array  # int32 [B, C]
    unread: jax.Array  # int32 [B]
    position: jax.Array  # int32 [B]


def _needed(rules: TurnRules, state: DialogueState) -> jax.Array:
    """bool [W]: which views a lone row's writer writes in, and which can let no more wait."""
    writes = jnp.array(
        [[view in own for own in rules.role_views] for view in range(len(rules.views))]
    )
    full = state.unread == state.pending.shape[2]
    return jnp.any(writes[:, state.writer] | full, axis=1)


def _network(rules: TurnRules, params: dict[str, Any], view: ViewRules) -> Network:
    def apply(tokens, positions, cache):
        # A row that has filled its context is fed until the chunk ends. Positions after the last
        # one are NaN, and would stay in the slot's cache: 0 x NaN is NaN in the next row.
        positions = jnp.minimum(positions, view.model.context - 1)
        module = view.model.module(jnp.dtype(rules.dtype), kernel=rules.kernel, layout=BATCH)
        found: Any = module.apply({"params": params[view.student]}, tokens, positions, cache=cache)
        return found

    return apply


def _read_last(network: Network, waiting: _Waiting, cache: Cache) -> tuple[jax.Array, Cache]:
    """[B, D] of the last pending token, the only one that waits."""
    hidden, cache = network(waiting.pending[:, :1], waiting.position[:, None], cache)
    return hidden[:, 0], cache


def _read_all(network: Network, waiting: _Waiting, cache: Cache) -> tuple[jax.Array, Cache]:
    """[B, D] of the last pending token, after those that wait before it.

    What comes after it in `pending` is read, too, into places of the cache that are written again
    before anything looks at them.
    """
    places = jnp.arange(waiting.pending.shape[1])
    first = waiting.position - waiting.unread + 1
    hidden, cache = network(waiting.pending, first[:, None] + places, cache)
    last = (waiting.unread - 1)[:, None, None]
    return jnp.take_along_axis(hidden, last, axis=1)[:, 0], cache


def _read_if(
    needed: jax.Array, network: Network, waiting: _Waiting, cache: Cache
) -> tuple[jax.Array, Cache]:
    """As `_read_all` if `needed` (bool []), else zeros."""
    shape, _ = jax.eval_shape(functools.partial(_read_last, network), waiting, cache)
    several = jnp.any(waiting.unread > 1)
    found = jnp.zeros(shape.shape, shape.dtype), cache
    found = _once(needed & several, lambda old: _read_all(network, waiting, old[1]), found)
    return _once(needed & ~several, lambda old: _read_last(network, waiting, old[1]), found)


def _once(wanted: jax.Array, change: Callable[[Any], Any], old: Any) -> Any:
    """change(old) if `wanted` (bool []), else old.

    A loop of at most one round, because XLA copies what goes through `jax.lax.cond`: here all of a
    cache, in every step.
    """

    def body(carry):
        return jnp.bool_(False), change(carry[1])

    return jax.lax.while_loop(lambda carry: carry[0], body, (wanted, old))[1]
