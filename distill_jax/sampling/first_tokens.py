"""The most likely first tokens of a dialogue, from which several branches may begin."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.model.network import logits
from distill_jax.model.sharding import BATCH
from distill_jax.sampling import slots
from distill_jax.sampling.turn_rules import TurnRules, allowed_tokens

ROWS = 32  # prompts at a time, for each part of the mesh


def first_tokens(
    rules: TurnRules, params: Mapping[str, Any], prompts: Sequence[Sequence[int]], count: int
) -> np.ndarray:
    """int32 [prompts, count]: the tokens with which role 0 most probably begins, the most likely
    first.

    Only tokens that it may write, without end marks, because a branch that begins with one would be
    empty. Call it under `jax.set_mesh`; no prompt may be longer than the context.
    """
    size = ROWS * slots.parts()
    longest = max(map(len, prompts), default=1)
    length = next(n for n in slots.bucket_lengths(rules.context) if n >= longest)
    found = []
    for start in range(0, len(prompts), size):
        part = prompts[start : start + size]
        padded, lengths = np.zeros((size, length), np.int32), np.ones(size, np.int32)
        for row, prompt in enumerate(part):
            padded[row, : len(prompt)], lengths[row] = prompt, len(prompt)
        tokens = _most_likely(rules, dict(params), padded, lengths, count)
        found.append(np.asarray(jax.device_get(tokens))[: len(part)])
    return np.concatenate(found) if found else np.zeros((0, count), np.int32)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _most_likely(
    rules: TurnRules, params: dict[str, Any], prompts: jax.Array, lengths: jax.Array, count: int
) -> jax.Array:
    """int32 [G, count] of right-padded prompts int32 [G, P] of so many tokens, int32 [G]."""
    view = rules.views[rules.role_views[0][0]]  # of an ensemble, the first member's
    network = view.model.module(jnp.dtype(rules.dtype), layout=BATCH)
    positions = jnp.broadcast_to(jnp.arange(prompts.shape[1]), prompts.shape)
    hidden, _ = network.apply({"params": params[view.student]}, prompts, positions)
    last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]
    said = logits(view.model, params[view.student], last)
    marks = jnp.array([rules.end_of_turn, rules.end_of_text])
    allowed = allowed_tokens(rules)[0].at[marks].set(False)
    _, tokens = jax.lax.top_k(jnp.where(allowed, said, -jnp.inf), count)
    return tokens
