"""Arms of several steps with real processes: killed on the way, gone on with, compared."""

import json
import pathlib

import pytest
from experiment_runs import one_error_line, run
from sweep_processes import OVERRIDES, begin, outcomes, wait_until, write_sweep

from distill_jax import errors
from distill_jax.errors import UserError
from distill_jax.evaluation.listing import list_evaluations
from distill_jax.records import Annotation, Step, read_json_lines
from distill_jax.run import branches, entropies
from distill_jax.sweep.definition import Ask, Make, Run
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

TINY = OVERRIDES | {"data.dev_problems": "0", "train.eval_every": "0"}
FIRST = Run({"scheme": "chain", "data.fold": "1/2", "train.steps": 60})
BRANCHES = {
    "workdir": "{0}", "branches": 2, "config.evaluation.problems": 6,
    "config.sampling.samples": 2, "config.sampling.temperature": 1.0,
    # Such a student seldom ends a turn, and answers that a limit cuts are not kept.
    "config.sampling.max_tokens": 128, "config.sampling.max_turn_tokens": 128,
}  # fmt: skip
OWN = {
    "scheme": "chain",
    "train.steps": 10,
    "tokenizer.name": "{0}/tokenizer",
    "model.solver.init_from": "{0}/checkpoints/solver",
}
ARMS = {
    "first": (FIRST,),
    "own": (
        FIRST,
        Ask({"evaluation.split": "train", "evaluation.problems": 60, "sampling.samples": 4,
             "sampling.temperature": 1.0}),
        Run(OWN | {"data.annotations": ("{0}/annotations.jsonl", "{1}/predictions.jsonl")}),
    ),
    # Its last step has the number of `own`'s, so that only the arms tell their reports apart.
    "gold": (
        FIRST,
        Ask({"evaluation.problems": 5}),
        Run(OWN | {"data.annotations": "{0}/annotations.jsonl", "train.steps": 5}),
    ),
    "branches": (
        FIRST,
        Make("distill_jax.run.branches", BRANCHES),
        Run(OWN | {"data.fold": "2/2", "data.removal.role": "solver", "data.removal.start": 3}),
        Ask({"sampling.seed": 1, "sampling.temperature": 1.0}),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """(directory, what was said): a sweep of four arms that was killed while it asked, and while
    it made something."""
    place = tmp_path_factory.mktemp("staged")
    keys = {key for arm in ARMS.values() for step in arm if isinstance(step, Run | Ask)
            for key in step.changes}  # fmt: skip
    overrides = [f"--config.{k}={v}" for k, v in TINY.items() if k not in keys]
    file, directory = write_sweep(place / "mine.py", ARMS, baseline="first"), place / "w"
    run_of_first = directory / "first-seed0"
    process = begin(file, directory, *overrides)
    wait_until(lambda: list(run_of_first.glob("evaluations/*train*/partial*")), process)
    process.kill()
    process.communicate()
    made = directory / "branches-seed0" / "1"
    process = begin(file, directory, *overrides)
    wait_until(lambda: (directory / "logs/branches-seed0/1.txt").exists(), process)
    process.kill()
    process.communicate()
    assert not (made / "made_by.json").exists()
    done = run("sweep", "--config", file, "--workdir", directory, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory, done.stdout


def test_steps_are_done_once_in_their_order(staged):
    directory, said = staged
    found = outcomes(directory)
    assert list(found) == [
        "first-seed0", "own-seed0/1", "own-seed0/2", "gold-seed0/1", "gold-seed0/2",
        "branches-seed0/1", "branches-seed0/2", "branches-seed0/3",
    ]  # fmt: skip
    assert {each["status"] for each in found.values()} == {"done"}
    assert found["branches-seed0/1"]["accuracy"] is None
    assert "first-seed0: begins" not in said  # it was done before the kills
    # The directory of an Ask is that of its evaluation; it holds all answers, each once.
    asked = directory / "own-seed0" / "1"
    assert asked.is_symlink() and asked.resolve().parents[1] == directory / "first-seed0"
    rows = [row for _, row in read_json_lines(asked / "predictions.jsonl")]
    assert [len(row["samples"]) for row in rows] == [4] * 60
    assert all(row["id"].startswith("arithmetic/train/") for row in rows)
    assert not list(asked.glob("partial*"))
    assert len(list_evaluations(Workdir(directory / "first-seed0"))) >= 2


def test_a_run_is_not_taken_for_one_that_learned_from_other_answers(staged, tmp_path):
    """What a step asked or made was changed: the files of a run that read them are the old ones."""
    directory, _ = staged
    asked = Ask(ARMS["own"][1].changes | {"sampling.samples": 2})
    made = Make("distill_jax.run.branches", BRANCHES | {"branches": 3})
    arms = ARMS | {
        "own": (FIRST, asked, ARMS["own"][2]),
        "branches": (FIRST, made, *ARMS["branches"][2:]),
    }
    keys = {key for arm in arms.values() for step in arm if isinstance(step, Run | Ask)
            for key in step.changes}  # fmt: skip
    overrides = [f"--config.{k}={v}" for k, v in TINY.items() if k not in keys]
    file = write_sweep(tmp_path / "changed.py", arms, baseline="first")
    done = run("sweep", "--config", file, "--workdir", directory, "--list", *overrides)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()  # branches-seed0/2 reads nothing of what was made
    assert "error: own-seed0/2: it has learned from own-seed0/1 with other settings:" in line


def test_own_samples_are_trained_on_beside_gold_ones(staged):
    directory, _ = staged
    summary = json.loads((directory / "own-seed0/2/annotations.summary.json").read_text())
    gold = len((directory / "first-seed0/annotations.jsonl").read_text().splitlines())
    samples = summary["sources"].get("student predictions.jsonl", 0)
    assert summary["kept"] == gold + samples and "wrong answer" in summary["reasons"]
    facts = json.loads((directory / "own-seed0/2/training_data.json").read_text())
    assert facts["solver"]["origins"].keys() <= {"annotations.jsonl", "predictions.jsonl"}


def test_the_report_compares_last_steps_and_shows_the_way(staged):
    directory, _ = staged
    page = (directory / "report" / "comparison.md").read_text()
    assert "Against first-seed0" in page and "own-seed0" in page and "branches-seed0" in page
    way = (directory / "report" / "tables" / "way.csv").read_text().splitlines()
    steps = [line.split(",")[:3] for line in way[1:]]
    assert steps == [
        ["first-seed0", "0", "train"],
        ["own-seed0", "0", "train"],
        ["own-seed0", "1", "ask the train split"],
        ["own-seed0", "2", "train"],
        ["own-seed0", "all", ""],
        ["gold-seed0", "0", "train"],
        ["gold-seed0", "1", "ask the test split"],
        ["gold-seed0", "2", "train"],
        ["gold-seed0", "all", ""],
        ["branches-seed0", "0", "train"],
        ["branches-seed0", "1", "run.branches"],
        ["branches-seed0", "2", "train"],
        ["branches-seed0", "3", "ask the test split"],
        ["branches-seed0", "all", ""],
    ]
    sampled = [int(line.split(",")[5] or 0) for line in way[1:]]
    assert sampled[4] == sum(sampled[1:4]) and sampled[13] == sum(sampled[9:13]) and sampled[10] > 0


def test_branches_are_of_training_problems_alone(staged, tmp_path, capsys):
    directory, _ = staged
    made = directory / "branches-seed0" / "1"
    rows = [row for name in ("annotations", "rejected")
            for _, row in read_json_lines(made / f"{name}.jsonl")]  # fmt: skip
    assert len(rows) == 6 * 2 * 2
    assert all(row["id"].startswith("arithmetic/train/") for row in rows)
    arguments = ["--workdir", str(directory / "first-seed0"), "--output", str(tmp_path)]
    arguments += ["--config.evaluation.split=test"]
    assert errors.run_command(branches.main, arguments) == 2
    assert "branches are of the run's own training problems" in capsys.readouterr().err


@pytest.fixture(scope="module")
def scored(staged, tmp_path_factory):
    """{given: the rows of entropies.jsonl} of two scorers that read each other's chains."""
    runs = [str(staged[0] / "first-seed0"), str(staged[0] / "branches-seed0" / "2")]
    found = {}
    for given in entropies.GIVEN:
        output = tmp_path_factory.mktemp(given)
        entropies.score(runs, given, output, Terminal())
        rows = read_json_lines(output / "entropies.jsonl")
        found[given] = [entropies.Scored(**row) for _, row in rows]
    return runs, found


def test_no_scorer_reads_what_it_has_seen(scored, tmp_path):
    runs, found = scored
    seen = {path: {row["question"] for _, row in read_json_lines(Workdir(path).annotations)}
            for path in runs}  # fmt: skip
    everything = {row["id"]: row for path in runs
                  for _, row in read_json_lines(Workdir(path).annotations)}  # fmt: skip
    for rows in found.values():
        assert {row.id for row in rows} == set(everything) and len(rows) == 300
        for row in rows:
            assert row.question not in seen[row.scorer]
            steps = everything[row.id]["steps"]
            assert "".join(row.tokens) == "\n".join(step["solution"] for step in steps)
            assert len(row.tokens) == len(row.entropies)
            assert all(0 <= value <= 7 for value in row.entropies)  # log 1,024 is 6.9
    with pytest.raises(UserError, match="was trained on by all of them: give two runs"):
        entropies.score(runs[:1], "prefix", tmp_path, Terminal())


def test_every_chain_of_a_question_is_read_once():
    def chain(question, text):
        return Annotation(f"id of {question}", question, "1", (Step(None, text),), {})

    a, b, c = chain("q", "1 + 0 = 1."), chain("q", "2 - 1 = 1."), chain("r", "1 + 0 = 1.")
    assert entropies.shared_out([a, b, c, a], [{"r"}, {"q"}]) == [[a, b], [c]]


def test_the_first_piece_has_one_entropy_whatever_follows(scored):
    """What stands before it is the question alone, in both readings."""
    _, found = scored
    for alone, whole in zip(found["question"], found["prefix"], strict=True):
        assert alone.id == whole.id and alone.tokens[0] == whole.tokens[0]
        assert alone.entropies[0] == pytest.approx(whole.entropies[0], abs=1e-4)
    assert any(a.entropies != b.entropies for a, b in zip(*found.values(), strict=True))


def test_a_scorer_writes_chains(tiny_run):
    with pytest.raises(UserError, match=r"a scorer is a run of --config\.scheme=chain"):
        entropies.score([str(tiny_run[0])], "prefix", pathlib.Path("nowhere"), Terminal())


def test_more_branches_than_tokens_are_refused(staged, tmp_path):
    workdir, output = staged[0] / "first-seed0", tmp_path / "branches"
    arguments = ["--workdir", workdir, "--branches=2000", "--output", output]
    line = one_error_line(run("run.branches", *arguments, "--config.evaluation.problems=2"))
    assert "--branches=2000: the students know " in line
    assert not output.exists() or not list(output.rglob("*.jsonl"))
