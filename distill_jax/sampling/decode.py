"""One jitted program in which students take turns on the device.

Shapes: B rows, P prompt bucket, S cache length, M most tokens written per row, R roles, W views,
V vocabulary (padded). A view is one student looking at one selection of the roles' turns
(text/rows.py); it has a cache and, per row, one *pending* token: the last one of what it sees. A
decode step feeds every view its pending token, takes each row's logits from the view of the role
whose turn it is, and picks a token; the views that see this role have it pending next. Feeding a
pending token twice writes the same keys and values into the same slot, so a view that did not see
the last turns resumes by being fed its own last token again.

With views `asker` and `answerer` that both see both, prompt `Q /` and writers d, s:

    step        0    1    2    3    4    5
    pending     /    a    /    A    /    ...       (both views alike)
    written     a    /    A    /    b
    by          d    d    s    s    d
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax.model import gpt2

RUNNING, FINISHED, TURN_CAP, TOKEN_CAP, CONTEXT = range(5)
STATUS_NAMES = {FINISHED: "finished", TURN_CAP: "turn_cap", TOKEN_CAP: "token_cap"}
STATUS_NAMES[CONTEXT] = "context"
FREE = -1  # in `forced`: the role writes this token itself


@dataclasses.dataclass(frozen=True)
class ViewPlan:
    """One view: a student (key of `params`), its size, and which roles' turns it sees."""

    student: str
    model: gpt2.GPT2Config
    sees: tuple[bool, ...]  # [R]


@dataclasses.dataclass(frozen=True)
class DialoguePlan:
    """Everything static about a dialogue: hashable, one compilation per plan and bucket."""

    views: tuple[ViewPlan, ...]
    role_view: tuple[int, ...]  # [R] the view in which a role writes
    may_pass: tuple[bool, ...]  # [R] may write end_of_turn
    may_end: tuple[bool, ...]  # [R] may write end_of_text
    end_of_turn: int
    end_of_text: int
    vocab_size: int  # ids from here on are padding
    max_turns: int
    max_turn_tokens: int
    max_tokens: int

    @property
    def context(self) -> int:
        """The shortest context of the students: a longer prompt cannot be answered."""
        return min(view.model.context for view in self.views)


class DialogueState(NamedTuple):
    """What the loop carries; `written` tokens of a row are written so far."""

    caches: tuple[gpt2.Cache, ...]  # [W] each layer k, v float32 [B, S, N, H]
    pending: jax.Array  # int32 [W, B] last token of what a view sees
    position: jax.Array  # int32 [W, B] its slot in the cache
    writer: jax.Array  # int32 [B] role whose turn it is
    turns: jax.Array  # int32 [B] turns that have ended
    turn_tokens: jax.Array  # int32 [B] tokens of the current turn
    written: jax.Array  # int32 [B]
    status: jax.Array  # int32 [B]
    tokens: jax.Array  # int32 [B, M]
    writers: jax.Array  # int32 [B, M]
    log_probs: jax.Array  # float32 [B, M] natural log, at temperature 1


def allowed_tokens(plan: DialoguePlan) -> jax.Array:
    """bool [R, V]: what each role may write; never padding, end marks only where it may."""
    size = plan.views[0].model.vocab_size
    allowed = jnp.broadcast_to(jnp.arange(size) < plan.vocab_size, (len(plan.role_view), size))
    allowed = allowed.at[:, plan.end_of_turn].set(jnp.array(plan.may_pass))
    return allowed.at[:, plan.end_of_text].set(jnp.array(plan.may_end))


@functools.partial(jax.jit, static_argnums=0)
def run_dialogues(
    plan: DialoguePlan,
    params: dict[str, Any],
    prompts: jax.Array,
    lengths: jax.Array,
    active: jax.Array,
    keys: jax.Array,
    temperature: jax.Array,
    forced: jax.Array,
) -> DialogueState:
    """Write until every row has stopped.

    prompts      int32 [B, P], right-padded; lengths int32 [B], at least 1
    active       bool [B], False for rows that only fill up the batch
    keys         a key per row, [B]; token i of a row is drawn with fold_in(key, i)
    temperature  float32 []; 0 is greedy
    forced       int32 [B, M]; tokens written in place of the role's own, FREE elsewhere
    returns the last state; tokens[i, :written[i]] is what row i wrote.
    """
    state = _prefill(plan, params, prompts, lengths, active)
    allowed = allowed_tokens(plan)

    def body(state: DialogueState) -> DialogueState:
        logits, caches = _feed(plan, params, state)
        token, log_prob = _pick(logits, allowed[state.writer], state, keys, temperature, forced)
        return _advance(plan, state._replace(caches=caches), token, log_prob)

    return jax.lax.while_loop(lambda state: jnp.any(state.status == RUNNING), body, state)


def _prefill(plan, params, prompts, lengths, active) -> DialogueState:
    """Run every view over the prompt; padding leaves keys behind that are overwritten unread."""
    rows, bucket = prompts.shape
    positions = jnp.broadcast_to(jnp.arange(bucket), prompts.shape)
    caches = []
    for view in plan.views:
        slots = min(view.model.context, bucket + plan.max_tokens)
        _, cache = gpt2.GPT2(view.model).apply(
            {"params": params[view.student]},
            prompts,
            positions,
            attention_mask=gpt2.causal_mask(bucket),
            cache=gpt2.empty_cache(view.model, rows, bucket),
        )
        padding = ((0, 0), (0, slots - bucket), (0, 0), (0, 0))
        caches.append(jax.tree.map(lambda leaf, padding=padding: jnp.pad(leaf, padding), cache))
    last = jnp.take_along_axis(prompts, lengths[:, None] - 1, axis=1)[:, 0]
    zeros = jnp.zeros(rows, jnp.int32)
    return DialogueState(
        caches=tuple(caches),
        pending=jnp.broadcast_to(last, (len(plan.views), rows)),
        position=jnp.broadcast_to(lengths - 1, (len(plan.views), rows)),
        writer=zeros,
        turns=zeros,
        turn_tokens=zeros,
        written=zeros,
        status=jnp.where(active, RUNNING, FINISHED).astype(jnp.int32),
        tokens=jnp.zeros((rows, plan.max_tokens), jnp.int32),
        writers=jnp.zeros((rows, plan.max_tokens), jnp.int32),
        log_probs=jnp.zeros((rows, plan.max_tokens), jnp.float32),
    )


def _feed(plan, params, state: DialogueState) -> tuple[jax.Array, tuple[gpt2.Cache, ...]]:
    """Feed each view its pending token; logits [B, V] of the view whose role writes, caches."""
    role_view = jnp.array(plan.role_view)[state.writer]  # [B]
    logits = []  # [W] of [B, V]
    caches = []
    for index, view in enumerate(plan.views):
        slots = state.caches[index][0]["k"].shape[1]
        position = state.position[index][:, None]  # [B, 1]
        mask = jnp.arange(slots)[None, None] <= position[:, :, None]  # [B, 1, S]
        hidden, cache = gpt2.GPT2(view.model).apply(
            {"params": params[view.student]},
            state.pending[index][:, None],
            position,
            attention_mask=mask,
            cache=state.caches[index],
        )
        logits.append(gpt2.logits(params[view.student], hidden[:, 0]))
        caches.append(cache)
    chosen = logits[0]
    for index in range(1, len(logits)):
        chosen = jnp.where(role_view[:, None] == index, logits[index], chosen)
    return chosen, tuple(caches)


def _pick(logits, allowed, state: DialogueState, keys, temperature, forced):
    """The next token of each row and its log-probability: int32 [B], float32 [B]."""
    logits = jnp.where(allowed, logits, -jnp.inf)

    def sample():
        step_keys = jax.vmap(jax.random.fold_in)(keys, state.written)
        return jax.vmap(jax.random.categorical)(step_keys, logits / temperature)

    # A branch, so that greedy runs draw no random numbers: one per row and word is a lot.
    token = jax.lax.cond(temperature > 0, sample, lambda: jnp.argmax(logits, axis=-1))
    last = forced.shape[1] - 1
    ordered = jnp.take_along_axis(forced, jnp.minimum(state.written, last)[:, None], axis=1)[:, 0]
    token = jnp.where(ordered == FREE, token, ordered).astype(jnp.int32)
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    return token, jnp.take_along_axis(log_probs, token[:, None], axis=1)[:, 0]


def _advance(plan, state: DialogueState, token, log_prob) -> DialogueState:
    """Write the token, pass the turn or end the row; rows that have stopped stay as they are."""
    alive = state.status == RUNNING
    ended = token == plan.end_of_text
    passed = token == plan.end_of_turn
    rows = jnp.arange(token.shape[0])
    # Rows that have stopped write outside of the buffer, where the write is dropped.
    slot = jnp.where(alive, state.written, plan.max_tokens)
    sees = jnp.array([view.sees for view in plan.views])[:, state.writer] & alive  # [W, B]
    position = state.position + sees
    contexts = jnp.array([view.model.context for view in plan.views])[:, None]
    written = state.written + alive
    turns = state.turns + (alive & (ended | passed))
    turn_tokens = state.turn_tokens + alive

    status = jnp.where(jnp.any(position >= contexts, axis=0), CONTEXT, RUNNING)
    too_long = (turn_tokens >= plan.max_turn_tokens) & ~passed
    status = jnp.where(too_long | (written >= plan.max_tokens), TOKEN_CAP, status)
    status = jnp.where(passed & (turns >= plan.max_turns), TURN_CAP, status)
    status = jnp.where(ended, FINISHED, status)
    return DialogueState(
        caches=state.caches,
        pending=jnp.where(sees, token, state.pending),
        position=position,
        writer=jnp.where(alive & passed, (state.writer + 1) % len(plan.role_view), state.writer),
        turns=turns,
        turn_tokens=jnp.where(passed, 0, turn_tokens),
        written=written,
        status=jnp.where(alive, status, state.status).astype(jnp.int32),
        tokens=state.tokens.at[rows, slot].set(token, mode="drop"),
        writers=state.writers.at[rows, slot].set(state.writer, mode="drop"),
        log_probs=state.log_probs.at[rows, slot].set(log_prob, mode="drop"),
    )
