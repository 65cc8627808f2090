"""The loss of a pair of texts: worked numbers, TRL, a step of training by the definition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import ALLOWED, MODEL, OPTIMIZER, make_mesh, ragged_rows, trainer

from distill_jax.errors import UserError
from distill_jax.model import network, sharding
from distill_jax.text.rows import NO_LOSS, Row, Rows
from distill_jax.training import batches, pairs, step
from distill_jax.training.batches import Part
from distill_jax.training.preference import (
    Preference,
    preference_losses,
    preference_margins,
    references,
)

# Chosen -10 (reference -11), rejected -12 (reference -11.5), each in two tokens, one slot unused.
LOG_PROBS = jnp.array([[-4.0, -6.0, -5.0, -7.0, -3.0]])
REFERENCE = jnp.array([[-5.0, -6.0, -5.5, -6.0, 0.0]])
SIGNS = jnp.array([[1.0, 1.0, -1.0, -1.0, 0.0]])
SMALL = dataclasses.replace(MODEL, layers=1)


def test_worked_numbers():
    value, slopes = jax.value_and_grad(lambda x: preference_losses(x, REFERENCE, SIGNS, 0.1)[0])(
        LOG_PROBS
    )
    assert float(preference_margins(LOG_PROBS, REFERENCE, SIGNS, 0.1)[0]) == pytest.approx(0.15)
    assert float(value) == pytest.approx(0.620957, abs=1e-6)
    expected = [[-0.046257, -0.046257, 0.046257, 0.046257, 0.0]]
    np.testing.assert_allclose(slopes, expected, atol=1e-6)


def test_at_the_start_every_pair_costs_log_2_and_pulls_alike():
    value, slopes = jax.value_and_grad(lambda x: preference_losses(x, REFERENCE, SIGNS, 0.1)[0])(
        REFERENCE
    )
    assert float(value) == pytest.approx(np.log(2))
    np.testing.assert_allclose(slopes, -0.05 * SIGNS, atol=1e-7)


def test_a_pair_that_is_told_apart_wrongly_by_far_stays_finite():
    value, slopes = jax.value_and_grad(lambda x: preference_losses(x, REFERENCE, SIGNS, 1.0)[0])(
        LOG_PROBS - 1000.0 * SIGNS
    )
    assert float(value) == pytest.approx(4000 - 1.5)
    np.testing.assert_allclose(slopes, -SIGNS, atol=1e-6)


def test_rows_of_a_pair_lie_side_by_side():
    """Two tokens of the better text, `8 0`, and one of the worse, `0`, after questions."""
    rows = Rows.of([Row([5, 6, 8, 0], [-1, -1, 0, 0]), Row([5, 6, 7, 0], [-1, -1, -1, 0])])
    made = pairs.PairRows(rows, "s", context=8, group=2)
    made.set_reference(np.array([-1.0, -2.0, -3.0], np.float32))
    row = batches.assemble(made, [0, 1], made.shape(0))
    assert row["inputs"].tolist() == [5, 6, 8, 5, 6, 7, 0, 0]
    assert row["segments"].tolist() == [1, 1, 1, 2, 2, 2, 0, 0]
    assert row["positions"].tolist() == [0, 1, 2, 0, 1, 2, 0, 0]
    assert row["targets"].tolist() == [8, 0, 0, 0] and row["writers"].tolist() == [0, 0, 0, -1]
    assert row["signs"].tolist() == [1, 1, -1, 0]
    assert row["reference"].tolist() == [-1, -2, -3, 0]
    assert row["weights"].tolist() == [1, 1, 0, 0]
    with pytest.raises(UserError, match="2 reference log-probabilities for 3 tokens"):
        made.set_reference(np.zeros(2, np.float32))


def test_pairs_that_teach_nothing_or_do_not_fit_are_left_out():
    learned, empty = [NO_LOSS, 0, 0], [NO_LOSS] * 3
    a, b = Row([1, 2, 3], learned, problem="a"), Row([1, 4, 5], learned, problem="b")
    long = Row([1] * 9, [NO_LOSS] * 8 + [0])
    rows = Rows.of([a, b, a, a, a, Row([1, 2, 3], empty), a, long, long, b, b, a])
    found = pairs.usable(rows, 2, context=8, seq_len=9)
    assert (found.too_long, found.alike) == (2, 2)
    assert [row.tokens for row in found.rows] == [[1, 2, 3], [1, 4, 5], [1, 4, 5], [1, 2, 3]]
    assert list(found.rows.problems) == ["a", "b", "b", "a"]
    # Of two views a pair has four rows; their texts differ if one row does.
    assert len(pairs.usable(Rows.of([a, a, a, b]), 4, context=8, seq_len=0).rows) == 4
    assert pairs.usable(Rows.of([a, b, a, b]), 4, context=8, seq_len=0).alike == 1


def dense_log_probs(params, rows):
    """[rows, K] of whole rows, each by itself: no packing, all logits at once; 0 if unused."""
    source = batches.StudentRows(rows, "s", 32, 0.0)
    [batch] = batches.dev_batches(source, batches.row_shape(source, 0, False), len(rows), 0, 1)
    places = jnp.broadcast_to(jnp.arange(batch["inputs"].shape[1]), batch["inputs"].shape)
    module = SMALL.module(jnp.float32, kernel="xla", remat=False, layout=None)
    hidden, _ = module.apply({"params": params}, batch["inputs"], places, None)
    logits = network.logits(SMALL, params, hidden)
    logits = jnp.take_along_axis(logits, jnp.asarray(batch["loss_positions"])[..., None], axis=1)
    log_probs = jax.nn.log_softmax(jnp.where(ALLOWED[0], logits, -jnp.inf))
    chosen = jnp.take_along_axis(log_probs, jnp.asarray(batch["targets"])[..., None], -1)
    return jnp.where(batch["writers"] >= 0, chosen[..., 0], 0.0)


def dense_loss(params, reference, rows, beta, likelihood):
    """By the definition: (loss, (margins, gains of the chosen texts)) of pairs of rows."""
    log_probs = dense_log_probs(params, rows)
    gains = jnp.sum(log_probs - reference, axis=1).reshape(-1, 2)
    margins = beta * (gains[:, 0] - gains[:, 1])
    chosen = sum(sum(writer >= 0 for writer in row.writers) for row in rows[::2])
    nats = -jnp.sum(log_probs[::2]) / chosen
    loss = jnp.mean(-jnp.log(jax.nn.sigmoid(margins))) + likelihood * nats
    return loss, (margins, gains[:, 0])


def test_a_step_is_that_of_the_definition_on_a_mesh():
    """Eight devices, the vocabulary split, two micro-batches, chunks that no row fills."""
    rows = ragged_rows(16)
    source = pairs.PairRows(Rows.of(rows), "s", 32, group=2)
    shape, beta, likelihood = source.shape(0), 0.4, 0.5
    made = trainer(step.Computation(accumulation=2, loss_chunk=7), SMALL)
    made = dataclasses.replace(made, objective=Preference(1.0, beta, likelihood))
    mesh = make_mesh((2, 2, 2))
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, SMALL, OPTIMIZER)
        before = step.random_state(abstract, SMALL, OPTIMIZER, jax.random.key(0))
        # In batches of which the last one is not full.
        found = references(mesh, made, before.params, source, shape, 12)
        [empty] = batches.in_order(source, shape, 8, Part(0, 1))
        source.set_reference(found)
        [batch] = batches.in_order(source, shape, 8, Part(0, 1))
        first = jax.device_get(before.params)
        after = step.random_state(abstract, SMALL, OPTIMIZER, jax.random.key(1))
        params = jax.device_get(after.params)
        function = step.lower_step(mesh, abstract, batch, {}, made).compile()
        _, start = function(before, sharding.put_batch(mesh, batch), {})
        _, metrics = function(after, sharding.put_batch(mesh, batch), {})
    assert not empty["reference"].any()
    reference = dense_log_probs(first, rows)
    np.testing.assert_allclose(found, np.asarray(reference)[reference != 0], atol=1e-5)
    assert float(start["loss_preference"]) == pytest.approx(np.log(2), abs=1e-5)
    assert float(start["chosen_gain"]) == pytest.approx(0.0, abs=1e-5)
    (value, (margins, gains)), gradient = jax.jit(
        jax.value_and_grad(
            lambda params: dense_loss(params, reference, rows, beta, likelihood), has_aux=True
        )
    )(params)
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-4)
    assert float(metrics["margin"]) == pytest.approx(float(margins.mean()), rel=1e-3)
    assert float(metrics["preferred"]) == pytest.approx(float((margins > 0).mean()))
    assert float(metrics["chosen_gain"]) == pytest.approx(float(gains.mean()), rel=1e-4)


def test_a_term_of_weight_0_is_not_computed():
    assert Preference(1.0, 0.1).weights == {"preference": 1.0}
    batch = {"signs": SIGNS, "weights": jnp.ones((1, 5))}
    assert "likelihood" not in Preference(1.0, 0.1).counts(batch)
