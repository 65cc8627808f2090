"""Rounds of own samples in real processes: one program per shape, kills, who learns, mistakes."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from experiment_runs import QUICK_COMPILATION, ROOT, curve, environment, one_error_line
from pages import DOCS, blocks

from distill_jax.configs.base import get_config
from distill_jax.errors import UserError
from distill_jax.records import Prediction, Turn
from distill_jax.run import checks
from distill_jax.run.rollout_settings import learns
from distill_jax.settings import command_line
from distill_jax.settings.reward_module import reward_function, rewards_of

# Students that know little are right never, but write texts of different lengths.
REWARD = """
def reward(samples, price=0.01):
    return [-price * sum(len(turn.text) for turn in each.turns) for each in samples]
"""
STUDENTS = ("decomposer", "solver")
TINY = [
    "--config=configs/demo.py",
    "--config.task_options.train_problems=40",
    "--config.task_options.test_problems=10",
    "--config.data.dev_problems=0",
    "--config.train.eval_every=0",
    "--config.train.batch_size=4",
    "--config.train.log_every=1",
    "--config.sampling.max_tokens=16",
    "--config.sampling.slots=4",
    "--config.evaluation.problems=1",
]
ROUNDS = [
    "--config.rollouts.rounds=10",
    "--config.rollouts.problems=4",
    "--config.rollouts.samples=2",
    "--config.rollouts.students=decomposer",
    "--config.rollouts.reward=my_reward",
    "--config.rollouts.reward_options=price=0.02",
    "--config.rollouts.reference_kl=0.01",
    "--config.rollouts.max_turn_tokens=6",
    "--config.rollouts.max_tokens=12",
    "--config.loss.policy=1.0",
    "--config.loss.likelihood=0.0",
    "--config.optimizer.decomposer.learning_rate=0.01",
    "--config.train.save_every=3",  # also in the middle of a round
]
# Counts compilations, and with a step dies after this update without a word.
SCRIPT = """
import collections, json, os, signal, sys
import jax
counts = collections.Counter()
def listen(event, seconds, **more):
    if event == "/jax/core/compile/backend_compile_duration":
        counts[more["fun_name"]] += 1
jax.monitoring.register_event_duration_secs_listener(listen)
from distill_jax import errors, main
from distill_jax.training import hooks
last, write = int(sys.argv[1]), hooks.Logging.__call__
def die(self, moment):
    write(self, moment)
    if moment.step == last:
        os.kill(os.getpid(), signal.SIGKILL)
hooks.Logging.__call__ = die
code = errors.run_command(main.main, sys.argv[2:])
print("COMPILED", json.dumps(counts))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def place(tiny_run, tmp_path_factory):
    """A directory with a reward; `base` is a finished run that knows little."""
    directory = tmp_path_factory.mktemp("rounds")
    (directory / "my_reward.py").write_text(REWARD)
    (directory / "base").symlink_to(tiny_run[0])
    return directory


def arguments(place, name, *more):
    base = place / "base"
    begun = [f"--config.model.{s}.init_from={base}/checkpoints/{s}" for s in STUDENTS]
    return [
        *TINY, *begun, f"--config.tokenizer.name={base}/tokenizer", *more, "--workdir", place / name
    ]  # fmt: skip


def train(place, last, *arguments, devices=1):
    """The finished process and what it compiled; after update `last` it dies."""
    command = [sys.executable, "-c", SCRIPT, last, *arguments]
    flags = f"{QUICK_COMPILATION} --xla_force_host_platform_device_count={devices}"
    variables = environment(flags) | {"PYTHONPATH": f"{ROOT}:{place}"}
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=variables, capture_output=True, text=True
    )
    *_, counts = ["{}", *(x[8:] for x in done.stdout.split("\n") if x.startswith("COMPILED"))]
    return done, json.loads(counts)


def params(workdir, student, step):
    """The bytes of every parameter of a checkpoint."""
    path = (workdir / "checkpoints" / student / str(step) / "params").resolve()
    tree = ocp.StandardCheckpointer().restore(path)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def learned(place):
    """(its directory, what it said, what it compiled) of ten rounds of the decomposer."""
    done, compiled = train(place, -1, *arguments(place, "learned", *ROUNDS))
    assert done.returncode == 0, done.stderr
    return place / "learned", done.stdout, compiled


def assert_compiled_once_per_shape(said, compiled):
    """The training step for the largest rows, and for the shorter ones that occur; what measures
    log-probabilities for those that occur."""
    lengths = re.findall(r"compiling the step for rows of (\d+) tokens", said)
    assert 1 <= len(lengths) == len(set(lengths)) <= 5
    assert compiled["jit(train_step)"] == 1 + len(lengths)
    assert compiled["jit(log_prob_step)"] <= 3


def test_one_program_per_shape_over_ten_rounds(learned):
    _, said, compiled = learned
    assert_compiled_once_per_shape(said, compiled)
    # Of rounds and of the evaluation, whose limits differ; prompts of 32, 48 and 64 tokens.
    assert compiled["jit(decode_chunk)"] <= 4 and compiled["jit(prefill)"] <= 6, compiled


def test_what_a_run_says_of_its_rounds(learned):
    workdir, said, _ = learned

    def values(name):
        return dict(curve(workdir, name))

    rewards = values("rounds/decomposer/reward")
    assert list(rewards) == list(range(1, 21, 2)) and len(set(rewards.values())) > 5
    lines = (workdir / "rollouts/decomposer/0.jsonl").read_text().splitlines()
    first = [json.loads(line) for line in lines]
    assert len(first) == 8 and {turns[0][0] for turns in (each["turns"] for each in first)} == {
        "decomposer"
    }
    worth = [-0.02 * sum(len(text) for _, text in each["turns"]) for each in first]
    assert [each["reward"] for each in first] == pytest.approx(worth)
    assert rewards[1] == pytest.approx(np.mean(worth), abs=1e-6)
    assert values("rounds/decomposer/all_wrong")[1] == 1.0
    assert max(values("rounds/decomposer/sampler_distance").values()) < 1e-3
    away = values("rounds/decomposer/reference_kl")
    assert abs(away[1]) < 1e-5 and abs(away[19]) > 1e-3
    moved = values("train/decomposer/kl")
    assert len(moved) == 20 and moved[1] < 1e-6 < moved[20]
    assert "student decomposer: round 10 of 10: reward -" in said
    page = (workdir / "report.html").read_text()
    assert "<h2>Reward of the rounds</h2>" in page and "Length of right samples" not in page


def test_who_does_not_learn_stays_as_it_was(learned, place):
    workdir, said, _ = learned
    assert f"student solver: stays as it is, {place}/base/checkpoints/solver" in said
    assert params(workdir, "solver", 0) == params(place / "base", "solver", 60)
    assert params(workdir, "decomposer", 20) != params(place / "base", "decomposer", 60)


def test_a_run_that_is_killed_in_a_round_ends_as_the_other(learned, place):
    """Killed after the first update of round 4; the last checkpoint is one in the middle of round
    3."""
    settings = arguments(place, "killed", *ROUNDS)
    done, _ = train(place, 7, *settings)
    assert done.returncode == -9, done.stderr
    killed, whole = place / "killed", learned[0]
    kept = {path.name for path in (killed / "checkpoints" / "decomposer").iterdir()}
    assert "3" in kept and "9" not in kept and (killed / "rollouts/decomposer/3.jsonl").exists()
    done, _ = train(place, -1, *settings)
    assert done.returncode == 0, done.stderr
    assert params(killed, "decomposer", 20) == params(whole, "decomposer", 20)
    for number in range(10):
        file = f"rollouts/decomposer/{number}.jsonl"
        assert (killed / file).read_bytes() == (whole / file).read_bytes()
    for name in ("reward", "tokens", "sampler_distance"):
        name = f"rounds/decomposer/{name}"
        assert curve(killed, name) == curve(whole, name)


@pytest.mark.slow
def test_eight_devices_are_killed_in_a_round_and_end_as_if_nothing_had_been(learned, place):
    """Parameters are split over two of its axes, and the samples of a round over two."""
    mesh = [f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")]
    mesh.append("--config.rollouts.rounds=4")
    whole, killed = ([*arguments(place, name, *ROUNDS, *mesh)] for name in ("whole8", "killed8"))
    done, compiled = train(place, -1, *whole, devices=8)
    assert done.returncode == 0, done.stderr
    assert_compiled_once_per_shape(done.stdout, compiled)
    done, _ = train(place, 7, *killed, devices=8)
    assert done.returncode == -9, done.stderr
    done, _ = train(place, -1, *killed, devices=8)
    assert done.returncode == 0, done.stderr
    assert params(place / "killed8", "decomposer", 8) == params(place / "whole8", "decomposer", 8)
    # The first round's samples do not depend on the mesh; later ones follow other last bits.
    file = "rollouts/decomposer/0.jsonl"
    one, eight = ((workdir / file).read_text() for workdir in (learned[0], place / "whole8"))
    first = [json.loads(line) for text in (one, eight) for line in text.splitlines()]
    assert [each["turns"] for each in first[:8]] == [each["turns"] for each in first[8:]]


@pytest.mark.slow
def test_an_adapter_learns_from_rounds(learned, place):
    """An adapter is 0 at the beginning, so the first round is that of the whole student."""
    more = ["--config.lora.decomposer.rank=2", "--config.rollouts.rounds=3"]
    done, compiled = train(place, -1, *arguments(place, "adapter", *ROUNDS, *more))
    assert done.returncode == 0, done.stderr
    assert_compiled_once_per_shape(done.stdout, compiled)
    first, last = (place / f"adapter/rollouts/decomposer/{number}.jsonl" for number in (0, 2))
    turns = [[json.loads(x)["turns"] for x in p.read_text().splitlines()] for p in (first, last)]
    whole = (learned[0] / "rollouts/decomposer/0.jsonl").read_text().splitlines()
    assert turns[0] == [json.loads(line)["turns"] for line in whole]
    away = dict(curve(place / "adapter", "rounds/decomposer/reference_kl"))
    assert abs(away[1]) < 1e-5 and abs(away[5]) > 1e-4
    assert max(dict(curve(place / "adapter", "rounds/decomposer/sampler_distance")).values()) < 1e-3


@pytest.mark.slow
def test_rounds_in_bfloat16(place):
    more = ["--config.train.dtype=bfloat16", "--config.sampling.dtype=bfloat16"]
    more += ["--config.rollouts.rounds=3"]
    done, _ = train(place, -1, *arguments(place, "bfloat16", *ROUNDS, *more))
    assert done.returncode == 0, done.stderr
    distances = dict(curve(place / "bfloat16", "rounds/decomposer/sampler_distance"))
    # Log-probabilities of about 5 with 8 bits.
    assert 0 < max(distances.values()) < 0.2
    assert len(dict(curve(place / "bfloat16", "train/decomposer/kl"))) == 6


@pytest.mark.slow
def test_a_round_whose_file_is_gone_is_told(place):
    settings = arguments(place, "gone", *ROUNDS)
    train(place, 7, *settings)
    for path in (place / "gone/checkpoints/decomposer").iterdir():
        if path.name != "3":  # in the middle of the second round
            shutil.rmtree(path)
    (place / "gone/rollouts/decomposer/1.jsonl").unlink()
    done, _ = train(place, -1, *settings)
    assert "1.jsonl is missing, but student 'decomposer' has learned from it" in one_error_line(
        done
    )


GOOD = {
    "rollouts.rounds": "3",
    "loss.policy": "1.0",
    "loss.likelihood": "0.0",
    "train.batch_size": "128",
    "model.decomposer.init_from": "a",
    "model.solver.init_from": "b",
}
MISTAKES = {
    "rollouts.rounds=0": "loss.policy needs own samples",
    "loss.policy=0.0 loss.likelihood=1.0": "rollouts.rounds: nothing learns from own samples",
    "loss.likelihood=1.0": "with config.rollouts.share=1 there are none: set it to 0",
    "rollouts.temperature=0.7": "set it to 1",
    "rollouts.samples=1": "at least 2",
    "rollouts.share=0.5 rollouts.updates=4": "nothing learns from the rows of annotations",
    "rollouts.share=1.5": "must be at most 1",
    "train.batch_size=64": "set config.train.batch_size to at least 128",
    "train.batch_size=4 rollouts.share=0.05": "is 0 rows",
    "train.steps=5": "config.train.steps=5 does not go with config.rollouts.rounds: set it to 0",
    "data.packing=True": "set it to False",
    "easy.files=p easy.hard=abstain": "config.easy.files=('p',) does not go with",
    "easy.files=p easy.hard=uniform": "config.easy.files=('p',) does not go with",
    "rollouts.students=teacher": "this scheme has decomposer, solver",
    "model.solver.init_from=": "student 'solver' must be able to write already",
    "model.solver.residual_dropout=0.1": "which has no dropout",
    "rollouts.advantage=gae": "choose rloo, grpo",
    "loss.divergence=1.0 loss.teacher=t": "set one of them to 0",
    "loss.policy=0.0 loss.divergence=1.0 loss.teacher=t loss.likelihood=1.0": "may be wrong",
}


def mistakes(changes):
    config = get_config()
    command_line.apply_overrides(config, GOOD | changes)
    return checks.mistakes(config)


@pytest.mark.parametrize("changes", MISTAKES)
def test_mistakes_come_with_a_remedy(changes):
    found = mistakes(dict(change.split("=", 1) for change in changes.split()))
    assert [line for line in found if MISTAKES[changes] in line], found


def test_a_good_config_has_none():
    assert mistakes({}) == []
    two_rows = {"students.solver": "decomposer", "reads.decomposer": "()"}
    (line,) = mistakes(two_rows)  # as decomposer it reads other turns than as solver
    assert "are 512 rows" in line
    config = get_config()
    assert learns(config, "solver")
    command_line.apply_overrides(config, GOOD | {"rollouts.students": "solver"})
    assert learns(config, "solver") and not learns(config, "decomposer")


def test_rewards_are_modules_like_tasks(tmp_path, monkeypatch):
    (tmp_path / "odd_reward.py").write_text("def reward(samples, much=2.0):\n    return [much]\n")
    monkeypatch.chdir(tmp_path)
    assert rewards_of(reward_function("odd_reward", ("much=3",)), ["one"]) == [3.0]
    assert rewards_of(reward_function("correct", ("alpha=0.4",)), []) == []
    for name, options, said in (
        ("no_such", (), "no such module; give correct, or"),
        ("odd_reward", ("little=1",), "odd_reward takes much"),
        ("odd_reward", ("much=a lot",), "is not of type float"),
        ("json", (), "has no function reward"),
        ("correct", ("alpha=1.5",), "alpha=1.5: must be from 0 to 1"),
    ):
        with pytest.raises(UserError, match=said):
            reward_function(name, options)([])


def test_a_reward_that_fails_is_told_before_anything_is_written(place):
    """A wrong value of an option, and a mistake in the function itself."""
    (place / "failing.py").write_text(
        "def reward(samples):\n    return [s.marks for s in samples]\n"
    )
    wrong = {
        "correct": ("--config.rollouts.reward_options=alpha=1.5", "alpha=1.5: must be from 0 to 1"),
        "failing": ("--config.rollouts.reward_options=", "AttributeError: 'Prediction' object has"),
    }
    for name, (options, said) in wrong.items():
        reward = (f"--config.rollouts.reward={name}", options)
        done, _ = train(place, -1, *arguments(place, f"run_{name}", *ROUNDS, *reward))
        assert said in one_error_line(done) and not (place / f"run_{name}").exists()
    assert f"({place / 'failing.py'}, line 2)" in done.stderr


def test_the_reward_of_the_page_is_one(tmp_path, monkeypatch):
    (code,) = blocks(DOCS / "rewards.md", "python")
    assert len(code.splitlines()) <= 10
    (tmp_path / "page_reward.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    reward = reward_function("page_reward", ("price=0.02",))
    turns = (Turn("solver", "1", 5, -1.0),)
    right = Prediction("p/1", "q", "1", "1", turns, "1", True, {}, "finished")
    cut = dataclasses.replace(right, status="token_cap")
    assert rewards_of(reward, [right, cut]) == pytest.approx([0.9, -0.1])


def test_a_reward_that_is_no_number_is_told():
    sample = type("Sample", (), {"id": "p/1"})()
    for number in (np.float32(0.5), np.float64(0.5), np.int64(1), True):
        found = rewards_of(lambda samples, number=number: np.array([number, number]), [sample] * 2)
        assert found == [float(number)] * 2
    assert rewards_of(lambda samples: [True, 1], [sample, sample]) == [1.0, 1.0]
    for wrong in ([1.0], [1.0, float("nan")], [1.0, None], None, 1.0, ["1", "1"]):
        with pytest.raises(UserError, match="a finite number for each"):
            rewards_of(lambda samples, wrong=wrong: wrong, [sample, sample])
