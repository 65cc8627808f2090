"""Problems that a teacher finds hard: margins of votes, what is learned, the uniform term."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_student import make_mesh

from distill_jax import records
from distill_jax.annotations import easy
from distill_jax.annotations.verify import Rejected
from distill_jax.configs.base import get_config
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Prediction, Sample, Step
from distill_jax.run import checks, easy_problems, training_annotations
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.teacher.settings import NOTHING
from distill_jax.text.rows import Row
from distill_jax.text.transcript import SCHEMES, render
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import batches, objective
from distill_jax.training.chunks import LossTokens
from distill_jax.training.divergence import Reading
from distill_jax.training.soft_rows import SoftRows
from distill_jax.workdir import Workdir


def answered(name, answer, answers, question="?"):
    """A prediction with these votes, of which the first is the winner."""
    samples = [
        Sample(index, "", (), vote, vote == answer, {}, "finished", 0.0, 0)
        for index, vote in enumerate(answers)
    ]
    return Prediction(
        name, question, answer, "", (), answers[0], answers[0] == answer, {}, "finished", {},
        tuple(samples) if samples[1:] else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("77777339", 0.375),
        ("7777", 1.0),
        ("7733", 0.0),
        ("7", 1.0),
        (["7", None, None, "7", "7"], 0.2),
    ],
)
def test_the_margin_of_a_vote(answers, expected):
    assert easy.margin(answered("a", "7", list(answers))) == pytest.approx(expected)


def test_easy_is_right_and_sure():
    votes = {"a": "7773", "b": "7733", "c": "3337", "d": "7"}
    asked = [answered(name, "7", list(answers)) for name, answers in votes.items()]
    assert easy.easy_problems(asked, 0.5) == {"a", "d"}
    assert easy.easy_problems(asked, 0.0) == {"a", "b", "d"}


def annotation(name, question="?", answer="7", subquestion=None):
    return Annotation(name, question, answer, (Step(subquestion, "3+4 = 7"),), {"kind": "gold"})


@pytest.mark.parametrize("scheme", ["chain", "socratic", "answer_only"])
def test_what_becomes_of_hard_problems(scheme):
    subquestion = "How many?" if scheme == "socratic" else None
    a, b, again = (annotation(name, subquestion=subquestion) for name in ("a", "b", "b"))
    kept, dropped = easy.treat([a, b, again], {"a"}, "drop")
    assert (
        kept == [a] and [(r.id, r.reason) for r in dropped] == [("b", "hard for the teacher")] * 2
    )
    kept, dropped = easy.treat([a, b, again], {"a"}, "abstain")
    assert kept[0] == a and len(kept) == 2 and len(dropped) == 1
    texts = [text for _, text in render(kept[1], SCHEMES[scheme])]
    assert texts == {
        "chain": ["?\n#### ?"], "socratic": ["?", "?\n#### ?"], "answer_only": ["\n#### ?"],
    }[scheme]  # fmt: skip
    kept, dropped = easy.treat([a, b, again], {"a"}, "uniform")
    assert [each.steps for each in kept] == [each.steps for each in (a, b, again)]
    assert dropped == [] and easy.hard_problems(kept) == {"b"}


def test_rows_of_hard_problems_have_weights_of_their_own():
    learned = [-1, 0, 0]
    rows = [Row([1, 2, 3], learned, problem="a"), Row([1] * 9, [-1] * 8 + [0], problem="a")]
    rows += [Row([4, 5, 6], learned, problem="b")]
    made = SoftRows(rows, "s", 6, 0.5, "config.data.seq_len", {"b"})  # the second is too long
    row = batches.assemble(made, [1, 0], batches.RowShape(8, 5, packed=True))
    assert row["targets"].tolist() == [5, 6, 2, 3, 0]
    assert row["hard_weights"].tolist() == [1, 1, 0, 0, 0]
    assert row["weights"].tolist() == [0, 0, 1, 1, 0]


def test_the_uniform_term_by_worked_numbers():
    """After logits 1, 0.5, 0 the cross entropy with uniform is 1.180270, of which log 3 is its own
    entropy; a fourth token may not be written."""
    zero = jnp.zeros((1, 1), jnp.int32)
    allowed = jnp.array([[True, True, True, False]])
    trainer = objective.step.Trainer(
        None, None, objective.step.Computation(), allowed, 0, objective.Likelihood()
    )

    def uniform(logits):
        hidden = jnp.append(logits, 5.0)[None, None]
        mine = Reading(jnp.eye(4), LossTokens(hidden, zero, zero, zero))
        return objective.uniform_sums(1.0, trainer, mine, {"hard_weights": jnp.ones((1, 1))})[
            "uniform"
        ]

    with jax.set_mesh(make_mesh()):
        value, slopes = jax.jit(jax.value_and_grad(uniform))(jnp.array([1.0, 0.5, 0.0]))
    assert float(value) == pytest.approx(1.180270 - math.log(3), abs=1e-6)
    np.testing.assert_allclose(slopes, [0.173147, -0.026137, -0.147010], atol=1e-6)
    assert objective.Likelihood().weights == {"likelihood": 1.0}
    assert objective.Likelihood(1.0, 0.5).weights == {"likelihood": 1.0, "uniform": 0.5}


def run_of(tmp_path, **changes):
    rows = [
        {"question": f"What is {n} + 1?", "answer": n + 1,
         "steps": [{"subquestion": None, "solution": f"{n}+1 = {n + 1}"}]}
        for n in range(6)
    ]  # fmt: skip
    test = [{"question": "How much is twice 2?", "answer": 4}]
    for split, some in {"train": rows, "test": test}.items():
        lines = "".join(json.dumps(row) + "\n" for row in some)
        (tmp_path / f"{split}.jsonl").write_text(lines)
    config = command_line.load_config("configs/jsonl.py")
    given = {
        "task_options.directory": str(tmp_path), "scheme": "chain", "data.dev_problems": "0",
        "train.eval_every": "0", "easy.files": str(tmp_path / "p.jsonl"), "easy.margin": "0.5",
    }  # fmt: skip
    command_line.apply_overrides(config, given | changes)
    return make_run(config, Workdir(tmp_path / "w"))


def test_a_run_leaves_out_what_is_hard(tmp_path):
    run = run_of(tmp_path)
    first, second, third, *_ = run.task.load("train")
    asked = [
        answered(first.id, first.answer, [first.answer] * 3, first.question),
        answered(second.id, second.answer, ["9"], second.question),
        answered(third.id, third.answer, [third.answer, "9", third.answer, "9"], third.question),
    ]
    (tmp_path / "p.jsonl").write_text("".join(records.to_json(each) + "\n" for each in asked))
    data = training_annotations.annotate(run, Terminal(), NOTHING)
    assert [each.question for each in data.train] == [first.question]
    assert all(isinstance(each, Rejected) for each in data.rejected) and len(data.rejected) == 5
    assert "5 of 6 problems are hard (drop); 1 to train on" in data.usage
    soft = training_annotations.annotate(
        run_of(tmp_path, **{"easy.hard": "uniform", "easy.margin": "0.0"}), Terminal(), NOTHING
    )
    assert len(soft.train) == 6 and len(easy.hard_problems(soft.train)) == 4
    (tmp_path / "p.jsonl").write_text(records.to_json(asked[1]) + "\n")
    with pytest.raises(UserError, match="none of 6 problems is easy"):
        training_annotations.annotate(run, Terminal(), NOTHING)


def test_a_task_that_would_read_an_abstention_is_refused():
    config = get_config()
    config.task = "distill_jax.tasks.last_letter_concatenation"
    config.task_options = ConfigDict({"directory": "somewhere"})
    command_line.apply_overrides(
        config, {"scheme": "chain", "easy.files": "p.jsonl", "easy.hard": "abstain"}
    )
    with pytest.raises(UserError, match=r"reads the answer '\?' as '\?': use .*=drop"):
        easy_problems.treat(make_run(config, Workdir("w")), [annotation("a", answer="ab")])


def test_mistakes():
    config = get_config()
    assert not [key for key in make_run(config, Workdir("w")).identity() if "easy" in key]
    config.easy.margin, config.easy.hard = 1.5, "maybe"
    assert len(checks.mistakes(config)) == 2
    config.easy.margin, config.easy.hard, config.easy.files = 0.5, "uniform", ("p.jsonl",)
    config.loss.mixup = config.loss.mixed_likelihood = 0.4
    [line] = checks.mistakes(config)
    assert line.startswith("config.easy.hard='uniform' goes with")
    config.loss.mixup = config.loss.mixed_likelihood = 0.0
    assert not checks.mistakes(config)
    config.data.removal.role = "decomposer"  # whose words are loss tokens, too
    [line] = checks.mistakes(config)
    assert line.startswith("config.easy.hard='uniform' goes with")
