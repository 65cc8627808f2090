"""Mixtures of two rows: worked numbers, partners, the definition; share 1 is the row alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import ALLOWED, MODEL, make_mesh, ragged_rows, trainer

from distill_jax.configs.base import get_config
from distill_jax.model import network
from distill_jax.model.layers import Mix, words
from distill_jax.run import checks
from distill_jax.text.rows import Row
from distill_jax.training import batches
from distill_jax.training.chunks import LossTokens
from distill_jax.training.divergence import Divergence, Reading
from distill_jax.training.mixup import Draw, MixedRows, Mixup
from distill_jax.training.objective import Distillation

STUDENT = dataclasses.replace(MODEL, layers=1)
TEACHER = dataclasses.replace(MODEL, layers=1, width=32)
KL = Divergence(beta=0.0)


def mixed_rows(rows, seed=0):
    draw = Draw(concentration=0.4, seed=seed)
    return MixedRows(rows, "s", 32, 0.0, "config.data.seq_len", draw)


def test_worked_numbers():
    """Two embeddings with share 0.3; and targets 0 and 2 at one place, after logits 1, 0.5, 0."""
    mix = Mix(jnp.array([[1]]), jnp.array([0.3]))
    np.testing.assert_allclose(words(jnp.eye(2), jnp.array([[0]]), mix, None)[0, 0], [0.3, 0.7])
    zero, one = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1))
    rows = {"share": jnp.array([0.3]), "loss_positions": zero, "writers": zero, "weights": one}
    rows |= {"other_loss_positions": zero, "other_writers": zero, "other_weights": one}
    rows |= {"targets": zero, "other_targets": zero + 2}
    objective = Mixup(None, 1.0, 0.0, KL, None, "")
    made = dataclasses.replace(trainer(), allowed=jnp.ones((1, 3), bool))

    def likelihood(logits):
        mine = Reading(jnp.eye(3), LossTokens(logits[None, None], zero, zero, zero))
        return objective.mixed_sums(made, mine, None, rows)["mixed_likelihood"]

    with jax.set_mesh(make_mesh()):
        value, slopes = jax.jit(jax.value_and_grad(likelihood))(jnp.array([1.0, 0.5, 0.0]))
    assert float(value) == pytest.approx(1.380270, abs=1e-6)
    np.testing.assert_allclose(slopes, [0.206480, 0.307196, -0.513676], atol=1e-6)


def test_a_row_is_mixed_with_one_whose_answer_begins_where_its_own_does():
    rows = [
        Row([n, *range(start), 9, 9], [-1] * (start + 1) + [0, 0])
        for n, start in enumerate([2, 5, 2, 5, 2, 7])
    ]
    made = mixed_rows(rows)
    data = batches.Batches(made, batches.row_shape(made, 0, False), seed=0, batch_size=4)
    seen = set()
    for number in range(60):
        row = data.row(number)
        own, other = int(row["inputs"][0]), int(row["other_inputs"][0])
        assert row["loss_positions"][0] == row["other_loss_positions"][0]
        assert 0.0 <= row["share"] <= 1.0
        seen.add((own, other))
    alike = [{0, 2, 4}, {1, 3}, {5}]
    assert seen == {(a, b) for some in alike for a in some for b in some}
    # The same whenever it is asked, other ones with another seed.
    again = batches.Batches(made, data.shape, seed=0, batch_size=4)
    for name, value in data[3].items():
        np.testing.assert_array_equal(again[3][name], value)
    other = batches.Batches(mixed_rows(rows, seed=1), data.shape, seed=0, batch_size=4)
    assert (other[3]["share"] != data[3]["share"]).all()
    assert not data.global_shapes()["share"].shape[1:]


def dense_log_probs(config, params, batch, share):
    """Log-probabilities of the mixture at the slots of the row, and of the other one, [B, K, V]:
    every mixed embedding is a row of a longer table."""
    table, inputs = params["wte"]["embedding"], batch["inputs"]
    s = share[:, None, None]
    mixed = s * table[inputs] + (1 - s) * table[batch["other_inputs"]]
    longer = jnp.concatenate([table, mixed.reshape(-1, config.width)])
    ids = len(table) + jnp.arange(inputs.size).reshape(inputs.shape)
    module = dataclasses.replace(config, vocab_size=len(longer)).module()
    places = jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)
    hidden, _ = module.apply({"params": params | {"wte": {"embedding": longer}}}, ids, places)
    logits = jnp.where(ALLOWED[0], network.logits(config, params, hidden), -jnp.inf)
    at = (batch[f"{of}loss_positions"][..., None] for of in ("", "other_"))
    return [jax.nn.log_softmax(jnp.take_along_axis(logits, slots, axis=1)) for slots in at]


def dense_terms(params, teacher, batch, share):
    """(mixed likelihood, mixed divergence) by the definition, sums over tokens."""
    mine, others = dense_log_probs(STUDENT, params, batch, share), None
    others = dense_log_probs(TEACHER, teacher, batch, share)
    nats = kl = 0.0
    for of, part, student, other in zip(
        ("", "other_"), (share, 1 - share), mine, others, strict=True
    ):
        weights = part[:, None] * batch[f"{of}weights"]
        targets = batch[f"{of}targets"][..., None]
        nats -= jnp.sum(weights * jnp.take_along_axis(student, targets, -1)[..., 0])
        each = jnp.sum(jnp.exp(other) * (other - student), axis=-1, where=ALLOWED[0])
        kl += jnp.sum(weights * each)
    return nats, kl


def test_terms_and_gradients_are_those_of_the_definition():
    """And with share 1 they are those of the row alone, whatever the other row is."""
    made = mixed_rows([*ragged_rows(8), *ragged_rows(8, seed=1)])
    shape = batches.row_shape(made, 0, packed=False)
    [batch, _] = batches.in_order(made, shape, 8, batches.Part(0, 1))
    assert (batch["inputs"] != batch["other_inputs"]).any()
    batch = {name: jnp.asarray(value) for name, value in batch.items()}
    alone = Distillation(1.0, 1.0, KL, TEACHER, "xla")
    objective = Mixup(alone, 0.5, 2.0, KL, TEACHER, "xla")
    assert objective.weights == {
        "divergence": 1.0, "likelihood": 1.0, "mixed_likelihood": 0.5, "mixed_divergence": 2.0,
    }  # fmt: skip
    made_trainer = trainer(model=STUDENT)
    params, teacher = (
        network.init_params(config, jax.random.key(n))
        for n, config in enumerate((STUDENT, TEACHER))
    )

    def ours(params, batch):
        sums = objective.sums(made_trainer, params, {"teacher": teacher}, batch, None)
        return sums["mixed_likelihood"] + 3 * sums["mixed_divergence"], sums

    def dense(params, batch):
        nats, kl = dense_terms(params, teacher, batch, batch["share"])
        return nats + 3 * kl, (nats, kl)

    with jax.set_mesh(make_mesh((2, 1, 2))):
        differentiated = jax.jit(jax.value_and_grad(ours, has_aux=True))
        (_, sums), gradient = differentiated(params, batch)
        (_, whole), _ = differentiated(params, batch | {"share": jnp.ones(8)})
    (_, (nats, kl)), expected = jax.jit(jax.value_and_grad(dense, has_aux=True))(params, batch)
    assert float(sums["mixed_likelihood"]) == pytest.approx(float(nats), rel=1e-5)
    assert float(sums["mixed_divergence"]) == pytest.approx(float(kl), rel=1e-5)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max() + 1))
    for name in ("likelihood", "divergence"):
        assert float(whole[f"mixed_{name}"]) == pytest.approx(float(sums[name]), rel=1e-6)
    counts = objective.counts(batch | {"share": jnp.ones(8)})
    assert len({float(count) for count in counts.values()}) == 1


def test_mistakes():
    config = get_config()
    config.loss.mixed_divergence, config.data.packing = 1.0, True
    assert [line.split(",")[0] for line in checks.mistakes(config)] == [
        "config.loss.mixed_divergence needs config.loss.teacher: the directory of a finished run",
        "config.loss.mixup",
    ]
    config.loss.teacher, config.loss.mixup = "runs/a", 0.4
    [line] = checks.mistakes(config)
    assert line == "config.loss.mixup needs whole rows: set --config.data.packing=False"
    config.loss.preference = 1.0
    assert "config.loss.preference and config.loss.mixup learn from different rows" in "".join(
        checks.mistakes(config)
    )
