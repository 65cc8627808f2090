"""The jitted programs in which students take turns on the device.

Shapes: B slots, G prompts at a time, P prompt bucket, S cache length, M most tokens written per
row, L script length, R roles, W views, V vocabulary (padded). Each view has a cache and, per row,
one *pending* token: the last one of what it sees. A decode step feeds every view its pending token,
takes each row's logits from the view of the role whose turn it is, and picks a token; the views
that see this role have it pending next. Feeding a pending token twice writes the same keys and
values into the same slot, so a view that did not see the last turns resumes by being fed its own
last token again.

With views `asker` and `answerer` that both see both, prompt `Q /` and writers d, s:

    step        0    1    2    3    4    5
    pending     /    a    /    A    /    ...       (both views alike)
    written     a    /    A    /    b
    by          d    d    s    s    d
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from distill_jax.model.network import Cache
from distill_jax.model.sharding import BATCH
from distill_jax.sampling import state as dialogue_state
from distill_jax.sampling.advance import (
    Calculator,
    Written,
    advance,
    is_opening,
    opening_token,
    script_entry,
)
from distill_jax.sampling.pick import How, pick
from distill_jax.sampling.reading import read
from distill_jax.sampling.state import DialogueState
from distill_jax.sampling.token_statistics import TokenStatistics, token_statistics
from distill_jax.sampling.turn_rules import HELD, RUNNING, TurnRules, allowed_tokens

PromptCaches = dict[str, Cache]  # by student, each layer k, v [G, K, P, H]


class Admission(NamedTuple):
    """Which prompts begin in which slots.

    `source` is a number among the prompts on the slot's own part of the mesh (data x fsdp). With G
    prompts and B slots over 2 parts, 0 means prompt 0 for the first B/2 slots, and prompt G/2 for
    the others. -1: the slot does not change.
    """

    source: np.ndarray  # int32 [B]
    last: np.ndarray  # int32 [B] last token of the prompt
    length: np.ndarray  # int32 [B] of the prompt, at least 1
    name: np.ndarray  # uint32 [B] of the problem
    sample: np.ndarray  # uint32 [B]
    seed: Any  # uint32 []


def no_admission(slots: int, seed: int) -> Admission:
    """An Admission that changes no slot."""
    numbers, names = np.zeros(slots, np.int32), np.zeros(slots, np.uint32)
    return Admission(numbers - 1, numbers.copy(), numbers + 1, names, names.copy(), np.uint32(seed))


class ChunkOrder(NamedTuple):
    """What the host tells the device before a chunk of steps."""

    script: Any  # int32 [B, L]
    restart: Any  # bool [B] rows whose script is new and starts at its entry 0
    steps: Any  # int32 [] at most
    stop_at: Any  # int32 [] the chunk ends early as soon as this many slots are not running


class Progress(NamedTuple):
    """What the host reads after a chunk of steps; every device has all of it."""

    steps: jax.Array  # int32 [] that were done
    status: jax.Array  # the following as in DialogueState
    written: jax.Array
    position: jax.Array
    pointer: jax.Array
    tokens: jax.Array
    writers: jax.Array
    statistics: TokenStatistics


@functools.partial(jax.jit, static_argnums=0)
def prefill(rules: TurnRules, params: dict[str, Any], prompts: jax.Array) -> PromptCaches:
    """Keys and values of prompts int32 [G, P], right-padded, for every student, spread over the
    mesh as the slots are.

    Keys and values of the padding are overwritten before they are read.
    """
    positions = jnp.broadcast_to(jnp.arange(prompts.shape[1]), prompts.shape)
    caches = {}
    for student, model in rules.students.items():
        network = model.module(jnp.dtype(rules.dtype), layout=BATCH, keep_cache=True)
        _, caches[student] = network.apply({"params": params[student]}, prompts, positions)
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(
            leaf.astype(rules.cache_dtype), dialogue_state.CACHE
        ),
        caches,
    )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def admit(
    rules: TurnRules, state: DialogueState, prompts: PromptCaches, admission: Admission
) -> DialogueState:
    """The state with new rows in the slots where `admission.source` is not -1.

    Several slots may share a prompt, and a prompt may be admitted again later. A slot begins with
    a prompt on its own device, so nothing is sent.
    """
    source, last, length = admission.source, admission.last, admission.length
    new = source >= 0
    keys = jax.vmap(dialogue_key, in_axes=(None, 0, 0))(
        admission.seed, admission.name, admission.sample
    )

    caches = jax.shard_map(
        _with_prompts,
        in_specs=(dialogue_state.CACHE, dialogue_state.CACHE, BATCH),
        out_specs=dialogue_state.CACHE,
        check_vma=False,
    )(state.caches, tuple(prompts[view.student] for view in rules.views), source)
    zeros = {
        name: jnp.where(new, 0, getattr(state, name))
        for name in ("writer", "turns", "turn_tokens", "opened", "written", "pointer", "mark")
    }
    return dialogue_state.laid_out(
        state._replace(
            caches=caches,
            pending=jnp.where(new[:, None], last[:, None], state.pending),
            unread=jnp.where(new, 1, state.unread),
            position=jnp.where(new, length - 1, state.position),
            status=jnp.where(new, RUNNING, state.status),
            keys=jnp.where(new[:, None], keys, state.keys),
            **zeros,
        )
    )


def _with_prompts(caches: Any, prompts: Any, source: Any) -> Any:
    """Of one device: caches [b, n, S, H] with the prompts [g, n, P, H] that begin in its slots."""

    def replace(cache, prompt):
        old = cache[:, :, : prompt.shape[2]]
        chosen = jnp.where((source >= 0)[:, None, None, None], prompt[jnp.maximum(source, 0)], old)
        return jax.lax.dynamic_update_slice(cache, chosen, (0, 0, 0, 0))

    return jax.tree.map(replace, caches, prompts)


def dialogue_key(seed: Any, name: Any, sample: Any) -> jax.Array:
    """uint32 [2]: what a dialogue's tokens are drawn with, the same whatever the slot."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), sample), name)
    return jax.random.key_data(key)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def decode_chunk(
    rules: TurnRules,
    params: dict[str, Any],
    state: DialogueState,
    order: ChunkOrder,
    how: How,
    calculator: Calculator | None,
) -> tuple[DialogueState, Progress]:
    """Every running row writes up to `order.steps` tokens, one a step.

    Rows that were HELD run again: the host has changed their script. `calculator` is None if
    rules.calculator_role is -1.
    """
    script, restart, steps, stop_at = order
    allowed = allowed_tokens(rules)
    state = state._replace(
        status=jnp.where(state.status == HELD, RUNNING, state.status),
        pointer=jnp.where(restart, 0, state.pointer),
    )

    def going_on(carry):
        done, state = carry
        stopped = jnp.sum(state.status != RUNNING)
        return (done < steps) & (stopped < stop_at) & (stopped < state.status.size)

    def body(carry):
        done, state = carry
        scores, state = read(rules, params, state, allowed[state.writer])
        entry = script_entry(script, state.pointer)
        token = jnp.where(entry >= 0, entry, pick(scores, state.keys, state.written, how))
        if rules.openings:
            token = jnp.where(is_opening(rules, state), opening_token(rules, state), token)
        new = Written(token, token_statistics(scores, token))
        return done + 1, advance(rules, state, script, calculator, new)

    done, state = jax.lax.while_loop(going_on, body, (jnp.int32(0), state))
    state = dialogue_state.laid_out(state)
    fields = {name: getattr(state, name) for name in Progress._fields if name != "steps"}
    everywhere = jax.tree.map(
        lambda x: jax.lax.with_sharding_constraint(x, PartitionSpec()), fields
    )
    return state, Progress(steps=done, **everywhere)
