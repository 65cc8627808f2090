"""Each student's head for the rows that it writes in, and for few others.

On a CPU both heads for all rows are a third of a decode step of 4 layers of gpt2.

B rows, D embed, V vocabulary (padded). Rows are put in the order of their students, so that a head
is multiplied with one run of rows. Here B is 48, and the second of two students writes in 21 rows:

    student   0 0 0 0 ... 0 | 0 ... 0 1 1 1 1 1 | 1 1 1 ... 1
    row       0             | 16               | 32        47
    head 0    -------------------------------->
    head 1                   <--------------------------------

A product of 16, 32, 48, ... rows gives a row the same bits whatever their number (tests/
test_own_heads.py), so a row still does not depend on its neighbours. Products of fewer rows do not:
they are other programs of the compiler's (docs/log.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.model.network import NetworkConfig, logits
from distill_jax.sampling.said import heads_asked
from distill_jax.sampling.turn_rules import TurnRules

LEAST_ROWS = 16  # of a product, if there are more rows
MOST_SIZES = 8  # of products of one head; each is compiled
# A head's numbers. With 0.13 M (the demo's) a step takes 1.06 times as long, with 39 M (gpt2's, 4
# layers) 0.87 times; in between nothing was measured.
LEAST_NUMBERS = 1 << 22


def worth_it(rules: TurnRules) -> bool:
    """Whether rows are on one device (`jax.set_mesh`) and ask one student of several each, and
    heads are large."""
    one_device = jax.sharding.get_abstract_mesh().size == 1
    views = [rules.views[views[0]] for views in rules.role_views]
    several = len(rules.role_views[0]) == 1 and len({view.student for view in views}) > 1
    numbers = max(view.model.vocab_size * view.model.width for view in views)
    return one_device and several and numbers >= LEAST_NUMBERS


def run_lengths(rows: int) -> tuple[int, ...]:
    """How many rows a product may have: 0, and some up to `rows`.

    >>> run_lengths(1), run_lengths(20), run_lengths(256)[:4]
    ((0, 1), (0, 16, 20), (0, 32, 64, 96))
    """
    step = max(LEAST_ROWS, -(-rows // (LEAST_ROWS * MOST_SIZES)) * LEAST_ROWS)
    return (*range(0, rows, step), rows)


def said_by_own(
    rules: TurnRules,
    params: Mapping[str, Any],
    hidden: Sequence[jax.Array],
    writer: jax.Array,
    allowed: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """What `said.said` says, float32 [B, V], in another order of the rows; and this order, int32
    [B]: the first is of row order[0]. `rules` as in `worth_it`."""
    views = [views[0] for views in rules.role_views]
    number, _ = heads_asked(rules, hidden, writer, views)
    order = jnp.argsort(number, stable=True)
    number, of_student = heads_asked(rules, [each[order] for each in hidden], writer[order], views)
    chosen: Any = None
    for index, (student, own) in enumerate(of_student.items()):
        mine = number == index
        each = _of_run(rules.students[student], params[student], own, mine)
        chosen = each if chosen is None else jnp.where(mine[:, None], each, chosen)
    return jnp.where(allowed[order], chosen, -jnp.inf), order


def _of_run(model: NetworkConfig, params: Any, hidden: jax.Array, mine: jax.Array) -> jax.Array:
    """Logits float32 [B, V] of the rows that are `mine` (bool [B], one run), and anything in the
    others."""
    rows = hidden.shape[0]
    lengths = run_lengths(rows)
    step = lengths[1]
    first = jnp.argmax(mine) // step * step
    last = rows - jnp.argmax(mine[::-1])
    chosen = jnp.where(jnp.any(mine), -(-(last - first) // step), 0)

    def product(length: int):
        def multiply(params: Any, hidden: jax.Array, first: jax.Array) -> jax.Array:
            said = jnp.zeros((rows, model.vocab_size), jnp.float32)
            if not length:
                return said
            run = jax.lax.dynamic_slice_in_dim(hidden, first, length)
            # A run that would end behind the last row begins earlier, in both.
            own = logits(model, params, run)
            return jax.lax.dynamic_update_slice_in_dim(said, own, first, 0)

        return multiply

    return jax.lax.switch(chosen, [product(length) for length in lengths], params, hidden, first)
