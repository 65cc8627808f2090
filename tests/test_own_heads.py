"""The heads that only their own rows ask: as the heads of all rows, whatever the others do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dialogue_rules import (
    LARGE,
    PLANS,
    SMALL,
    expected_dialogue,
    make_rules,
    obvious_loop,
    ragged_requests,
    random_params,
)
from tiny_student import make_mesh

from distill_jax.sampling import decode, generate, own_heads, pick, said
from distill_jax.sampling.schedule import Job
from distill_jax.sampling.turn_rules import ViewRules

ALL = (True, True, True)
# The first and the last role are the same student's, which looks in two ways.
TWO_OF_ONE = make_rules(
    (ViewRules("asker", SMALL, ALL), ViewRules("answerer", LARGE, ALL),
     ViewRules("asker", SMALL, (False, False, True))),
    (0, 1, 2),
    (True, False, False),
)  # fmt: skip


@pytest.mark.parametrize(("rules", "rows"), [(PLANS["planner_speaks_once"], 64), (TWO_OF_ONE, 20)])
def test_a_row_is_told_what_its_own_head_says_whoever_writes_in_the_others(rules, rows):
    rng = np.random.default_rng(0)
    params = {name: random_params(size, len(name)) for name, size in rules.students.items()}
    hidden = [
        jnp.asarray(rng.normal(size=(rows, view.model.width)), jnp.float32) for view in rules.views
    ]
    allowed = jnp.asarray(rng.random((rows, 128)) < 0.9)

    @jax.jit
    def of_own(params, hidden, writer):
        scores, order = own_heads.said_by_own(rules, params, hidden, writer, allowed)
        return scores[jnp.argsort(order)], order

    of_all = jax.jit(
        lambda params, hidden, writer: said.said(rules, params, hidden, writer, allowed)
    )
    with jax.set_mesh(make_mesh()):
        alone = [of_own(params, hidden, jnp.full(rows, role))[0] for role in range(3)]
        for shares in ([0.1, 0.2, 0.7], [0.4, 0.55, 0.05], [0.5, 0, 0.5]):
            writer = jnp.asarray(rng.choice(3, rows, p=shares))
            scores, order = of_own(params, hidden, writer)
            assert sorted(order.tolist()) == list(range(rows))
            expected = of_all(params, hidden, writer)
            np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
            for role in range(3):
                mine = writer == role
                np.testing.assert_array_equal(scores[mine], alone[role][mine])


@pytest.mark.parametrize(("width", "words"), [(48, 128), (128, 1024)])
def test_a_row_has_the_same_bits_in_a_product_of_any_length(width, words):
    """Otherwise rows would depend on their neighbours."""
    rng = np.random.default_rng(1)
    rows, head = (
        jnp.asarray(rng.normal(size=(count, width)), jnp.float32) for count in (64, words)
    )
    product = jax.jit(lambda rows: jnp.matmul(rows, head.T))
    whole = product(rows)
    for length in own_heads.run_lengths(64)[1:]:
        np.testing.assert_array_equal(product(rows[:length]), whole[:length])
        np.testing.assert_array_equal(product(rows[-length:]), whole[-length:])


@pytest.fixture
def small_heads_too(monkeypatch):
    """As if heads of the tests' students were large. Programs are made anew before and after."""
    monkeypatch.setattr(own_heads, "LEAST_NUMBERS", 0)
    decode.decode_chunk.clear_cache()
    yield
    decode.decode_chunk.clear_cache()


def test_several_devices_ensembles_and_small_heads_use_all_heads(small_heads_too, monkeypatch):
    with jax.set_mesh(make_mesh((2, 1, 1))):
        assert not own_heads.worth_it(TWO_OF_ONE)
    with jax.set_mesh(make_mesh()):
        assert own_heads.worth_it(TWO_OF_ONE)
        assert not own_heads.worth_it(PLANS["ensemble"])
        assert not own_heads.worth_it(PLANS["one_student_two_views"])
        monkeypatch.setattr(own_heads, "LEAST_NUMBERS", 128 * 48 + 1)
        assert not own_heads.worth_it(TWO_OF_ONE)


def test_dialogues_of_own_heads_equal_the_obvious_loop(small_heads_too):
    rules, requests = PLANS["both_read_both"], ragged_requests(30)
    params = {name: random_params(size, len(name)) for name, size in rules.students.items()}
    with jax.set_mesh(make_mesh()):
        job = Job(rules, params, requests, pick.draw(1.3), seed=3, slots=24)
        dialogues, _ = generate.collect(job)
    for request, [dialogue] in zip(requests, dialogues, strict=True):
        written, status = obvious_loop(rules, params, request, temperature=1.3)
        got = [(turn.role, turn.tokens, turn.written) for turn in dialogue.turns]
        assert got == expected_dialogue(written, rules) and dialogue.status == status
