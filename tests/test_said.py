"""What a role says of the next token: heads of its own rows only, and means of an ensemble."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue_rules import BOTH, LARGE, PADDED, SMALL, make_rules
from tiny_student import make_mesh

from distill_jax.sampling import said
from distill_jax.sampling.turn_rules import ViewRules


@pytest.mark.parametrize("rows", [1, 3, 8, 21])
def test_every_row_gets_the_logits_of_the_student_that_writes(rows):
    rules = make_rules(
        (ViewRules("b", SMALL, BOTH), ViewRules("a", LARGE, BOTH)), (0, 1), (True, False)
    )
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        name: {"wte": {"embedding": jax.random.normal(key, (PADDED, size.width))}}
        for name, size, key in zip("ba", (SMALL, LARGE), keys[:2], strict=True)
    }
    hidden = [jax.random.normal(k, (rows, m.width)) for k, m in zip(keys[2:], (SMALL, LARGE))]  # noqa: B905
    heads = [params[name]["wte"]["embedding"] for name in "ba"]
    expected = [np.asarray(h @ head.T) for h, head in zip(hidden, heads, strict=True)]
    rng = np.random.default_rng(rows)
    everything = jnp.ones((rows, PADDED), bool)
    with jax.set_mesh(make_mesh()):
        compute = jax.jit(lambda writer: said.said(rules, params, hidden, writer, everything))
        for share in (0.0, 0.2, 0.5, 1.0):
            writer = (rng.random(rows) < share).astype(np.int32)
            found = np.asarray(compute(writer))
            for row, role in enumerate(writer):
                np.testing.assert_allclose(found[row], expected[role][row], atol=1e-4)


P = [[0.6, 0.3, 0.1], [0.05, 0.35, 0.6], [0.5, 0.45, 0.05]]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [("arithmetic", [0.383333, 0.366667, 0.25]), ("geometric", [0.327794, 0.480512, 0.191695])],
)
def test_worked_numbers_of_an_ensemble(monkeypatch, mean, expected):
    """The members say these probabilities, and a fourth word that is not allowed."""
    names = "abc"
    rules = make_rules(
        tuple(ViewRules(name, SMALL, (True,)) for name in names), ((0, 1, 2),), (True,), mean=mean
    )
    logits = [jnp.log(jnp.array([*p, 0.7]))[None] for p in P]
    monkeypatch.setattr(said, "_of_member", lambda *a: logits[a[-1][0]])
    allowed = jnp.array([[True, True, True, False]])
    found = said.said(rules, {}, [], jnp.zeros(1, jnp.int32), allowed)
    np.testing.assert_allclose(jax.nn.softmax(found)[0], [*expected, 0.0], atol=1e-6)
