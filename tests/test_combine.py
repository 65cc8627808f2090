"""The command over directories of finished runs, and the report that shows what it wrote."""

import csv
import dataclasses
import json
import math
import pathlib
import re
import subprocess
import sys
import time

import pytest
from experiment_runs import ROOT, environment
from html_page import Page
from run_directories import change_json, solved, write_evaluation, write_run

from distill_jax import combine, errors
from distill_jax.dialogues import votes
from distill_jax.evaluation import deferral, results
from distill_jax.evaluation.ablations import with_all_evaluations
from distill_jax.evaluation.comparison import write_comparison
from distill_jax.evaluation.runs import arms, read_runs
from distill_jax.records import Cost, prediction_from_dict
from distill_jax.tasks import arithmetic

PROBLEMS = arithmetic.load("test", test_problems=12)
DEV = arithmetic.load("dev", dev_problems=6)
GOLD = arithmetic.load_annotations("test", test_problems=12)
# The worked example of a switch, on six problems.
CONFIDENCE = [0.99, 0.95, 0.80, 0.60, 0.40, 0.30]
SMALL, LARGE = (0, 1, 3, 5), (0, 2, 3, 4, 5)
STEPS = [("How many?", "1 + 1 = 2")] * 2  # 32 tokens


def answers(right, problems=PROBLEMS[:6], confidence=None, **changes):
    """Two steps each, right at the positions `right`, with the confidence of the last solution."""
    confidence = confidence or [0.5] * len(problems)
    return [
        solved(problem, STEPS, correct=i in right, log_probability=math.log(c), **changes)
        for i, (problem, c) in enumerate(zip(problems, confidence, strict=True))
    ]


def write_two(tmp_path):
    """The small and the large one of the worked example, at 1,000 and 8,000 FLOPs a problem."""
    small = answers(SMALL, confidence=CONFIDENCE, flops=1000)
    large = answers(LARGE, flops=8000)
    return [
        write_run(tmp_path / "small", small, tokens=1000),
        write_run(tmp_path / "large", large, tokens=4000, **{"train.steps": 80}),
    ]


@pytest.fixture
def two(tmp_path):
    return write_two(tmp_path)


def call(*arguments):
    return errors.run_command(combine.main, [str(argument) for argument in arguments])


def read(directory):
    rows = (directory / "predictions.jsonl").read_text().splitlines()
    report = json.loads((directory / "report.json").read_text())
    return [prediction_from_dict(json.loads(row)) for row in rows], report


def read_csv(directory, name):
    with open(directory / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys, *arguments):
    """The one line with which the command ends."""
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


def test_switch_with_a_threshold(two, tmp_path, capsys):
    """Two of six are deferred: a problem costs 1 + 2/6 x 8 = 3.667 thousand FLOPs."""
    out = tmp_path / "switch"
    assert call("--rule", "switch", *two, "--threshold", 0.5, "--output", out) == 0
    predictions, report = read(out)
    assert [p.answered_by for p in predictions] == ["small"] * 4 + ["large"] * 2
    assert [p.correct for p in predictions] == [True, True, False, True, True, True]
    assert report["accuracy"] == pytest.approx(5 / 6)
    assert report["cost"] == {"prompt_tokens": 160, "tokens": 256, "flops": 22_000}
    assert report["cost"]["flops"] / 6 == pytest.approx(3666.7, abs=0.1)
    assert report["tokens"] == {"generated": 256, "mean": 256 / 6}
    combined = report["combination"]
    assert combined["threshold"] == {"value": 0.5, "chosen_on": [], "there": None}
    assert combined["deferred"] == pytest.approx(2 / 6)
    assert combined["answered_by"] == {"small": 4, "large": 2}
    assert combined["deferral"]["area"] == pytest.approx(
        {"switch": 0.819444, "random": 0.75, "oracle": 0.930556}, abs=1e-6
    )
    assert combined["deferral"]["share_of_oracle"] == pytest.approx(0.384615, abs=1e-6)
    output = capsys.readouterr().out
    assert "small alone: accuracy 66.7%" in output and "large alone: accuracy 83.3%" in output
    assert "accuracy 83.3%" in output and "3.67e+03 FLOPs" in output and f"{out}" in output


def test_the_ends_of_the_threshold(two, tmp_path):
    """1 never asks the large one, -1 always, and then both are paid for."""
    for threshold, right, flops in ((1, 4, 6_000), (-1, 5, 54_000)):
        out = tmp_path / f"at{threshold}"
        assert call("--rule", "switch", *two, f"--threshold={threshold}", "--output", out) == 0
        predictions, report = read(out)
        assert (sum(p.correct for p in predictions), report["cost"]["flops"]) == (right, flops)


def test_the_threshold_is_chosen_on_dev(two, tmp_path, capsys):
    """On dev the large one is right where the small one is less sure than 0.7; the evaluated
    problems would have chosen another threshold."""
    dev = [
        write_evaluation(two[0], "dev", answers((0, 1), DEV, [0.9, 0.8, 0.6, 0.5, 0.4, 0.3]),
                         split="dev"),
        write_evaluation(two[1], "dev", answers((2, 3, 4, 5), DEV), split="dev"),
    ]  # fmt: skip
    out = tmp_path / "out"
    assert call("--rule", "switch", *two, "--output", out, "--dev", *dev) == 0
    predictions, report = read(out)
    chosen = report["combination"]["threshold"]
    assert chosen["value"] == pytest.approx(0.3)  # between 0.2 and 0.4
    assert chosen["chosen_on"] == dev
    assert chosen["there"] == {
        "threshold": chosen["value"], "deferred": pytest.approx(4 / 6), "accuracy": 1.0
    }  # fmt: skip
    assert [p.answered_by for p in predictions] == ["small"] * 3 + ["large"] * 3
    assert f"chosen on {dev[0]}, {dev[1]}" in report["combination"]["description"]
    # At most a third of the dev problems: the two least sure, below 0.45.
    again = tmp_path / "share"
    assert call("--rule", "switch", *two, "--output", again, "--share=0.34", "--dev", *dev) == 0
    _, report = read(again)
    assert report["combination"]["threshold"]["value"] == pytest.approx(0.55)
    assert report["combination"]["settings"] == {"by": "answer", "share": 0.34}
    # The evaluated problems themselves are refused, and so are other students.
    capsys.readouterr()
    arguments = ("--rule", "switch", *two, "--output", tmp_path / "no", "--dev")
    line = refused(capsys, *arguments, *two)
    assert "a threshold is chosen on other problems" in line and PROBLEMS[0].question[:50] in line
    hot = write_evaluation(two[1], "hot", answers((2, 3, 4, 5), DEV), split="dev", temperature=0.7)
    for other in (dev[::-1], dev[:1], (dev[0], hot)):
        assert "in the same order" in refused(capsys, *arguments, *other)
    change_json(pathlib.Path(dev[0]) / "report.json", training_problems=True)
    assert "asks training problems, on which students are surer" in refused(
        capsys, *arguments, *dev
    )
    assert not (tmp_path / "no").exists()


def test_votes_over_students(tmp_path, capsys):
    """Three students; where two are right, the vote is: and it costs all three."""
    rights = [(0, 1, 2), (0, 1, 3), (0, 4, 5)]
    runs = [
        write_run(tmp_path / f"chain-seed{seed}", answers(right, flops=10 * (seed + 1)), seed=seed)
        for seed, right in enumerate(rights)
    ]
    out = tmp_path / "vote"
    assert call("--rule", "vote", *runs, "--output", out) == 0
    predictions, report = read(out)
    # Wrong ones all say 999: that is a majority as well.
    assert [p.correct for p in predictions] == [True, True, False, False, False, False]
    assert all(p.cost == Cost(60, 96, 60) for p in predictions)
    names = ["chain-seed0", "chain-seed1", "chain-seed2"]
    assert [s.answered_by for s in predictions[0].samples] == names
    assert (report["samples"], report["pass_at_k"]["3"]) == (3, 1.0)
    assert (report["seed"], report["identity"]["seed"]) == (None, "0 | 1 | 2")
    assert report["sampling"]["samples"] == 3
    assert report["checkpoint_steps"]["3/solver"] == 20
    assert "vote of 3 dialogues each" in capsys.readouterr().out
    # It reads as a result, too, and a second time it is the same to the byte.
    assert results.read_run(out).accuracy == pytest.approx(2 / 6)
    before = [(out / name).read_bytes() for name in ("predictions.jsonl", "report.json")]
    assert call("--rule", "vote", *runs, "--output", out) == 0
    assert [(out / name).read_bytes() for name in ("predictions.jsonl", "report.json")] == before


def test_a_committee_switches_by_its_votes(tmp_path):
    """Of two small ones: where they agree they answer, else the large one."""
    runs = [
        write_run(tmp_path / "a", answers((0, 1, 2), flops=10), seed=0),
        write_run(tmp_path / "b", answers((0, 3, 2), flops=10), seed=1),
        write_run(tmp_path / "large", answers(range(6), flops=100), **{"train.steps": 80}),
    ]
    out = tmp_path / "out"
    arguments = ("--rule", "switch", "--by", "votes", "--threshold=0.4", "--output", out)
    assert call(*arguments, *runs) == 0
    predictions, report = read(out)
    assert [p.answered_by == "large" for p in predictions] == [0, 1, 0, 1, 0, 0]
    assert [p.cost.flops for p in predictions] == [20, 120, 20, 120, 20, 20]
    assert report["combination"]["settings"]["by"] == "votes"


def test_length_vote_of_one_run_with_samples(tmp_path):
    """The short ones agree on the right answer; the long ones are more, and do not agree."""

    def several(problem):
        wrong = [solved(problem, STEPS * 2, correct=False) for _ in range(4)]
        others = [dataclasses.replace(w, prediction=p) for w, p in zip(wrong, "aaab", strict=True)]
        return votes.combine([*[solved(problem, STEPS[:1])] * 2, *others])

    predictions = [several(problem) for problem in PROBLEMS[:6]]
    run = write_run(tmp_path / "run", predictions, sampling={"samples": 6, "temperature": 0.7})
    for number, (rule, more, accuracy) in enumerate(
        [
            ("vote", (), 0.0),
            ("length_vote", ("--buckets=1",), 1.0),
            ("length_vote", ("--buckets=1", "--length=tokens", "--width=1000"), 0.0),
            ("length_vote", ("--buckets=2",), 0.0),
        ]
    ):
        out = tmp_path / str(number)
        assert call("--rule", rule, run, "--output", out, *more) == 0
        found, report = read(out)
        assert report["accuracy"] == accuracy
        assert report["cost"] == {"prompt_tokens": 720, "tokens": 6 * 288, "flops": 36_000}
        assert [len(p.samples) for p in found] == [6] * 6
    settings = json.loads((tmp_path / "1" / "report.json").read_text())["combination"]["settings"]
    assert settings == {"length": "steps", "width": 2, "buckets": 1}


def test_problems_in_another_order_are_the_same(tmp_path):
    runs = [
        write_run(tmp_path / "a", answers((0, 1))),
        write_run(tmp_path / "b", answers((0, 1))[::-1], seed=1),
    ]
    assert call("--rule", "vote", *runs, "--output", tmp_path / "out") == 0
    predictions, _ = read(tmp_path / "out")
    assert [p.id for p in predictions] == [p.id for p in PROBLEMS[:6]]
    assert [p.correct for p in predictions] == [True, True, False, False, False, False]


def changed(**changes):
    rows = answers((0, 1))
    rows[2] = dataclasses.replace(rows[2], **changes)
    return rows


@pytest.mark.parametrize(
    ("predictions", "first", "words"),
    [
        (changed(question="Another?"), 2, "has another question in A than in B"),
        (changed(answer="1234"), 2, "has another answer in A than in B"),
        (changed(id="test/other"), 2, "is in A, not in B"),
        (answers((0, 1))[:3], 3, "is in A, not in B"),
        (answers((0, 1), PROBLEMS[:7]), 6, "is in B, not in A"),
        (answers((0, 1), PROBLEMS[6:]), 0, "is in A, not in B"),
    ],
)
def test_other_problems_are_refused(tmp_path, capsys, predictions, first, words):
    """In one line: the first problem that differs, and both files."""
    runs = [write_run(tmp_path / "a", answers((0, 1))), write_run(tmp_path / "b", predictions)]
    line = refused(capsys, "--rule", "vote", *runs, "--output", tmp_path / "out")
    for name, run in zip("AB", runs, strict=True):
        line = line.replace(f"{run}/evaluations/headline-40-20-0123abcd/predictions.jsonl", name)
    remedy = "combine evaluations of the same problems"
    assert line == f"problem '{PROBLEMS[first].id}' {words}: {remedy}"
    assert not (tmp_path / "out").exists()


def test_what_does_not_go_together_is_refused(two, tmp_path, capsys):
    small, _ = two
    out = ("--output", tmp_path / "out")
    headline = f"{small}/evaluations/headline-40-20-0123abcd"
    dev = write_evaluation(small, "dev", answers((0, 1)), split="dev")
    more = write_evaluation(small, "more", answers((0, 1)), split="test", seed=1)
    gold = write_evaluation(small, "gold", answers((0, 1)), split="test", given="subquestions")
    vote, switch = ("--rule", "vote", *out), ("--rule", "switch", *out)
    for words, arguments in (
        ("a run is given twice", (*vote, small, small)),
        ("a run is given twice", (*vote, small, headline)),
        ("differ in their split: 'test' and 'dev'", (*vote, small, dev)),
        ("config.sampling.given", (*vote, small, gold)),
        ("not a vote", (*vote, small)),
        ("not a vote", ("--rule", "length_vote", *out, small)),
        ("holds no run", (*vote, small, tmp_path)),
        ("needs either --threshold X, or --dev", (*switch, *two)),
        ("needs either", (*switch, *two, "--threshold=0.5", "--dev", dev, dev)),
        ("from -1 to 1", (*switch, *two, "--threshold=2")),
        ("from -1 to 1", (*switch, *two, "--threshold=nan")),
        ("--share needs", (*switch, *two, "--threshold=0.5", "--share=0.5")),
        ("--share needs", (*switch, *two, "--share=2", "--dev", dev)),
        ("give two evaluations", (*switch, small, "--threshold=0.5")),
        ("for a committee give --by votes", (*switch, more, *two, "--threshold=0.5")),
        ("one sample per problem", (*switch, *two, "--by=votes", "--threshold=0.5")),
        ("does not say how sure", (*switch, *two, "--by=entropy", "--threshold=0.5")),
        ("--width=0", ("--rule", "length_vote", *out, *two, "--width=0")),
        ("--threshold is for --rule switch", (*vote, *two, "--threshold=0.5")),
        ("--width is for --rule length_vote", (*vote, *two, "--width=3")),
        ("2 names for 3 runs", (*vote, *two, dev, "--names=a,b")),
        ("--dev has 1 evaluations for 2", (*switch, *two, "--dev", dev)),
        ("is a file: give its directory", (*vote, small, pathlib.Path(headline) / "report.json")),
        ("has other files", ("--rule", "vote", *two, "--output", tmp_path)),
        ("belongs to a run", ("--rule", "vote", *two, "--output", small)),
        ("belongs to a run", ("--rule", "vote", *two, "--output", headline)),
        ("belongs to a run", ("--rule", "vote", *two, "--output", f"{small}/evaluations/new")),
    ):
        assert words in refused(capsys, *arguments), arguments
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("by", "deferred"), [("entropy", "p1"), ("margin", "p2")])
def test_a_switch_by_how_sure_each_token_was(tmp_path, by, deferred):
    """Of three problems the small one has many likely tokens in one, a close second in another."""
    sure = {"p1": (3.5, 6.0), "p2": (0.7, 1.4)}  # of seven tokens

    def small(problem):
        made = solved(problem, STEPS[:1], correct=False)
        entropy, margin = sure.get(problem.id, (0.07, 6.9))
        turns = [dataclasses.replace(turn, entropy=entropy, margin=margin) for turn in made.turns]
        return dataclasses.replace(made, turns=tuple(turns))

    problems = [dataclasses.replace(PROBLEMS[i], id=f"p{i}") for i in range(3)]
    runs = [
        write_run(tmp_path / "small", [small(problem) for problem in problems]),
        write_run(tmp_path / "large", [solved(p, STEPS[:1]) for p in problems], seed=1),
    ]
    out = tmp_path / "out"
    arguments = ("--rule", "switch", "--by", by, "--threshold=0.35", "--output", out)
    assert call(*arguments, *runs) == 0
    rows = map(json.loads, (out / "predictions.jsonl").read_text().splitlines())
    assert [row["id"] for row in rows if row["answered_by"] == "large"] == [deferred]


def test_a_file_in_the_way_is_one_line(two, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = refused(capsys, "--rule", "vote", *two, "--output", tmp_path / "file" / "out")
    assert "choose another" in line


def test_what_is_replaced_is_said(two, tmp_path, capsys):
    out = ("--output", tmp_path / "out")
    assert call("--rule", "switch", *two, "--threshold", 0.5, *out) == 0
    assert call("--rule", "switch", *two, "--threshold", 0.5, *out) == 0
    assert not capsys.readouterr().out.startswith("replaced in")
    assert call("--rule", "vote", *two, *out) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"replaced in {tmp_path / 'out'}: switch from small to large if ")


def test_a_combination_is_not_combined_again(two, tmp_path, capsys):
    out = tmp_path / "vote"
    assert call("--rule", "vote", *two, "--output", out) == 0
    capsys.readouterr()
    line = refused(capsys, "--rule", "vote", two[0], out, "--output", tmp_path / "more")
    assert line.endswith("is a combination: give what it was made of")


def test_the_report_has_one_more_row(two, tmp_path):
    out = tmp_path / "switch"
    assert call("--rule", "switch", *two, "--threshold", 0.5, "--output", out) == 0
    pages = write_comparison([*two, str(out)], tmp_path / "report")
    runs = {row["run"]: row for row in read_csv(tmp_path / "report", "runs")}
    assert float(runs["switch"]["normalised"]) == pytest.approx(5 / 6)
    assert (runs["switch"]["arm"], runs["switch"]["seed"]) == ("switch", "0")
    settings = {row["run"]: row for row in read_csv(tmp_path / "report", "settings")}
    row = settings["switch"]
    assert row["sampling"].startswith("switch from small to large if uncertainty (answer) > 0.5")
    # Everyone's parameters and training tokens; the tokens and FLOPs of everyone who was asked.
    assert (row["parameters"], row["tokens trained"]) == ("2400", str(1500 + 6000))
    assert row["tokens generated"] == str(6 * 32 + 2 * 32)
    assert float(row["FLOPs per problem"]) == pytest.approx(22_000 / 6)
    assert float(settings["large"]["FLOPs per problem"]) == 8000
    (shown,) = read_csv(tmp_path / "report", "deferral")
    assert float(shown["area"]) == pytest.approx(0.819444, abs=1e-6)
    assert float(shown["of the oracle's gain"]) == pytest.approx(0.384615, abs=1e-6)
    assert (shown["uncertainty"], shown["threshold chosen on"]) == ("answer", "given")
    tests = {row["run"]: row for row in read_csv(tmp_path / "report", "paired")}
    assert tests["switch"]["only this right"] == "1"
    assert "Deferral" in Page(pages[0]).find("main")[0]["text"]
    html = pages[0].read_text()
    assert "aria-label='Accuracy by share of deferred problems: switch'" in html
    # The switch writes more than the large one, and is as accurate.
    front = {row["run"]: row for row in read_csv(tmp_path / "report", "pareto")}
    assert list(front) == ["small", "large", "switch"]
    assert float(front["switch"]["tokens written per problem"]) == pytest.approx(256 / 6)
    assert float(front["switch"]["FLOPs per problem"]) == pytest.approx(22_000 / 6)
    assert [row["on the front"] for row in front.values()] == ["no", "yes", "no"]
    label = "Accuracy against tokens written per problem: "
    names = ", ".join(row["run"] for row in read_csv(tmp_path / "report", "runs"))
    assert f"aria-label='{label}{names}'" in html and '<table id="pareto">' in html
    # By itself, and with all its evaluations, of which it has no other.
    write_comparison([str(out)], tmp_path / "alone", all_evaluations=True)
    assert [row["run"] for row in read_csv(tmp_path / "alone", "runs")] == ["switch"]
    assert not (tmp_path / "alone" / "tables" / "pareto.csv").exists()


def test_votes_of_other_seeds_are_one_arm(tmp_path):
    """They differ in nothing but the seeds of their members; a switch over them is another arm."""
    runs = [
        write_run(tmp_path / f"chain-seed{seed}", answers((0, seed)), seed=seed)
        for seed in range(4)
    ]
    for name, members in (("vote-1", runs[:2]), ("vote-2", runs[2:])):
        assert call("--rule", "vote", *members, "--output", tmp_path / name) == 0
    out = tmp_path / "switch"
    assert call("--rule", "switch", *runs[:2], "--threshold=0.5", "--output", out) == 0
    paths = [*runs, *(str(tmp_path / name) for name in ("vote-1", "vote-2", "switch"))]
    grouped = arms(read_runs(paths))
    assert [len(members) for members in grouped.values()] == [4, 2, 1]
    write_comparison(paths, tmp_path / "report")
    assert [row["n"] for row in read_csv(tmp_path / "report", "seeds")] == ["4", "2", "1"]


def test_students_that_answer_twice_are_counted_once(tmp_path):
    """Two evaluations of one run by other seeds of the sampler: one pair of students."""
    run = write_run(tmp_path / "run", answers((0, 1)))
    more = write_evaluation(run, "seed1", answers((0, 2)), split="test", seed=1)
    assert call("--rule", "vote", run, more, "--output", tmp_path / "vote") == 0
    [combined] = read_runs([str(tmp_path / "vote")])
    assert combined.students == ["1/decomposer", "1/solver"]
    assert combined.trained_tokens() == 1500


def test_single_evaluations_are_read(tmp_path, capsys):
    run = write_run(tmp_path / "run", answers((0, 1)))
    more = write_evaluation(run, "seed1", answers((0, 2)), split="test", seed=1)
    runs = read_runs([run, more])
    assert [each.name for each in runs] == ["run", "run: seed1"]
    with pytest.raises(errors.UserError, match="two evaluations of one run"):
        with_all_evaluations(runs)
    apart = tmp_path / "copy"
    apart.mkdir()
    for name in ("predictions.jsonl", "report.json"):
        (apart / name).write_bytes((tmp_path / "run/evaluations/seed1" / name).read_bytes())
    line = refused(capsys, "--rule", "vote", run, apart, "--output", tmp_path / "out")
    assert "is not in the directory of its run" in line


def test_lengths_are_a_table_of_the_report(tmp_path):
    """Problems of two and of three steps, solved in two to four: ten each are enough."""

    def several(problem, i):
        row = [solved(problem, STEPS[:1] * n, correct=n == 3) for n in (2, 3, 3, 4) * 3]
        return dataclasses.replace(votes.combine(row), attributes={"steps": 2 + i % 2})

    predictions = [several(problem, i) for i, problem in enumerate(PROBLEMS)]
    run = write_run(tmp_path / "run", predictions, sampling={"samples": 12})
    write_comparison([run], tmp_path / "report")
    first, second = read_csv(tmp_path / "report", "chain_lengths")
    assert (first["steps of the gold solution"], second["steps of the gold solution"]) == ("2", "3")
    assert (first["dialogues"], first["steps written"], first["best"]) == ("72", "3.0", "3")
    assert float(first["accuracy there"]) == 1.0
    assert first["best by the fit"] == ""  # two cells have right answers: too few


def test_help_is_quick():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "distill_jax.combine", "--help"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--threshold" in done.stdout
    [choices] = set(re.findall(r"--by \{(\S*)\}", done.stdout))
    assert choices.split(",") == list(deferral.UNCERTAINTIES)
    assert time.monotonic() - began < 2
