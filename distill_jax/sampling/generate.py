"""Many prompts through `decode.run_dialogues`: buckets, batches, results in input order."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from distill_jax.sampling import decode

PROMPT_TOO_LONG = "prompt_too_long"


@dataclasses.dataclass(frozen=True)
class WrittenTurn:
    """One turn as ids. `tokens` is without its end mark, `written` counts it."""

    role: int
    tokens: list[int]
    written: int
    log_probability: float


@dataclasses.dataclass(frozen=True)
class Dialogue:
    """What was written for one prompt, and why it stopped (a status of records.Prediction)."""

    turns: list[WrittenTurn]
    status: str


def bucket_lengths(context: int) -> tuple[int, ...]:
    """Prompt lengths to pad to: 32, 64, 128, ... and the context itself."""
    lengths = [32]
    while lengths[-1] * 2 < context:
        lengths.append(lengths[-1] * 2)
    return tuple(min(length, context) for length in [*lengths, context])


def prompt_keys(seed: int, ids: Sequence[str], sample: int = 0) -> jax.Array:
    """A key per prompt from (seed, problem id, sample): the same whatever the batch holds."""
    hashes = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") for name in ids]
    root = jax.random.fold_in(jax.random.key(seed), sample)
    return jax.vmap(lambda data: jax.random.fold_in(root, data))(np.array(hashes, np.uint32))


def generate(
    plan: decode.DialoguePlan,
    params: dict[str, Any],
    prompts: Sequence[list[int]],
    keys: jax.Array,
    *,
    batch_size: int,
    temperature: float,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[Dialogue]:
    """A dialogue for every prompt, in the order of `prompts`.

    Prompts are sorted into buckets of similar length and run `batch_size` at a time; `keys` has
    one key per prompt. A prompt longer than the context is not run: status `prompt_too_long`.
    `on_batch(done)` is told how many prompts are done after every batch.
    """
    buckets = bucket_lengths(plan.context)
    results: list[Dialogue] = [Dialogue([], PROMPT_TOO_LONG)] * len(prompts)
    done = sum(len(prompt) > plan.context for prompt in prompts)
    lower = 0
    for bucket in dict.fromkeys(buckets):
        members = [i for i, prompt in enumerate(prompts) if lower < len(prompt) <= bucket]
        lower = bucket
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            batch = pad_prompts(prompts, chosen, bucket, batch_size)
            # Rows that fill up the last batch repeat its first key; they write nothing.
            rows = np.array(chosen + [chosen[0]] * (batch_size - len(chosen)))
            forced = jnp.full((batch_size, plan.max_tokens), decode.FREE, jnp.int32)
            state = decode.run_dialogues(
                plan, params, *batch, keys[rows], jnp.float32(temperature), forced
            )
            for i, dialogue in zip(chosen, unpack(plan, state), strict=False):
                results[i] = dialogue
            done += len(chosen)
            on_batch(done)
    return results


def pad_prompts(
    prompts: Sequence[list[int]], chosen: list[int], bucket: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The prompts of one batch: int32 [B, P] right-padded with 0, lengths int32 [B], bool [B].

    The last is False for the rows after the `chosen` ones, which only fill up the batch.
    """
    tokens = np.zeros((batch_size, bucket), np.int32)
    lengths = np.ones(batch_size, np.int32)
    for row, index in enumerate(chosen):
        tokens[row, : len(prompts[index])] = prompts[index]
        lengths[row] = len(prompts[index])
    return tokens, lengths, np.arange(batch_size) < len(chosen)


def unpack(plan: decode.DialoguePlan, state: decode.DialogueState) -> list[Dialogue]:
    """The rows of a last state as dialogues."""
    fields = (state.tokens, state.writers, state.log_probs, state.written, state.status)
    if jax.process_count() > 1:  # no process may hold all of it
        fields = multihost_utils.process_allgather(fields, tiled=True)
    tokens, writers, log_probs, written, status = jax.device_get(fields)
    dialogues = []
    for row in range(len(written)):
        turns, start = [], 0
        for i in range(written[row]):
            is_mark = tokens[row, i] in (plan.end_of_turn, plan.end_of_text)
            if is_mark or i == written[row] - 1:
                text = tokens[row, start : i if is_mark else i + 1].tolist()
                log_probability = float(log_probs[row, start : i + 1].sum())
                turns.append(
                    WrittenTurn(int(writers[row, i]), text, i + 1 - start, log_probability)
                )
                start = i + 1
        dialogues.append(Dialogue(turns, decode.STATUS_NAMES[int(status[row])]))
    return dialogues
