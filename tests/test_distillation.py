"""Students that learn from the probabilities of a frozen one."""

import dataclasses

import experiment_runs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import (
    ALLOWED,
    MODEL,
    OPTIMIZER,
    make_batches,
    make_mesh,
    ragged_rows,
    student_rows,
    trainer,
)

from distill_jax.configs.base import get_config
from distill_jax.model import network, sharding
from distill_jax.records import Annotation, Step
from distill_jax.run import checks
from distill_jax.settings import command_line
from distill_jax.text.rows import NO_LOSS, Row, encode_rows, make_views, seeing_more, show_row
from distill_jax.text.tokenizer import train_tokenizer
from distill_jax.text.transcript import SCHEMES
from distill_jax.training import batches, step
from distill_jax.training.divergence import Divergence
from distill_jax.training.objective import Distillation
from distill_jax.training.taught_rows import TaughtRows

STUDENT = dataclasses.replace(MODEL, layers=1)
TEACHER = dataclasses.replace(MODEL, layers=1, width=32)  # larger than the student


def dense_loss(params, teacher, batch, likelihood, divergence, read=None):
    """By the definition, with all logits at once: likelihood and KL(teacher || student).
    `read`: a batch of the teacher's own rows."""

    def log_probs(config, params, batch):
        places = jnp.broadcast_to(jnp.arange(batch["inputs"].shape[1]), batch["inputs"].shape)
        module = config.module(jnp.float32, kernel="xla", remat=False, layout=None)
        hidden, _ = module.apply({"params": params}, batch["inputs"], places, None)
        logits = network.logits(config, params, hidden)
        chosen = jnp.take_along_axis(logits, batch["loss_positions"][..., None], axis=1)
        return jax.nn.log_softmax(jnp.where(ALLOWED[0], chosen, -jnp.inf))

    mine = log_probs(STUDENT, params, batch)
    other = log_probs(TEACHER, teacher, read or batch)
    nats = -jnp.take_along_axis(mine, batch["targets"][..., None], -1)[..., 0]
    kl = jnp.sum(jnp.exp(other) * (other - mine), axis=-1, where=ALLOWED[0])
    weights = batch["weights"]
    return jnp.sum(weights * (likelihood * nats + divergence * kl)) / jnp.sum(weights)


def test_a_step_is_that_of_the_definition_on_a_mesh():
    batch = make_batches(ragged_rows(64))[0]
    objective = Distillation(0.5, 2.0, Divergence(beta=0.0), TEACHER, kernel="xla")
    made = trainer(step.Computation(accumulation=2, loss_chunk=7), STUDENT)
    made = dataclasses.replace(made, objective=objective)
    mesh = make_mesh((2, 2, 2))
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, STUDENT, OPTIMIZER)
        state = step.random_state(abstract, STUDENT, OPTIMIZER, jax.random.key(0))
        shapes = step.abstract_params(mesh, TEACHER)
        teacher = jax.device_get(network.init_params(TEACHER, jax.random.key(1)))
        frozen = {"teacher": step.placed(shapes, teacher)}
        own = jax.device_get(state.params)
        function = step.lower_step(mesh, abstract, batch, frozen, made).compile()
        _, metrics = function(state, sharding.put_batch(mesh, batch), frozen)
    arrays = {name: jnp.asarray(value) for name, value in batch.items()}
    value, gradient = jax.value_and_grad(dense_loss)(own, teacher, arrays, 0.5, 2.0)
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-4)
    terms = {name: dense_loss(own, teacher, arrays, *weights) for name, weights in TERMS.items()}
    for name, expected in terms.items():
        assert float(metrics[f"loss_{name}"]) == pytest.approx(float(expected), rel=1e-5)


def test_a_teacher_may_read_rows_of_its_own():
    """Each row of the teacher has two more tokens before those of its student; a row that is too
    long for the student is dropped from both."""
    rows = [*ragged_rows(7), Row([1] * 28, [NO_LOSS] * 27 + [0]), *ragged_rows(1, seed=3)]
    more = [Row([7, 8, *row.tokens], [NO_LOSS] * 2 + row.writers) for row in rows]
    made = TaughtRows(rows, "s", 24, 0.5, "config.data.seq_len", more)
    assert len(made) == len(made.read_by_teacher) == 8
    shape = batches.row_shape(made, 24, packed=False)
    [batch] = batches.in_order(made, shape, 8, batches.Part(0, 1))
    kept = [each for each in more if len(each.tokens) < 28]
    whole = student_rows(kept)
    [read] = batches.in_order(whole, batches.row_shape(whole, 0, False), 8, batches.Part(0, 1))
    objective = Distillation(0.0, 1.0, Divergence(beta=0.0), TEACHER, kernel="xla")
    made_trainer = dataclasses.replace(trainer(model=STUDENT), objective=objective)
    params, teacher = (
        network.init_params(config, jax.random.key(n))
        for n, config in enumerate((STUDENT, TEACHER))
    )
    with jax.set_mesh(make_mesh()):
        sums = jax.jit(
            lambda batch: objective.sums(made_trainer, params, {"teacher": teacher}, batch, None)
        )(batch)
    expected = dense_loss(params, teacher, batch, 0.0, 1.0, read)
    assert float(expected) != pytest.approx(
        float(dense_loss(params, teacher, batch, 0.0, 1.0)), rel=1e-3
    )
    found = float(sums["divergence"] / batch["weights"].sum())
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_the_rows_of_a_teacher_that_sees_the_subquestions():
    """Solutions without and with the subquestions that they answer."""
    steps = Step("How many?", "1+1 = 2"), Step("And in all?", "2+2 = 4")
    made = Annotation("a", "What is twice 2?", "4", steps, {"kind": "gold"})
    scheme = SCHEMES["socratic"]
    tokenizer = train_tokenizer(["What is twice 2? How many And in all? 1+1 = 2 #### 4"], 300)
    views = make_views(scheme, {"decomposer": "d", "solver": "s"}, {"decomposer": [], "solver": []})
    blind = encode_rows([made], scheme, views, tokenizer)["s"]
    seeing = encode_rows([made], scheme, seeing_more(views, ("decomposer",)), tokenizer)["s"]
    shown = [show_row(rows[0], tokenizer, scheme.roles) for rows in (blind, seeing)]
    mark = tokenizer.decode([tokenizer.end_of_turn])
    assert shown[0] == f"What is twice 2?{mark}[solver>1+1 = 2{mark}2+2 = 4\n#### 4{mark}]"
    assert shown[1] == (
        f"What is twice 2?{mark}How many?{mark}[solver>1+1 = 2{mark}]And in all?{mark}"
        f"[solver>2+2 = 4\n#### 4{mark}]"
    )
    taught = TaughtRows(blind, "s", 64, 0.0, "config.data.seq_len", seeing)
    (_, targets, _), (_, read, _) = taught.losses(0), taught.read_by_teacher.losses(0)
    assert targets.tolist() == read.tolist()


TERMS = {"likelihood": (1.0, 0.0), "divergence": (0.0, 1.0)}


def test_a_run_learns_from_the_students_of_another(tiny_run, tmp_path):
    """Students that begin as their teachers have nothing to learn from them."""
    teacher, _ = tiny_run
    settings = [
        *experiment_runs.TINY,
        f"--config.loss.teacher={teacher}",
        "--config.loss.divergence=1.0",
        "--config.loss.likelihood=0.0",
        f"--config.tokenizer.name={teacher / 'tokenizer'}",
        "--config.train.log_every=1",
        "--config.train.steps=3",
        "--config.evaluation.problems=2",
        *(
            f"--config.model.{each}.init_from={teacher}/checkpoints/{each}"
            for each in ("decomposer", "solver")
        ),
    ]
    done = experiment_runs.run("main", *settings, "--workdir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"the teacher: {teacher}/checkpoints/solver" in done.stdout
    for student in ("decomposer", "solver"):
        (_, first), *later = experiment_runs.curve(tmp_path, f"train/{student}/loss")
        assert abs(first) < 1e-5 and len(later) == 2
    other = experiment_runs.run("main", *settings, "--config.loss.beta=0.5", "--workdir", tmp_path)
    assert "loss.beta" in experiment_runs.one_error_line(other)


def test_mistakes_of_the_section():
    config = get_config()
    command_line.apply_overrides(config, {"loss.divergence": "0.5", "loss.beta": "1.5"})
    found = checks.mistakes(config)
    assert [line.split(":")[0].split(" ")[0] for line in found] == [
        "config.loss.beta=1.5",
        "config.loss.divergence",
    ]
    command_line.apply_overrides(config, {"loss.divergence": "0.0", "loss.beta": "0.5"})
    config.loss.teacher_reads = ("decomposer",)
    assert [line.split(",")[0] for line in checks.mistakes(config)] == [
        "config.loss.teacher_reads is set"
    ]
    config.loss.divergence, config.loss.teacher = 1.0, "runs/a"
    config.loss.teacher_reads, config.data.packing = ("planner",), True
    assert [line.split(":")[0] for line in checks.mistakes(config)] == [
        "config.loss.teacher_reads names 'planner'",
        "config.loss.teacher_reads needs whole rows",
    ]
    config.loss.divergence, config.loss.teacher = 0.0, ""
    config.loss.teacher_reads, config.data.packing = (), False
    config.loss.likelihood = 0.0
    assert checks.mistakes(config) == [
        "config.loss: every weight is 0, so there is nothing to learn from"
    ]
