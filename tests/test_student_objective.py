"""What a config makes of config.loss: rows, objective, and a step that can be traced."""

import dataclasses
import types

import jax
import ml_collections
import numpy as np
import pytest
from experiment_runs import TINY
from tiny_student import make_mesh

from distill_jax import records
from distill_jax.model import network
from distill_jax.records import Prediction
from distill_jax.run import student_objective, student_source
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.preparation import prepare
from distill_jax.run.run import make_run
from distill_jax.run.student_setup import Place
from distill_jax.settings import command_line
from distill_jax.teacher.settings import NOTHING
from distill_jax.text.tokenizer import load_tokenizer
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import step
from distill_jax.workdir import Workdir


def setup_of(tmp_path, teacher, **changes):
    """The solver's setup, as a run makes it, and its step traced for one device."""
    config = command_line.load_config("configs/demo.py")
    tiny = [word.removeprefix("--config.").split("=") for word in TINY[1:]]
    command_line.apply_overrides(
        config,
        {key: value for key, value in tiny}
        | {"tokenizer.name": str(teacher / "tokenizer"), "loss.teacher": str(teacher)}
        | changes,
    )
    mesh = make_mesh()
    desk = Desk(make_run(config, Workdir(tmp_path / "w")), Terminal(), NOTHING)
    [setup] = prepare(desk, ["solver"], Place(mesh, "cpu")).setups
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, setup.trainer.config, setup.trainer.optimizer)
        frozen = {
            role: step.abstract_params(mesh, each.model) for role, each in setup.frozen.items()
        }
        shapes = setup.data.global_shapes()
        lowered = step.lower_step(mesh, abstract, shapes, frozen, setup.trainer)
    _, metrics = lowered.out_info
    return setup, sorted(name for name in metrics if name not in ("loss", "grad_norm"))


def test_a_teacher_that_sees_the_subquestions(tiny_run, tmp_path):
    """Its rows are longer, and what reading them costs is counted."""
    changes = {"loss.divergence": "1.0", "reads.solver": "", "loss.likelihood": "0.0"}
    blind, metrics = setup_of(tmp_path, tiny_run[0], **changes)
    assert metrics == []
    seeing, _ = setup_of(tmp_path, tiny_run[0], **changes, **{"loss.teacher_reads": "decomposer"})
    row = seeing.data.row(0)
    assert (row["inputs"] == blind.data.row(0)["inputs"]).all()
    assert len(row["teacher_inputs"]) > len(row["inputs"])
    used = row["writers"] >= 0
    places = row["teacher_loss_positions"][used]
    # The token after a place is the one to learn, in the teacher's row as well.
    following = [*row["teacher_inputs"], 0]
    assert [following[p + 1] for p in places[:-1]] == row["targets"][used][:-1].tolist()
    assert seeing.facts["flops_per_token"] > blind.facts["flops_per_token"]


def test_a_teacher_may_have_other_rows_that_belong_to_no_id(tiny_run, tmp_path):
    """As Qwen2.5-7B has 152,064 and Qwen2.5-0.5B 151,936; what ids mean is the same."""
    changes = {"loss.divergence": "1.0", "loss.likelihood": "0.0"}
    setup, _ = setup_of(tmp_path, tiny_run[0], **changes)
    name, size = setup.frozen["teacher"]
    own, _ = student_source.given_params(name, "the key", size)
    table = own["wte"]["embedding"]
    for rows in (size.vocab_size + 128, size.vocab_size - 1):
        fitted = dataclasses.replace(size, vocab_size=rows)
        params, _ = student_source.given_params(name, "the key", fitted)
        shapes = jax.eval_shape(lambda f=fitted: network.init_params(f, jax.random.key(0)))
        assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
        kept = min(rows, size.vocab_size)
        assert (params["wte"]["embedding"][:kept] == table[:kept]).all()
        tokenizer = load_tokenizer(str(tiny_run[0] / "tokenizer"))
        config = ml_collections.ConfigDict(
            {"loss": {"divergence": 1.0, "mixed_divergence": 0.0, "teacher": str(tiny_run[0])}}
        )
        run = types.SimpleNamespace(config=config)
        assert student_objective.teacher(run, "solver", fitted, tokenizer).model == fitted


def test_mixtures(tiny_run, tmp_path):
    changes = {"loss.mixup": "0.4", "loss.mixed_divergence": "2.0", "loss.likelihood": "0.5"}
    setup, metrics = setup_of(tmp_path, tiny_run[0], **changes)
    assert setup.trainer.objective.weights == {"likelihood": 0.5, "mixed_divergence": 2.0}
    assert metrics == ["loss_likelihood", "loss_mixed_divergence"]
    assert setup.frozen["teacher"].name == f"{tiny_run[0]}/checkpoints/solver"


def test_hard_problems_are_softened(tiny_run, tmp_path):
    """The teacher has solved one training problem; of all others nothing is learned but doubt."""
    first = records.read_annotations(tiny_run[0] / "annotations.jsonl")[0]
    solved = Prediction(
        first.id, first.question, first.answer, "", (), first.answer, True, {}, "finished"
    )
    (tmp_path / "p.jsonl").write_text(records.to_json(solved) + "\n")
    changes = {"easy.files": str(tmp_path / "p.jsonl"), "easy.hard": "uniform"}
    changes |= {"loss.divergence": "1.0", "loss.uniform": "0.5"}
    setup, metrics = setup_of(tmp_path, tiny_run[0], **changes)
    assert metrics == ["loss_divergence", "loss_likelihood", "loss_uniform"]
    batches = [setup.data[step] for step in range(40)]  # more than an epoch
    learned = sum(float(batch["weights"].sum()) for batch in batches)
    doubted = sum(float(batch["hard_weights"].sum()) for batch in batches)
    assert 0 < learned < doubted / 50


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"per_epoch": 0.0, "start": 2}, 2),  # never more
        ({"per_epoch": 0.0, "start": 2, "all_beyond": 2}, 0),
        ({"per_epoch": 100.0, "all_beyond": 5}, 0),  # all, long before the end
    ],
)
def test_dev_is_what_is_left_in_the_end(changes, left, tiny_run, tmp_path):
    """A row of dev lacks as many words as the last one that is trained."""
    plain = setup_of(tmp_path, tiny_run[0], **{"loss.teacher": ""})[0].dev[0]
    keys = {f"data.removal.{key}": str(value) for key, value in changes.items()}
    keys |= {"data.removal.role": "decomposer", "data.removal.smoothing": "0.0"}
    keys |= {"loss.teacher": ""}
    cut = setup_of(tmp_path, tiny_run[0], **keys)[0].dev[0]
    lost = (plain["length"] - cut["length"])[plain["length"] > 0]
    assert (lost == left).all() if left else (lost > 5).all()
