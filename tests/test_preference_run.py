"""A run that learns from pairs of right and wrong answers: which pairs, and how it continues."""

import dataclasses
import json
import re
import signal
import subprocess
import time

import experiment_runs
import numpy as np
import pytest

from distill_jax import records
from distill_jax.configs.base import get_config
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Prediction, Problem, Step, Turn
from distill_jax.run import checks, experiment, preference_pairs, references
from distill_jax.run.run import make_run
from distill_jax.run.training_annotations import RunData
from distill_jax.settings import command_line
from distill_jax.tasks.grading import grade_number
from distill_jax.text import transcript
from distill_jax.text.rows import Row, Rows
from distill_jax.training import manifest, pairs
from distill_jax.workdir import Workdir

SCHEMES = transcript.SCHEMES


def sample(problem, turns, scheme, status="finished"):
    """A prediction with one sample, as an evaluation grades it."""
    solutions = [text for role, text in turns if role == "solver"]
    graded = grade_number(transcript.answer_text(solutions, scheme), problem.answer)
    return Prediction(
        problem.id, problem.question, problem.answer, transcript.completion_text(turns),
        tuple(Turn(role, text, 3, -1.0) for role, text in turns),
        graded.prediction, graded.scores["normalised"], graded.scores, status,
    )  # fmt: skip


def written(path, predictions):
    path.write_text("".join(records.to_json(each) + "\n" for each in predictions), "utf-8")
    return path


@pytest.fixture
def six(tmp_path):
    """(a run of six training problems, of which one is for dev; their problems)"""
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(6)]
    for split, some in {
        "train": rows,
        "test": [{"question": "How much is twice 2?", "answer": 4}],
    }.items():
        lines = "".join(json.dumps(row) + "\n" for row in some)
        (tmp_path / f"{split}.jsonl").write_text(lines)
    config = command_line.load_config("configs/jsonl.py")
    command_line.apply_overrides(
        config,
        {
            "task_options.directory": str(tmp_path),
            "scheme": "chain",
            "loss.preference": "1.0",
            "loss.likelihood": "0.0",
            "preferences.files": str(tmp_path / "predictions.jsonl"),
            "model.solver.init_from": "runs/first/checkpoints/solver",
        },
    )
    run = make_run(config, Workdir(tmp_path / "w"))
    return run, run.task.load("train")


def said(text):
    return [("solver", text)]


def annotation(problem):
    steps = (Step(None, f"it is {problem.answer}"),)
    return Annotation(problem.id, problem.question, problem.answer, steps, {"kind": "gold"})


def test_pairs_are_of_training_problems_alone(six, tmp_path):
    run, problems = six
    chain, (first, second, third, fourth, *_) = run.scheme, problems
    other = Problem("x", "What is 9 + 9?", "18", "train")
    found = [
        sample(first, said("0+1 = 1\n#### 1"), chain),
        sample(first, said("so it is 3\n#### 3"), chain),
        sample(second, said("so it is 5\n#### 5"), chain, "token_cap"),  # gold is the better one
        sample(third, said("1+1 = 3\n#### 3"), chain),  # right by a false equation
        sample(third, said("it is 9\n#### 9"), chain),
        sample(fourth, said("1\n#### 1"), chain),  # a problem of dev
        sample(other, said("1\n#### 1"), chain),  # of no training problem
    ]
    written(tmp_path / "predictions.jsonl", found)
    data = RunData([annotation(second)], [annotation(fourth)], [], [])
    made = preference_pairs.collect(run, data)
    texts = [(p.id, p.chosen.turns[0][1], p.rejected.turns[0][1]) for p in made.train]
    assert texts == [
        (first.id, "0+1 = 1\n#### 1", "so it is 3\n#### 3"),
        (second.id, "it is 2\n#### 2", "so it is 5\n#### 5"),
    ]
    assert [pair.rejected.finished for pair in made.train] == [True, False]
    assert [(p.id, p.chosen.turns[0][1]) for p in made.dev] == [(fourth.id, "it is 4\n#### 4")]
    assert "4 problems were answered, 1 answered questions are none" in made.said

    # They are read from the directory afterwards, whatever becomes of the files.
    run.workdir.path.mkdir()
    for path, part in (
        (run.workdir.preferences, made.train),
        (run.workdir.dev_preferences, made.dev),
    ):
        written(path, part)
    (tmp_path / "predictions.jsonl").unlink()
    # And if they are asked later, it is known that they were learned from.
    learned = preference_pairs.learned_from(run.workdir)
    assert [each.question for each in learned] == [first.question, second.question]
    assert preference_pairs.collect(run, data) == made._replace(said="")
    run.workdir.preferences.write_text('{"id": "a", "chosen": 3}\n')
    with pytest.raises(UserError, match=r"preferences.jsonl:1: not a pair"):
        preference_pairs.collect(run, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "How much is twice 2?", "id": "t"}, "questions of the evaluation"),
        ({"turns": [{"role": "decomposer", "text": "?", "tokens": 1, "log_probability": 0}]},
         "a turn of decomposer: the dialogues must be of --config.scheme=chain"),
        ({"turns": 3}, "predictions.jsonl:1: not a prediction"),
        ({"cost": None}, "predictions.jsonl:1: not a prediction"),
        ({}, "no problem has a right and a wrong answer"),
    ],
)  # fmt: skip
def test_files_that_no_pairs_can_be_made_of(change, message, six, tmp_path):
    run, problems = six
    row = json.loads(records.to_json(sample(problems[0], said("#### 1"), run.scheme))) | change
    (tmp_path / "predictions.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=message) as caught:
        preference_pairs.collect(run, RunData([], [], [], []))
    assert str(caught.value).startswith("config.preferences.files: ")


def test_a_reference_is_kept(six):
    run, _ = six
    rows = Rows.of([Row([1, 2, 3], [-1, 0, 0]), Row([1, 3, 2], [-1, 0, 0])])
    kept, restored = (pairs.PairRows(rows, "solver", 8, 2) for _ in range(2))
    values = np.array([-1.0, -2.0, -3.0, -4.0], np.float32)
    with pytest.raises(UserError, match=r"solver.train.npy.*put back a copy"):
        references.restore(run, "solver", {"train": kept})
    references.keep(run, "solver", "train", kept, values)
    references.restore(run, "solver", {"train": restored})
    for each in (kept, restored):
        assert each.beside([0, 1], each.shape(0), 0)["reference"].tolist() == values.tolist()
    path = run.checkpoints / "references" / "solver.train.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"solver.train.npy, with which .* cannot be"):
        references.restore(run, "solver", {"train": restored})


def test_mistakes():
    config = get_config()
    command_line.apply_overrides(config, {"loss.preference": "1.0", "loss.divergence": "1.0"})
    config.loss.teacher = "runs/a"
    assert [line.split(":")[0] for line in checks.mistakes(config)] == [
        "config.loss.divergence and config.loss.preference learn from different rows",
        "config.loss.preference needs config.preferences.files",
    ]
    config.loss.divergence, config.loss.teacher = 0.0, ""
    config.preferences.files = ("a.jsonl",)
    config.data.removal.role = "decomposer"
    config.model.solver.residual_dropout, config.easy.files = 0.1, ("p.jsonl",)
    assert [line.split(":")[0] for line in checks.mistakes(config)] == [
        "config.loss.preference needs config.model.decomposer.init_from",
        "config.loss.preference needs config.model.solver.init_from",
        "config.model.solver.residual_dropout=0.1",
        "config.easy.files does not choose among pairs",
        "config.loss.preference and config.data.removal.role change the same rows",
    ]
    config.model.solver.residual_dropout, config.easy.files = 0.0, ()
    config.loss.preference = 0.0
    config.data.removal.role = ""
    assert checks.mistakes(config) == [
        "config.preferences.files is set, but not config.loss.preference: give it a weight above 0"
    ]
    config.preferences.files = ()
    config.train.best_by = "preference"
    assert [line.split(":")[0] for line in checks.mistakes(config)] == [
        "config.train.best_by='preference' is for pairs"
    ]
    config.train.best_by = "loss"
    before = make_run(config, Workdir("nowhere")).identity()
    assert not [key for key in before if key.startswith(("preferences", "loss"))]


def test_a_batch_shows_both_answers(tmp_path, capsys):
    config = command_line.load_config("configs/demo.py")
    config.scheme, config.task_options.train_problems = "chain", 60
    config.loss.preference, config.model.solver.init_from = 1.0, "runs/a/checkpoints/solver"
    path = tmp_path / "predictions.jsonl"
    config.preferences.files = (str(path),)
    run = make_run(config, Workdir(tmp_path / "w"))
    [problem, *_] = run.task.load("train")
    written(path, [sample(problem, said("7+7\n#### x"), run.scheme)])
    experiment.show_batch(config)
    chosen, rejected = capsys.readouterr().out.split("--- student solver as solver: ")[1:]
    assert f"#### {problem.answer}" in chosen and "[solver>7+7\n#### x" in rejected


def preferring(first, tmp_path):
    """The arguments with which the solver of a run learns to prefer right answers."""
    scheme = SCHEMES["socratic"]
    predictions = []
    for each in (
        records.read_annotations(first / "annotations.jsonl")[:24]
        + (records.read_annotations(first / "annotations.dev.jsonl")[:9])
    ):
        problem = Problem(each.id, each.question, each.answer, "train")
        turns = [*transcript.render(each, scheme), ("decomposer", "")]
        wrong = transcript.render(dataclasses.replace(each, answer="77"), scheme)
        wrong[0] = "decomposer", "What else is there?"
        some = sample(problem, turns, scheme), sample(problem, wrong, scheme, "token_cap")
        predictions += some
    return [
        *experiment_runs.TINY,
        f"--config.preferences.files={written(tmp_path / 'predictions.jsonl', predictions)}",
        "--config.loss.preference=1.0",
        "--config.loss.likelihood=0.0",
        f"--config.tokenizer.name={first / 'tokenizer'}",
        f"--config.model.solver.init_from={first}/checkpoints/solver",
        "--config.train.students=solver",
        "--config.train.log_every=1",
        "--config.train.steps=100",
        "--config.train.save_every=20",
        "--config.train.eval_every=50",
        "--config.train.best_by=preference",
        "--config.optimizer.solver.warmup_steps=0",
    ]


def test_a_killed_run_continues_with_its_reference(tiny_run, tmp_path):
    """It starts where it was, at a loss of log 2."""
    settings = preferring(tiny_run[0], tmp_path)
    workdir = tmp_path / "w"
    process = subprocess.Popen(
        experiment_runs.command("main", *settings, "--workdir", workdir),
        cwd=experiment_runs.ROOT, env=experiment_runs.environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while not manifest.complete_steps(workdir / "checkpoints" / "solver"):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reference = workdir / "checkpoints" / "references" / "solver.train.npy"
    before = reference.read_bytes()
    again = experiment_runs.run("main", *settings, "--workdir", workdir)
    assert again.returncode == 0, again.stderr
    step = int(re.search(r"going on from step (\d+)", again.stdout)[1])
    assert reference.read_bytes() == before
    losses = [value for _, value in experiment_runs.curve(workdir, "train/solver/loss")]
    preferred = [value for _, value in experiment_runs.curve(workdir, "train/solver/preferred")]
    assert len(losses) == 100 and losses[0] == pytest.approx(np.log(2), abs=1e-4)
    # Had the reference been computed again, it would be log 2 again.
    assert losses[step] < losses[0] - 0.02 and np.mean(preferred[-10:]) == 1.0
    (step, first_dev), (_, last_dev) = experiment_runs.curve(workdir, "dev/solver/preference")
    assert step == 50 and last_dev < first_dev < 0.6  # of problems that it was not trained on
    facts = json.loads((workdir / "training_data.json").read_text())["solver"]
    assert facts["pairs"] == 24 and "preferences.jsonl" in facts["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["lora.solver.rank=4", "train.dtype=bfloat16"])
def test_an_adapter_and_bfloat16_prefer_right_answers_too(change, tiny_run, tmp_path):
    settings = [*preferring(tiny_run[0], tmp_path), f"--config.{change}"]
    if change.startswith("lora"):
        settings.append("--config.optimizer.solver.learning_rate=1e-2")
    done = experiment_runs.run("main", *settings, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    losses, preferred = (
        [value for _, value in experiment_runs.curve(tmp_path / "w", f"train/solver/{name}")]
        for name in ("loss", "preferred")
    )
    # The reference is of the whole student and of the same precision: no step, no difference.
    assert losses[0] == pytest.approx(np.log(2), abs=1e-4)
    assert losses[-1] < 0.6 and np.mean(preferred[-10:]) > 0.95
