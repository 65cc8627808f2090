"""The report over runs, from directories written as the commands leave them."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time

import pytest
from experiment_runs import ROOT, environment
from html_page import Page
from run_directories import change_json, solved, write_evaluation, write_run

from distill_jax import combine, errors
from distill_jax import report as entry_point
from distill_jax.errors import UserError
from distill_jax.evaluation import published
from distill_jax.evaluation import runs as finished_runs
from distill_jax.evaluation.comparison import write_comparison
from distill_jax.evaluation.paired import bootstrap_interval
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.tasks import arithmetic, made_coins

PROBLEMS = arithmetic.load("test", test_problems=12)
GOLD = arithmetic.load_annotations("test", test_problems=12)
INJECTION = "</td></details><script>alert('x')</script>|a|\n# <b>\"'{{ 7 }}`*_"


def answers(right, problems=PROBLEMS, **changes):
    """Predictions for the problems, right where their position is in `right`: gold or no step."""
    return [
        solved(
            problem,
            [(step.subquestion, step.solution) for step in GOLD[i % 12].steps],
            correct=i in right,
            **changes,
        )
        for i, problem in enumerate(problems)
    ]


def read_csv(directory, name):
    with open(directory / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def two_runs(tmp_path):
    """The first has 0 to 3 right, the second 1 to 8: 1 and 6 problems that only one has."""
    first = write_run(tmp_path / "first", answers(range(4)))
    second = write_run(tmp_path / "second", answers(range(1, 9)), **{"train.steps": 80})
    return [first, second]


def test_training_data_is_the_mean_over_the_seeds_of_an_arm(tmp_path):
    runs = []
    for seed, (rows, dropped, tokens) in enumerate([(10, 0, 100), (8, 2, 80)]):
        runs.append(write_run(tmp_path / f"mix-{seed}", answers(range(4)), seed=seed))
        path = tmp_path / f"mix-{seed}" / "training_data.json"
        facts = json.loads(path.read_text())
        counts = {"problems": rows, "rows": rows, "row_tokens": tokens, "dropped_rows": dropped}
        origins = {"b.jsonl": counts, "a.jsonl": counts | {"row_tokens": 3 * tokens}}
        facts["solver"] |= {"epochs": 4.0, "origins": origins}  # stopped half-way
        path.write_text(json.dumps(facts))
    write_comparison(runs, tmp_path / "out")
    first, second = read_csv(tmp_path / "out", "training_data")
    assert list(first.values()) == ["mix", "solver", "a.jsonl", "9.0", "9.0", "1.0", "30.0", "2.0"]
    assert (second["origin"], second["tokens per row"]) == ("b.jsonl", "10.0")
    shown = (tmp_path / "out" / "comparison.md").read_text()
    assert "| mix | solver | a.jsonl | 9 | 9 | 1 | 30.0 | 2.00 |" in shown


def test_numbers_by_hand(two_runs, tmp_path):
    out = tmp_path / "out"
    written = write_comparison(two_runs, out)
    assert set(written) == {path for path in out.rglob("*") if path.is_file()}
    first, second = read_csv(out, "runs")
    assert (first["run"], first["arm"], second["run"]) == ("first", "first", "second")
    assert float(first["normalised"]) == 4 / 12 and float(second["normalised"]) == 8 / 12
    low, high = float(first["normalised low"]), float(first["normalised high"])
    assert (low, high) == wilson_interval(4, 12)
    assert float(second["strict"]) == 0.0
    assert (first["seed"], first["split"], first["task"]) == ("0", "test", "arithmetic")
    first, second = read_csv(out, "settings")
    assert (first["run"], first["scheme"], first["extractor"]) == (
        "first",
        "socratic",
        "normalised",
    )
    assert first["checkpoints"] == "last (decomposer 40, solver 20)"
    assert first["sampling"] == "greedy"
    # 1,000 tokens of the decomposer, and half of those of the solver that stopped half-way.
    assert first["tokens trained"] == "1500"
    assert first["parameters"] == "1200"
    turns = sum(len(annotation.steps) for annotation in GOLD)
    assert first["tokens generated"] == str(turns * 16)
    (test,) = read_csv(out, "paired")
    assert test["run"] == "second"
    assert (test["only this right"], test["only baseline right"]) == ("5", "1")
    assert float(test["difference in points"]) == pytest.approx(4 / 12)
    assert float(test["McNemar p"]) == pytest.approx(14 / 64)  # 2 (C(6, 0) + C(6, 1)) / 2^6
    assert "Holm p" not in test  # of one test nothing is to be adjusted
    assert "Holm" not in (out / "comparison.md").read_text()
    interval = [float(test[f"difference in points {end}"]) for end in ("low", "high")]
    assert interval == list(bootstrap_interval(12, 1, 5, seed=0))
    assert not (out / "tables" / "seeds.csv").exists()


def test_questions_count_where_the_decomposer_asked_them(tmp_path):
    """Behind a given plan too, but not where they were given."""
    runs = [
        write_run(tmp_path / (given or "free"), answers(range(6)), sampling={"given": given})
        for given in ("", "plan", "subquestions", "history")
    ]
    write_comparison(runs, tmp_path / "out")
    rows = read_csv(tmp_path / "out", "questions")
    assert len(rows) == 2 and {row["problems"] for row in rows} == {"12"}


def test_errors_questions_and_breakdowns(tmp_path):
    rows = answers(range(6))
    rows[5] = dataclasses.replace(rows[5], status="turn_cap")  # right all the same
    rows[6] = dataclasses.replace(rows[6], status="token_cap")
    rows[7] = dataclasses.replace(rows[7], status="unparsed", prediction=None)
    rows[8] = solved(PROBLEMS[8], [("How many?", "1 + 1 = 2")] * 7, correct=False)
    steps = [("How many?", "1 + 1 = 3") for _ in GOLD[9].steps]
    rows[9] = solved(PROBLEMS[9], steps, correct=False, log_probability=-3.0)
    out = tmp_path / "out"
    write_comparison([write_run(tmp_path / "run", rows)], out)
    (counted,) = read_csv(out, "errors")
    assert counted["wrong"] == "6"
    names = ("unfinished", "unparsable", "wrong decomposition", "wrong arithmetic")
    assert [counted[name] for name in names] == ["1"] * 4
    assert (counted["wrong operation"], counted["unknown cause"]) == ("2", "0")
    assert counted["right, though stopped"] == "1"
    (asked,) = read_csv(out, "questions")
    assert asked["problems"] == "12"
    assert float(asked["more than gold"]) == pytest.approx((7 - len(GOLD[8].steps)) / 12)
    assert float(asked["as many as gold"]) == pytest.approx(11 / 12)
    by_steps = {row["steps"]: row for row in read_csv(out, "steps")}
    for number in ("2", "3"):
        members = [i for i, a in enumerate(GOLD) if len(a.steps) == int(number)]
        assert by_steps[number]["problems"] == str(len(members))
        assert by_steps[number]["right"] == str(sum(i < 6 for i in members))
    assert sum(int(row["problems"]) for row in read_csv(out, "lengths")) == 12
    (calibrated,) = read_csv(out, "calibration")
    # All but one solution have the same probability: 6 right ones against 5 level and 1 below.
    assert float(calibrated["AUROC"]) == pytest.approx((0.5 * 30 + 6) / 36)
    assert not (out / "tables" / "paired.csv").exists()
    assert "Where the runs differ" in (out / "comparison.html").read_text()


def test_missing_sacrebleu_leaves_an_empty_cell(two_runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    write_comparison(two_runs, tmp_path / "out")
    assert [row["BLEU"] for row in read_csv(tmp_path / "out", "questions")] == ["", ""]
    assert "distill-jax[eval]" in Page(tmp_path / "out" / "comparison.html").source


def test_several_seeds_are_one_arm(tmp_path):
    runs = [
        write_run(tmp_path / f"socratic-seed{seed}", answers(range(right)), seed=seed)
        for seed, right in ((0, 3), (1, 6), (2, 6))
    ]
    chain = write_run(tmp_path / "chain", answers(range(2)), scheme="chain")
    hot = write_run(tmp_path / "hot", answers(range(2)), sampling={"temperature": 1.0})
    write_comparison([*runs, chain, hot], tmp_path / "out", baseline="chain")
    rows = {row["arm"]: row for row in read_csv(tmp_path / "out", "seeds")}
    assert list(rows) == ["socratic", "chain", "hot"]
    assert (rows["socratic"]["n"], rows["socratic"]["seeds"]) == ("3", "0, 1, 2")
    assert float(rows["socratic"]["mean"]) == pytest.approx(5 / 12)
    assert float(rows["socratic"]["sd"]) == pytest.approx(3**0.5 / 12)
    assert (rows["chain"]["n"], rows["chain"]["sd"]) == ("1", "")
    tests = read_csv(tmp_path / "out", "paired")
    assert [row["run"] for row in tests] == [f"socratic-seed{seed}" for seed in range(3)] + ["hot"]
    # Holm: 1/8 x 2 x 4 for the two runs of 6 against 2, and nothing above 1.
    assert [float(row["McNemar p"]) for row in tests] == [1.0, 0.125, 0.125, 1.0]
    assert [float(row["Holm p"]) for row in tests] == [1.0, 0.5, 0.5, 1.0]


def test_evaluations_of_one_run_are_not_seeds(tmp_path):
    """Whatever differs between them, a copy of the run too: no arm holds a training twice."""
    runs = [
        write_run(tmp_path / f"s-seed{seed}", answers(range(seed)), seed=seed) for seed in (0, 1)
    ]
    drawn = [
        write_evaluation(run, "again", answers(range(5)), split="test", seed=7) for run in runs
    ]
    fewer = write_evaluation(runs[0], "fewer", answers(range(5))[:9], split="test")
    copy = shutil.copytree(runs[1], tmp_path / "copy")
    paths = [runs[0], drawn[0], runs[1], fewer, drawn[1], str(copy)]
    grouped = finished_runs.arms(finished_runs.read_runs(paths))
    assert [[run.name for run in members] for members in grouped.values()] == [
        ["s-seed0", "s-seed1"],
        ["s-seed0: again", "s-seed1: again"],
        ["s-seed0: fewer", "copy"],
    ]
    write_comparison(paths, tmp_path / "out")
    assert [row["seeds"] for row in read_csv(tmp_path / "out", "seeds")] == ["0, 1"] * 3
    # One run by itself has no deviation, however often it is evaluated.
    [out] = write_comparison([runs[0], drawn[0], fewer], tmp_path / "one")[:1]
    assert "Over seeds" not in out.read_text()


def test_runs_that_were_trained_on_the_questions_are_named(tmp_path):
    rows = answers(range(3))
    known = [
        dataclasses.replace(p, trained_on="train/1" if i < 2 else "") for i, p in enumerate(rows)
    ]
    clean, leaked = (write_run(tmp_path / n, r) for n, r in (("clean", rows), ("leaked", known)))
    asked = write_run(tmp_path / "asked", rows, seed=1)
    for path in (tmp_path / "asked").rglob("report.json"):
        change_json(path, training_problems=True)
    write_comparison([clean, leaked, asked], tmp_path / "out")
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert (
        "leaked was trained on 2 of the 12 questions.\n\nasked was asked training problems." in page
    )
    assert "clean was" not in page
    combine.main(["--rule", "vote", clean, leaked, "--output", str(tmp_path / "vote")])
    report = json.loads((tmp_path / "vote" / "report.json").read_text())
    assert report["trained_on"] == {rows[0].id: "train/1", rows[1].id: "train/1"}


def test_votes_that_share_a_run_are_not_seeds(tmp_path):
    runs = [write_run(tmp_path / f"s{seed}", answers(range(3)), seed=seed) for seed in range(4)]
    for name, members in (("a", (0, 1)), ("b", (1, 2)), ("c", (2, 3))):
        rule = ["--rule", "vote", "--output", str(tmp_path / name)]
        combine.main([*rule, *(runs[seed] for seed in members)])
    grouped = finished_runs.arms(finished_runs.read_runs([str(tmp_path / n) for n in "abc"]))
    assert [[run.name for run in members] for members in grouped.values()] == [["a", "c"], ["b"]]


def test_runs_of_one_name_get_their_seed(tmp_path):
    runs = [
        write_run(tmp_path / f"{seed}" / "w", answers(range(3)), seed=seed) for seed in range(2)
    ]
    write_comparison(runs, tmp_path / "out")
    rows = read_csv(tmp_path / "out", "runs")
    assert [(row["run"], row["arm"]) for row in rows] == [("w seed 0", "w"), ("w seed 1", "w")]
    other = write_run(tmp_path / "other", answers(range(3)), scheme="chain", seed=1)
    write_comparison([runs[0], other], tmp_path / "out", names=["x", "x"])
    with pytest.raises(UserError, match="2 runs would be called 'x seed 1': tell them apart"):
        write_comparison([runs[1], other], tmp_path / "out", names=["x", "x"])


def test_only_common_problems_are_compared(tmp_path):
    rows = answers(range(4))
    changed = dataclasses.replace(rows[5], question="Another question?")
    first = write_run(tmp_path / "first", rows[:8])
    second = write_run(tmp_path / "second", [*rows[11:1:-1][:6], changed])
    write_comparison([first, second], tmp_path / "out")
    # 2 to 7 are in the first; 11 to 6 in the second, and 5 with another question.
    assert [row["problems"] for row in read_csv(tmp_path / "out", "calibration")] == ["2", "2"]
    page = Page(tmp_path / "out" / "comparison.html")
    said = "(first 8, second 7): everything here is about the 2 that all of them answered"
    assert said in page.find("p")[0]["text"]
    assert said in (tmp_path / "out" / "comparison.md").read_text()


def test_nothing_in_common_is_one_line_and_writes_nothing(tmp_path):
    rows = answers(range(4))
    runs = [write_run(tmp_path / "a", rows[:6]), write_run(tmp_path / "b", rows[6:])]
    with pytest.raises(UserError, match="no problem was answered by all runs") as caught:
        write_comparison(runs, tmp_path / "out")
    assert "a (distill_jax.tasks.arithmetic test)" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_text_is_never_markup(tmp_path):
    problem = dataclasses.replace(PROBLEMS[0], question=INJECTION, answer=INJECTION)
    problems = [dataclasses.replace(problem, id=f"{INJECTION}{i}") for i in range(2)]
    runs = []
    for name, right in (("a", True), ("b", False)):
        rows = [solved(p, [(INJECTION, INJECTION)], correct=right) for p in problems]
        rows = [dataclasses.replace(p, attributes={INJECTION: INJECTION + p.id}) for p in rows]
        runs.append(write_run(tmp_path / name, rows, **{"data.dev_split": INJECTION}))
    write_comparison(runs, tmp_path / "out", names=[INJECTION, f"_{INJECTION}"])
    page = Page(tmp_path / "out" / "comparison.html")
    assert not page.find("script")
    assert page.find("title")[0]["text"].startswith(f"Comparison of {INJECTION}")
    assert [t["text"] for t in page.find("div", "text")].count(INJECTION) == 2 * (1 + 2 * 2)
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert "<script>" not in markdown
    tables = [line for line in markdown.split("\n") if line.startswith("|")]
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in tables if "alert" in line}
    assert bars and all(count > 2 for count in bars)


def test_markdown_and_html_hold_the_same_cells(two_runs, tmp_path):
    write_comparison(two_runs, tmp_path / "out")
    page = Page(tmp_path / "out" / "comparison.html")
    cells = [cell["text"] for cell in page.find("td")]
    lines = (tmp_path / "out" / "comparison.md").read_text().split("\n")
    rows = [
        line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines if "|" in line
    ]
    rules = [index for index, row in enumerate(rows) if "---:" in row]
    body = [row for i, row in enumerate(rows) if i not in rules and i + 1 not in rules]
    assert cells == [cell.strip() for row in body for cell in row]
    assert "33.3\u202f% (13.8\u202f% to 60.9\u202f%)" in cells
    assert "+33.3 (+0.0 to +66.7)" in cells


def test_nothing_is_loaded_and_references_resolve(two_runs, tmp_path):
    write_comparison(two_runs, tmp_path / "out")
    page = Page(tmp_path / "out" / "comparison.html")
    assert "://" not in page.source and "@import" not in page.source
    for element in page.elements:
        assert element["tag"] not in {"script", "link", "iframe", "object", "img"}
        assert not any(name.startswith("on") or name == "src" for name in element)
    assert len(page.find("svg")) == 4
    ids = [element["id"] for element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", page.source)) <= set(ids)
    first = page.source
    write_comparison(two_runs, tmp_path / "again")
    assert (tmp_path / "again" / "comparison.html").read_text() == first


def test_dialogues_on_which_the_runs_differ(two_runs, tmp_path):
    write_comparison(two_runs, tmp_path / "out", dialogues=4)
    page = Page(tmp_path / "out" / "comparison.html")
    shown = page.find("details", "dialogue")
    ids = [page.find("code", "", dialogue)[0]["text"] for dialogue in shown]
    assert ids == [PROBLEMS[i].id for i in (0, 4, 5, 6)]
    badges = [badge["text"] for badge in page.find("span", "badge", shown[0])]
    assert badges == ["✓ first", "✗ second", "✓ right", "✗ wrong"]
    assert PROBLEMS[0].question in shown[0]["text"]
    assert GOLD[0].steps[0].subquestion in shown[0]["text"]
    assert len(page.find("div", "turn", shown[0])) == 4 * len(GOLD[0].steps)


def test_published_numbers_of_the_task(tmp_path):
    task = "my_tasks.gsm8k"  # a module that is not there: gold steps are then not known
    rows = [dataclasses.replace(row, attributes={}) for row in answers(range(4))]
    run = write_run(tmp_path / "run", rows, task=task, sampling={"calculator": True})
    write_comparison([run], tmp_path / "out")
    rows = read_csv(tmp_path / "out", "published")
    large = rows[2]
    assert (large["student"], float(large["gold steps"])) == ("GPT-2 large 774M", 0.141)
    assert large["Socratic, iterative"] == large["answer only"] == ""
    assert float(large["Socratic, variant not stated"]) == 0.211
    small = rows[3]
    assert (float(small["teacher's CoT"]), small["diverse CoT"]) == (0.0303, "")
    page = Page(tmp_path / "out" / "comparison.html")
    assert "None" not in page.find("main")[0]["text"]
    assert "chosen on the test set" in page.source and "calculator on." in page.source
    assert "Gold steps are not known" in page.source
    assert not (tmp_path / "out" / "tables" / "questions.csv").exists()


def test_published_cells():
    def cell(task, row, method):
        return published.results(task)[row].accuracies[method]

    assert published.results("arithmetic") == []
    students = [r.student for r in published.results("svamp")]
    assert students == 2 * ["GPT-2 124M", "GPT-2 medium 355M", "GPT-2 large 774M"] + [
        "T5 60M", "T5 220M", "Flan-T5 60M", "Flan-T5 220M",
    ]  # fmt: skip
    assert set(published.SMALL) <= set(students)
    assert set(published.results("svamp")[0].accuracies.values()) == {None}
    assert cell("svamp", 3, published.ANSWER_ONLY) == 10.33
    assert cell("svamp", 4, published.DIVERSE) == 12.33
    assert cell("strategyqa", 5, published.COT) == 53.86
    assert cell("strategyqa", 3, published.ZERO_SHOT) == 46.72
    assert cell("tracking_shuffled_objects", 0, published.FEW_SHOT) is None
    assert cell("coin_flip", 2, published.DIVERSE) == 82.67
    assert cell("gsm8k", 6, published.SMALL_TEACHER) == 20.4
    assert cell("single_eq", 3, published.ANSWER_ONLY) == 5.92
    assert published.best("last_letter_concatenation") == published.Best(
        60.67, "T5 220M", published.DIVERSE
    )
    answers = [
        published.best(task, [published.ANSWER_ONLY]) for task in ("multiarith", "coin_flip")
    ]
    assert [(each.accuracy, each.student) for each in answers] == [
        (16.67, "Flan-T5 60M"), (100, "T5 60M"),
    ]  # fmt: skip
    assert published.best("tracking_shuffled_objects").accuracy == 94.22
    assert published.best("arithmetic") is None


def test_held_out_problems_have_gold_steps(tmp_path):
    rows = [dataclasses.replace(row, attributes={}) for row in answers(range(4))]
    run = write_run(tmp_path / "run", rows, split="dev")
    lines = [json.dumps(dataclasses.asdict(annotation)) for annotation in GOLD]
    (tmp_path / "run" / "annotations.dev.jsonl").write_text("\n".join(lines))
    write_comparison([run], tmp_path / "out")
    assert {row["steps"] for row in read_csv(tmp_path / "out", "steps")} == {"2", "3"}
    assert read_csv(tmp_path / "out", "errors")[0]["wrong operation"] == "8"


def test_problems_of_another_task_have_gold_steps(tmp_path):
    """Students of one task that were asked another: the steps are those of the task asked."""
    asked = made_coins.load("test", lengths=(2, 3), seed=5, test_problems=6)
    rows = [solved(problem, [("What?", "It.")], correct=False) for problem in asked]
    run = write_run(tmp_path / "run", answers(range(4)))
    coins = write_evaluation(run, "coins", rows, split="test")
    report = tmp_path / "run" / "evaluations" / "coins" / "report.json"
    options = ["lengths=2,3", "seed=5", "test_problems=6"]
    settings = {"split": "test", "task": made_coins.__name__, "task_options": options}
    change_json(report, task=made_coins.__name__, evaluation=settings)
    write_comparison([coins], tmp_path / "out")
    assert "Gold steps are not known" not in (tmp_path / "out" / "comparison.md").read_text()
    asked_of_gold = read_csv(tmp_path / "out", "questions")[0]
    assert float(asked_of_gold["as many as gold"]) == 0
    assert read_csv(tmp_path / "out", "errors")[0]["wrong decomposition"] == "6"


def damaged(tmp_path, kind):
    run = write_run(tmp_path / "run", answers(range(4)))
    evaluation = tmp_path / "run" / "evaluations" / "headline-40-20-0123abcd"
    if kind == "not evaluated":
        (tmp_path / "run" / "report.json").unlink()
    elif kind == "another report":
        change_json(tmp_path / "run" / "report.json", seconds=2.0)
    elif kind == "another format":
        (tmp_path / "run" / "format_version").write_text("1\n")
    elif kind == "too few":
        lines = (evaluation / "predictions.jsonl").read_text().split("\n")
        (evaluation / "predictions.jsonl").write_text("\n".join(lines[1:]))
    elif kind == "no prediction":
        (evaluation / "predictions.jsonl").write_text('{"id": "a"}\n')
    else:
        run = str(tmp_path)
    return run


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "not evaluated",
            r"run is not evaluated yet: finish it \(its own command, python -m",
        ),
        ("another report", r"report.json is that of none of .*evaluations/\*: run python -m"),
        ("another format", "has format version 1"),
        ("too few", "11 predictions, 12 in report.json: delete this directory"),
        ("no prediction", r"predictions.jsonl:1: not a prediction \('question'\)"),
        ("no run", "holds no run: give the --workdir of one"),
    ],
)
def test_what_is_no_finished_run_is_said(tmp_path, kind, said):
    run = damaged(tmp_path, kind)
    with pytest.raises(UserError, match=said) as caught:
        write_comparison([run], tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"baseline": "third"}, "--baseline=third: not one of the runs: choose first, second"),
        ({"names": ["a"]}, "--names has 1 names for 2 runs"),
        ({"twice": True}, "a run is given twice"),
    ],
)
def test_arguments_that_do_not_fit(two_runs, tmp_path, arguments, said):
    paths = two_runs + two_runs[:1] if arguments.pop("twice", False) else two_runs
    with pytest.raises(UserError, match=said):
        write_comparison(paths, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file(two_runs, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"--output=.*out: .*: choose another"):
        write_comparison(two_runs, tmp_path / "out")


def test_the_command(two_runs, tmp_path, capsys):
    out = str(tmp_path / "out")
    code = errors.run_command(
        entry_point.main, [*two_runs, "--output", out, "--names=a, b", f"--baseline={two_runs[1]}"]
    )
    assert code == 0
    assert f"report: {out}/comparison.html" in capsys.readouterr().out
    assert [row["run"] for row in read_csv(tmp_path / "out", "paired")] == ["a"]
    assert errors.run_command(entry_point.main, ["nowhere", "--output", out]) == 2
    assert capsys.readouterr().err == "error: nowhere holds no run: give the --workdir of one\n"


def test_help_is_quick():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "distill_jax.report", "--help"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--baseline" in done.stdout
    assert time.monotonic() - began < 2
