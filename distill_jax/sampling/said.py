"""The logits of each row, from the head of the student whose role writes.

B rows, D embed, V vocabulary (padded). Students have a head each, and a row needs that of one.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.model.network import logits
from distill_jax.sampling.turn_rules import TurnRules

PARTS = 8  # the sizes in which rows are taken together: eighths of all rows


def said(
    rules: TurnRules, params: dict[str, Any], hidden: Sequence[jax.Array], writer: jax.Array
) -> jax.Array:
    """float32 [B, V] of what the views' networks say, [B, D] each; `writer` int32 [B] is the role
    whose turn it is.

    A GPU or a TPU reads all heads for a few rows as for many, so every row gets every student's
    logits, and one is chosen. A CPU multiplies: there a student's head is only used for the rows
    that it writes in.
    """
    of_student = _of_students(rules, hidden, writer)
    students = list(of_student)
    number = jnp.array([students.index(rules.views[v].student) for v in rules.role_view])[writer]
    if len(students) == 1:
        [student] = students
        return logits(rules.students[student], params[student], of_student[student])
    if jax.sharding.get_abstract_mesh().size > 1:
        return _all_heads(rules, params, of_student, number)
    return jax.lax.platform_dependent(
        *(params, of_student, number),
        cpu=lambda *arguments: _own_heads(rules, *arguments),
        default=lambda *arguments: _all_heads(rules, *arguments),
    )


def _of_students(rules, hidden, writer) -> dict[str, jax.Array]:
    """[B, D] of each student that writes, from the view of the role whose turn it is."""
    role_view = jnp.array(rules.role_view)[writer]
    found: dict[str, jax.Array] = {}
    for index in sorted(set(rules.role_view)):
        student = rules.views[index].student
        if student in found:
            writes = (role_view == index)[:, None]
            found[student] = jnp.where(writes, hidden[index], found[student])
        else:
            found[student] = hidden[index]
    return found


def _all_heads(rules, params, of_student, number):
    chosen: Any = None
    for index, (student, hidden) in enumerate(of_student.items()):
        each = logits(rules.students[student], params[student], hidden)
        own = (number == index)[:, None]
        chosen = each if chosen is None else jnp.where(own, each, chosen)
    return chosen


def _own_heads(rules, params, of_student, number):
    """Each student's rows are moved together, and as many eighths of all rows as hold them are
    multiplied with its head: at most an eighth more per student than there are rows."""
    rows = number.size
    sizes = sorted({-(-rows * part // PARTS) for part in range(PARTS + 1)})
    order = jnp.argsort(number)  # stable
    order = jnp.concatenate([order, jnp.full(rows, rows)])  # so that no slice is moved to fit
    place = jnp.arange(rows)
    out = jnp.zeros((rows, rules.views[0].model.vocab_size), jnp.float32)
    start = jnp.int32(0)
    for index, (student, hidden) in enumerate(of_student.items()):
        count = jnp.sum(number == index)

        def compute(size, student=student, hidden=hidden, start=start, count=count):
            def branch(out):
                mine = jax.lax.dynamic_slice(order, (start,), (size,))
                mine = jnp.where(place[:size] < count, mine, rows)  # others are dropped
                taken = hidden.at[mine].get(mode="fill", fill_value=0)
                each = logits(rules.students[student], params[student], taken)
                return out.at[mine].set(each, mode="drop")

            return branch

        branch = jnp.searchsorted(jnp.array(sizes), count)  # the smallest size that holds them
        out = jax.lax.switch(branch, [compute(size) for size in sizes], out)
        start += count
    return out
