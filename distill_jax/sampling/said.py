"""The logits of each row, from the head of the student whose role writes.

B rows, D embed, V vocabulary (padded). Students have a head each, and a row needs that of one.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.model.network import logits
from distill_jax.sampling.turn_rules import GEOMETRIC, TurnRules

PARTS = 8  # the sizes in which rows are taken together: eighths of all rows


def said(
    rules: TurnRules,
    params: dict[str, Any],
    hidden: Sequence[jax.Array],
    writer: jax.Array,
    allowed: jax.Array,
) -> jax.Array:
    """float32 [B, V] of what the views' networks say, [B, D] each: -inf where a token is not
    `allowed` (bool [B, V]), else the logits of the role whose turn it is (`writer` int32 [B]).

    Of an ensemble they are the logarithms of the mean of its members' probabilities. With
    probabilities .6 .3 .1, .05 .35 .6 and .5 .45 .05 the arithmetic mean is .3833 .3667 .25, the
    geometric one .3278 .4805 .1917.
    """
    members = [
        jnp.where(allowed, _of_member(rules, params, hidden, writer, views), -jnp.inf)
        for views in zip(*rules.role_views, strict=True)
    ]
    if len(members) == 1:
        return members[0]
    log_probs = jnp.stack([jax.nn.log_softmax(each) for each in members])
    if rules.mean == GEOMETRIC:
        return jnp.mean(log_probs, axis=0)  # -inf stays: no member may write that token
    return jax.nn.logsumexp(log_probs, axis=0) - math.log(len(members))


def _of_member(rules, params, hidden, writer, views: Sequence[int]) -> jax.Array:
    """Logits float32 [B, V]; `views` [R] are those in which the member's roles write.

    A GPU or a TPU reads all heads for a few rows as for many, so every row gets every student's
    logits, and one is chosen. A CPU multiplies: there a student's head is only used for the rows
    that it writes in.
    """
    of_student: dict[str, jax.Array] = {}
    for index in sorted(set(views)):
        student, own = rules.views[index].student, hidden[index]
        if student in of_student:  # it looks in two ways
            writes = (jnp.array(views)[writer] == index)[:, None]
            own = jnp.where(writes, own, of_student[student])
        of_student[student] = own
    if len(of_student) == 1:
        [(student, own)] = of_student.items()
        return logits(rules.students[student], params[student], own)
    students = list(of_student)
    own = [of_student[student] for student in students]
    heads = [functools.partial(logits, rules.students[s], params[s]) for s in students]
    number = jnp.array([students.index(rules.views[view].student) for view in views])[writer]
    if jax.sharding.get_abstract_mesh().size > 1:
        return _all_heads(heads, own, number)
    return jax.lax.platform_dependent(
        *(own, number),
        cpu=functools.partial(_own_heads, heads),
        default=functools.partial(_all_heads, heads),
    )


def _all_heads(heads, hidden, number):
    """Logits [B, V]; row i is what head `number[i]` makes of its row of hidden states."""
    chosen: Any = None
    for index, (head, each) in enumerate(zip(heads, hidden, strict=True)):
        own = (number == index)[:, None]
        chosen = head(each) if chosen is None else jnp.where(own, head(each), chosen)
    return chosen


def _own_heads(heads, hidden, number):
    """The same. Each head's rows are moved together, and as many eighths of all rows as hold them
    are multiplied with it: at most an eighth more per head than there are rows."""
    rows = number.size
    sizes = sorted({-(-rows * part // PARTS) for part in range(PARTS + 1)})
    order = jnp.argsort(number)  # stable
    order = jnp.concatenate([order, jnp.full(rows, rows)])  # so that no slice is moved to fit
    words = jax.eval_shape(heads[0], hidden[0]).shape[-1]
    filled, start = jnp.zeros((rows, words), jnp.float32), jnp.int32(0)
    for index, (head, each) in enumerate(zip(heads, hidden, strict=True)):
        count = jnp.sum(number == index)
        mine = jax.lax.dynamic_slice(order, (start,), (rows,))
        mine = jnp.where(jnp.arange(rows) < count, mine, rows)  # those after them are dropped
        fill = [functools.partial(_fill, head, size) for size in sizes]
        enough = jnp.searchsorted(jnp.array(sizes), count)  # the smallest size that holds them
        filled = jax.lax.switch(enough, fill, filled, each, mine)
        start += count
    return filled


def _fill(head, size, filled, hidden, mine):
    """`filled` [B, V] with what `head` says in the first `size` rows that `mine` [B] numbers."""
    mine = mine[:size]
    taken = hidden.at[mine].get(mode="fill", fill_value=0)
    return filled.at[mine].set(head(taken), mode="drop")
