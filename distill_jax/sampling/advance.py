"""What a written token changes: whose turn it is, what is seen, what ends a row.

B slots, W views, R roles, L script length, V vocabulary (padded).

A row's *script* says what it writes (turn_rules.py): ids, FREE, FREE_TURN, HOLD; after its end
the row is free. Here the subquestion `a` is given, and the solver is free to write `A B`:

    script      a    /    FREE_TURN        then free
    written     a    /    A    B    /      b ...
    pointer     0    1    2    2    2      3

If roles have headers (`TurnRules.openings`), a turn begins with that of its role, and the script
waits meanwhile.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax.sampling.state import DialogueState
from distill_jax.sampling.token_statistics import TokenStatistics
from distill_jax.sampling.turn_rules import (
    CONTEXT,
    FINISHED,
    FREE,
    FREE_TURN,
    HELD,
    HOLD,
    RUNNING,
    TOKEN_CAP,
    TURN_CAP,
    TurnRules,
)


class Calculator(NamedTuple):
    """When to ask the host for a value: an automaton over ids (text/calculator.py)."""

    next_state: Any  # int8 [states, V]
    fires: Any  # bool [states, V]


class Written(NamedTuple):
    """What each row writes in one step."""

    token: jax.Array  # int32 [B]
    statistics: TokenStatistics  # [B] each


def script_entry(script: jax.Array, pointer: jax.Array) -> jax.Array:
    """int32 [B]: what the script [B, L] says at the pointer; FREE after its end."""
    length = script.shape[1]
    inside = jnp.minimum(pointer, length - 1)[:, None]
    return jnp.where(pointer < length, jnp.take_along_axis(script, inside, axis=1)[:, 0], FREE)


def is_opening(rules: TurnRules, state: DialogueState) -> jax.Array:
    """bool [B]: whether the next token belongs to the header of the turn. Of rules with headers."""
    lengths = jnp.array([len(opening) for opening in rules.openings])
    return state.opened < lengths[state.writer]


def opening_token(rules: TurnRules, state: DialogueState) -> jax.Array:
    """int32 [B]: the next token of the header, where there is one."""
    longest = max(map(len, rules.openings))
    table = jnp.array([[*ids, *[0] * (longest - len(ids))] for ids in rules.openings], jnp.int32)
    return table[state.writer, jnp.minimum(state.opened, longest - 1)]


def advance(
    rules: TurnRules,
    state: DialogueState,
    script: jax.Array,
    calculator: Calculator | None,
    new: Written,
) -> DialogueState:
    """Write a token, pass the turn or end the row.

    Rows that do not run do not change. `script` is int32 [B, L].
    """
    token = new.token
    alive = state.status == RUNNING
    ended = alive & (token == rules.end_of_text)
    passed = alive & (token == rules.end_of_turn)
    rows = jnp.arange(token.shape[0])
    # Rows that do not run write outside the buffer: JAX drops such writes.
    slot = jnp.where(alive, state.written, rules.max_tokens)
    sees = jnp.array([view.sees for view in rules.views])[:, state.writer] & alive  # [W, B]
    position = state.position + sees
    contexts = jnp.array([view.model.context for view in rules.views])[:, None]
    written = state.written + alive
    turns = state.turns + (ended | passed)
    entry = script_entry(script, state.pointer)
    opening = is_opening(rules, state) if rules.openings else jnp.zeros_like(alive)
    said = alive & ~opening
    # Given tokens and the calculator's values do not count towards the limit of a turn.
    turn_tokens = state.turn_tokens + (said & (entry < 0))
    pointer = state.pointer + (said & ((entry != FREE_TURN) | ended | passed))
    mark, fires = _marks(rules, calculator, state, token, said, entry < 0)

    status = jnp.where(fires | (script_entry(script, pointer) == HOLD), HELD, RUNNING)
    status = jnp.where(jnp.any(position >= contexts, axis=0), CONTEXT, status)
    too_long = (turn_tokens >= rules.max_turn_tokens) & ~passed
    status = jnp.where(too_long | (written >= rules.max_tokens), TOKEN_CAP, status)
    status = jnp.where(passed & (turns >= rules.max_turns), TURN_CAP, status)
    status = jnp.where(ended, FINISHED, status)
    following = jnp.array(rules.next_role)[state.writer]
    return state._replace(
        pending=jnp.where(_next_place(state) & sees[..., None], token[:, None], state.pending),
        unread=state.unread + sees,
        position=position,
        writer=jnp.where(passed, following, state.writer),
        turns=turns,
        turn_tokens=jnp.where(passed, 0, turn_tokens),
        opened=jnp.where(passed, 0, state.opened + (alive & opening)),
        written=written,
        status=jnp.where(alive, status, state.status).astype(jnp.int32),
        pointer=pointer,
        mark=mark,
        tokens=state.tokens.at[rows, slot].set(token, mode="drop"),
        writers=state.writers.at[rows, slot].set(state.writer, mode="drop"),
        statistics=jax.tree.map(
            lambda all_, each: all_.at[rows, slot].set(each, mode="drop"),
            state.statistics,
            new.statistics,
        ),
    )


def _next_place(state: DialogueState) -> jax.Array:
    """bool [W, B, C]: where a view's next token waits to be read."""
    return jnp.arange(state.pending.shape[2]) == state.unread[..., None]


def _marks(rules, calculator: Calculator | None, state: DialogueState, token, said, free):
    """The automaton after `token` (int32 [B]), and whether it asks for a value (bool [B]); where
    nothing is `said` (bool [B]) it stays.

    Only tokens that a role writes itself can ask. The automaton starts again after each turn.
    """
    if calculator is None:
        return state.mark, jnp.zeros_like(said)
    mine = said & (state.writer == rules.calculator_role)
    new = jnp.asarray(calculator.next_state)[state.mark, token].astype(jnp.int32)
    mark = jnp.where(mine & (token != rules.end_of_turn), new, 0)
    fires = jnp.asarray(calculator.fires)[state.mark, token] & mine & free
    return jnp.where(said, mark, state.mark), fires
