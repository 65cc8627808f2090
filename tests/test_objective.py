"""The objective of a training step: weights, counts, students that are only read."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import MODEL, OPTIMIZER, make_batches, make_mesh, ragged_rows, trainer

from distill_jax.model import network, sharding
from distill_jax.training import step
from distill_jax.training.objective import Likelihood

SMALL = dataclasses.replace(MODEL, layers=1)


def lower_step(batch, objective, frozen=(), shape=(1, 1, 1), accumulation=1):
    """(mesh, the step lowered, a first state)."""
    made = trainer(step.Computation(accumulation=accumulation, loss_chunk=7), SMALL)
    made = dataclasses.replace(made, objective=objective)
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, SMALL, OPTIMIZER)
        state = step.random_state(abstract, SMALL, OPTIMIZER, jax.random.key(0))
        shapes = {name: step.abstract_params(mesh, SMALL) for name in frozen}
        return mesh, step.lower_step(mesh, abstract, batch, shapes, made), state


class Unweighted:
    """Cross entropy as it is without weights in the batch."""

    weights = {"likelihood": 1.0}  # noqa: RUF012

    def counts(self, batch):
        return {"likelihood": jnp.sum(batch["writers"] >= 0, dtype=jnp.float32)}

    def sums(self, trainer, params, frozen, batch, key):
        tokens = step.loss_tokens(trainer, params, batch, key)
        logits = network.logits(SMALL, params, tokens.hidden)
        logits = jnp.take_along_axis(logits, tokens.positions[..., None], axis=1)
        logits = jnp.where(trainer.allowed[tokens.writers], logits, -1e30)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens.targets[..., None], -1)
        return {"likelihood": -jnp.sum(chosen[..., 0], where=tokens.writers >= 0)}


@pytest.fixture(scope="module")
def batch():
    return make_batches(ragged_rows(64))[0]


def test_weights_choose_the_tokens_and_their_mean_is_taken_once(batch):
    """Tokens of weight 0 are as if their slots were unused; micro-batches and devices that hold
    other sums of weights change nothing; only the proportions of the weights matter."""
    chosen = np.random.default_rng(0).random(batch["writers"].shape) < 0.4
    chosen[::2] &= np.arange(chosen.shape[1]) < 2  # the micro-batches differ
    weighted = batch | {"weights": (chosen & (batch["writers"] >= 0)).astype(np.float32) / 8}
    cut = batch | {"writers": np.where(chosen, batch["writers"], -1).astype(np.int32)}
    mesh, lowered, state = lower_step(batch, Unweighted())
    _, expected = lowered.compile()(state, sharding.put_batch(mesh, cut), {})
    mesh, lowered, state = lower_step(batch, Likelihood(), shape=(2, 2, 1), accumulation=2)
    function = lowered.compile()
    state, found = function(state, sharding.put_batch(mesh, weighted), {})
    for name in ("loss", "grad_norm"):
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-5)

    nothing = batch | {"weights": np.zeros_like(batch["weights"])}
    state, found = function(state, sharding.put_batch(mesh, nothing), {})
    assert float(found["loss"]) == 0.0 and float(found["grad_norm"]) == 0.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


class NearTo:
    """A toy: the squared distance of the embeddings of the rows' tokens from those of a frozen
    student, and a second term with a count and a weight of its own."""

    weights = {"distance": 1.0, "size": 0.5}  # noqa: RUF012

    def counts(self, batch):
        return {"distance": jnp.sum(batch["length"]), "size": jnp.float32(10.0)}

    def sums(self, trainer, params, frozen, batch, key):
        own, other = (each["wte"]["embedding"] for each in (params, frozen["teacher"]))
        distances = jnp.sum((own - other) ** 2, axis=-1)
        share = batch["inputs"].shape[0] / 8  # micro-batches share the second term
        return {"distance": jnp.sum(distances[batch["inputs"]]), "size": share * jnp.sum(own**2)}


def test_a_frozen_student_is_neither_given_away_nor_changed(batch):
    mesh, lowered, state = lower_step(batch, NearTo(), ("teacher",), (2, 2, 2), accumulation=2)
    (given_away, *kept), _ = lowered.args_info
    assert all(leaf.donated for leaf in jax.tree.leaves(given_away))
    assert not any(leaf.donated for leaf in jax.tree.leaves(kept))
    places = jax.tree.map(lambda leaf: leaf.sharding, state.params)
    init = jax.jit(lambda key: network.init_params(SMALL, key), out_shardings=places)
    teacher, again = init(jax.random.key(1)), init(jax.random.key(1))
    _, metrics = lowered.compile()(state, sharding.put_batch(mesh, batch), {"teacher": teacher})
    for leaf, expected in zip(jax.tree.leaves(teacher), jax.tree.leaves(again), strict=True):
        assert not leaf.is_deleted() and (np.asarray(leaf) == np.asarray(expected)).all()
    # It has been read, and the loss is the sum of the means of two terms.
    own = np.asarray(init(jax.random.key(0))["wte"]["embedding"])
    distances = ((own - np.asarray(again["wte"]["embedding"])) ** 2).sum(axis=-1)
    loss = distances[batch["inputs"]].sum() / batch["length"].sum() + (own**2).sum() / 20
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(metrics["loss_size"]) == pytest.approx((own**2).sum() / 10, rel=1e-5)
