"""What the role whose turn it is says of the next token: one student's logits, or an ensemble's.

B rows, D embed, V vocabulary (padded).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.model.network import logits
from distill_jax.sampling.turn_rules import GEOMETRIC, TurnRules


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

    Every row gets the logits of every student, and one is chosen. To use a student's head only for
    the rows that it writes in would save a tenth of a step on a CPU, but what a row gets would then
    depend on its neighbours, in the last bits (docs/log.md). A lone row has no neighbours.
    """
    role_view = jnp.array(views)[writer]
    of_student: dict[str, jax.Array] = {}
    for index in sorted(set(views)):
        student, own = rules.views[index].student, hidden[index]
        if student in of_student:  # it looks in two ways
            own = jnp.where((role_view == index)[:, None], own, of_student[student])
        of_student[student] = own
    students = list(of_student)
    number = jnp.array([students.index(rules.views[view].student) for view in views])[writer]
    chosen: Any = None
    for index, (student, own) in enumerate(of_student.items()):
        head = functools.partial(logits, rules.students[student], params[student])
        writes = number == index
        certain = len(writer) > 1 or len(of_student) == 1
        each = head(own) if certain else _if_it_writes(writes[0], head, own)
        chosen = each if chosen is None else jnp.where(writes[:, None], each, chosen)
    return chosen


def _if_it_writes(writes: jax.Array, head: Callable[[jax.Array], jax.Array], own: jax.Array):
    """head(own), or zeros if `writes` (bool []) is false: a step need not read the head then."""
    shape = jax.eval_shape(head, own)
    return jax.lax.cond(writes, head, lambda _: jnp.zeros(shape.shape, shape.dtype), own)
