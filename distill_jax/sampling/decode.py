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

A row's *script* says what it writes (plan.py): ids, FREE, FREE_TURN, HOLD; behind its end a row is
free. With the subquestion `a` given and the answer free, `A B` being what the solver chooses:

    script      a    /    FREE_TURN        then free
    written     a    /    A    B    /      b ...
    pointer     0    1    2    2    2      3
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from distill_jax.model import gpt2
from distill_jax.sampling import state as dialogue_state
from distill_jax.sampling.pick import Draw, pick
from distill_jax.sampling.plan import (
    CONTEXT,
    FINISHED,
    FREE,
    FREE_TURN,
    HELD,
    HOLD,
    RUNNING,
    TOKEN_CAP,
    TURN_CAP,
    DialoguePlan,
    allowed_tokens,
)
from distill_jax.sampling.state import DialogueState
from distill_jax.sharding import BATCH

PromptCaches = dict[str, gpt2.Cache]  # by student, each layer k, v [G, N, P, H]


class Calculator(NamedTuple):
    """When to ask the host for a value: an automaton over ids (text/calculator.py)."""

    next_state: Any  # int8 [states, V]
    fires: Any  # bool [states, V]


class Admission(NamedTuple):
    """Which prompts begin in which slots. `source` is a row of the prompts, or -1: as it was."""

    source: np.ndarray  # int32 [B]
    last: np.ndarray  # int32 [B] last token of the prompt
    length: np.ndarray  # int32 [B] of the prompt, at least 1
    name: np.ndarray  # uint32 [B] of the problem
    sample: np.ndarray  # uint32 [B]
    seed: Any  # uint32 []


class Progress(NamedTuple):
    """What the host looks at after a chunk of steps, whole on every device."""

    steps: jax.Array  # int32 [] that were done
    status: jax.Array  # these as in DialogueState
    written: jax.Array
    position: jax.Array
    pointer: jax.Array
    tokens: jax.Array
    writers: jax.Array
    log_probs: jax.Array


def _network(plan: DialoguePlan, model: gpt2.GPT2Config, keep_cache: bool = False) -> gpt2.GPT2:
    return gpt2.GPT2(model, jnp.dtype(plan.dtype), layout=BATCH, keep_cache=keep_cache)


@functools.partial(jax.jit, static_argnums=0)
def prefill(plan: DialoguePlan, params: dict[str, Any], prompts: jax.Array) -> PromptCaches:
    """Keys and values of prompts int32 [G, P], right-padded, for every student.

    Those of the padding are overwritten before anything looks at them.
    """
    positions = jnp.broadcast_to(jnp.arange(prompts.shape[1]), prompts.shape)
    caches = {}
    for student, model in plan.students.items():
        network = _network(plan, model, keep_cache=True)
        _, caches[student] = network.apply({"params": params[student]}, prompts, positions)
    return caches


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def admit(
    plan: DialoguePlan, state: DialogueState, prompts: PromptCaches, admission: Admission
) -> DialogueState:
    """The state with new rows in the slots where `admission.source` is not -1.

    Several slots may share a prompt, and a prompt may be admitted again later.
    """
    source, last, length = admission.source, admission.last, admission.length
    new = source >= 0
    keys = jax.vmap(dialogue_key, in_axes=(None, 0, 0))(
        admission.seed, admission.name, admission.sample
    )

    def replace(cache, prompt):
        old = cache[:, :, : prompt.shape[2]]
        chosen = jnp.where(new[:, None, None, None], prompt[jnp.maximum(source, 0)], old)
        return jax.lax.dynamic_update_slice(cache, chosen, (0, 0, 0, 0))

    caches = tuple(
        jax.tree.map(replace, cache, prompts[view.student])
        for view, cache in zip(plan.views, state.caches, strict=True)
    )
    zeros = {
        name: jnp.where(new, 0, getattr(state, name))
        for name in ("writer", "turns", "turn_tokens", "written", "pointer", "mark")
    }
    return dialogue_state.laid_out(
        state._replace(
            caches=caches,
            pending=jnp.where(new, last, state.pending),
            position=jnp.where(new, length - 1, state.position),
            status=jnp.where(new, RUNNING, state.status),
            keys=jnp.where(new[:, None], keys, state.keys),
            **zeros,
        )
    )


def dialogue_key(seed: Any, name: Any, sample: Any) -> jax.Array:
    """uint32 [2]: what a dialogue's tokens are drawn with, the same whatever the slot."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), sample), name)
    return jax.random.key_data(key)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def decode_chunk(
    plan: DialoguePlan,
    params: dict[str, Any],
    state: DialogueState,
    script: jax.Array,
    restart: jax.Array,
    how: Draw,
    calculator: Calculator | None,
    steps: jax.Array,
    stop_at: jax.Array,
) -> tuple[DialogueState, Progress]:
    """Every running row writes up to `steps` tokens, one a step.

    script      int32 [B, L]; restart bool [B], rows whose script is new and starts at its entry 0
    calculator  None where plan.calculator_role is -1
    stop_at     int32 []: the chunk ends early once so many slots do not run

    Rows that were HELD run again: the host has changed their script.
    """
    allowed = allowed_tokens(plan)
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
        logits, caches = _feed(plan, params, state)
        logits = jnp.where(allowed[state.writer], logits, -jnp.inf)
        entry = _entry(script, state.pointer)
        token = jnp.where(entry >= 0, entry, pick(logits, state.keys, state.written, how))
        chosen = jnp.take_along_axis(logits, token[:, None], axis=1)[:, 0]
        log_prob = chosen - jax.nn.logsumexp(logits, axis=-1)
        state = state._replace(caches=caches)
        return done + 1, _advance(plan, state, script, calculator, token, log_prob)

    done, state = jax.lax.while_loop(going_on, body, (jnp.int32(0), state))
    state = dialogue_state.laid_out(state)
    fields = {name: getattr(state, name) for name in Progress._fields if name != "steps"}
    everywhere = jax.tree.map(
        lambda x: jax.lax.with_sharding_constraint(x, PartitionSpec()), fields
    )
    return state, Progress(steps=done, **everywhere)


def _feed(plan, params, state: DialogueState) -> tuple[jax.Array, tuple[gpt2.Cache, ...]]:
    """Feed each view its pending token; logits [B, V] of the view whose role writes, caches."""
    role_view = jnp.array(plan.role_view)[state.writer]  # [B]
    chosen: Any = None
    caches = []
    for index, view in enumerate(plan.views):
        # A row that has filled its context is fed until the chunk ends. Behind the last position
        # there is only NaN, which would stay in the slot's cache: 0 x NaN is NaN in the next row.
        position = jnp.minimum(state.position[index], view.model.context - 1)
        hidden, cache = _network(plan, view.model).apply(
            {"params": params[view.student]},
            state.pending[index][:, None],
            position[:, None],
            cache=state.caches[index],
        )
        caches.append(cache)
        if index not in plan.role_view:  # sees, and never writes
            continue
        logits = gpt2.logits(params[view.student], hidden[:, 0])
        writes = role_view[:, None] == index
        chosen = logits if chosen is None else jnp.where(writes, logits, chosen)
    return chosen, tuple(caches)


def _entry(script: jax.Array, pointer: jax.Array) -> jax.Array:
    """int32 [B]: what the script [B, L] says at the pointer, FREE behind its end."""
    length = script.shape[1]
    inside = jnp.minimum(pointer, length - 1)[:, None]
    return jnp.where(pointer < length, jnp.take_along_axis(script, inside, axis=1)[:, 0], FREE)


def _advance(
    plan, state: DialogueState, script, calculator: Calculator | None, token, log_prob
) -> DialogueState:
    """Write the token, pass the turn or end the row; rows that do not run stay as they are."""
    alive = state.status == RUNNING
    ended = alive & (token == plan.end_of_text)
    passed = alive & (token == plan.end_of_turn)
    rows = jnp.arange(token.shape[0])
    # Rows that do not run write outside of the buffer, where the write is dropped.
    slot = jnp.where(alive, state.written, plan.max_tokens)
    sees = jnp.array([view.sees for view in plan.views])[:, state.writer] & alive  # [W, B]
    position = state.position + sees
    contexts = jnp.array([view.model.context for view in plan.views])[:, None]
    written = state.written + alive
    turns = state.turns + (ended | passed)
    turn_tokens = state.turn_tokens + alive
    entry = _entry(script, state.pointer)
    pointer = state.pointer + (alive & ((entry != FREE_TURN) | ended | passed))
    mark, fires = _marks(plan, calculator, state, token, alive, entry < 0)

    status = jnp.where(fires | (_entry(script, pointer) == HOLD), HELD, RUNNING)
    status = jnp.where(jnp.any(position >= contexts, axis=0), CONTEXT, status)
    too_long = (turn_tokens >= plan.max_turn_tokens) & ~passed
    status = jnp.where(too_long | (written >= plan.max_tokens), TOKEN_CAP, status)
    status = jnp.where(passed & (turns >= plan.max_turns), TURN_CAP, status)
    status = jnp.where(ended, FINISHED, status)
    following = jnp.array(plan.next_role)[state.writer]
    return state._replace(
        pending=jnp.where(sees, token, state.pending),
        position=position,
        writer=jnp.where(passed, following, state.writer),
        turns=turns,
        turn_tokens=jnp.where(passed, 0, turn_tokens),
        written=written,
        status=jnp.where(alive, status, state.status).astype(jnp.int32),
        pointer=pointer,
        mark=mark,
        tokens=state.tokens.at[rows, slot].set(token, mode="drop"),
        writers=state.writers.at[rows, slot].set(state.writer, mode="drop"),
        log_probs=state.log_probs.at[rows, slot].set(log_prob, mode="drop"),
    )


def _marks(plan, calculator: Calculator | None, state: DialogueState, token, alive, free):
    """The automaton after `token` (int32 [B]), and whether it asks for a value (bool [B]).

    Only what a role writes itself asks; at the end of a turn the automaton starts anew.
    """
    if calculator is None:
        return state.mark, jnp.zeros_like(alive)
    mine = alive & (state.writer == plan.calculator_role)
    new = jnp.asarray(calculator.next_state)[state.mark, token].astype(jnp.int32)
    mark = jnp.where(mine & (token != plan.end_of_turn), new, 0)
    fires = jnp.asarray(calculator.fires)[state.mark, token] & mine & free
    return jnp.where(alive, mark, state.mark), fires
