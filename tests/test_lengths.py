"""Tables of chain lengths, and the choice of the best step size, from predictions by hand."""

import csv
import dataclasses
import io
import json
import pathlib

import pytest
from run_directories import change_json, write_run

from distill_jax.errors import UserError
from distill_jax.evaluation import comparison, length_fits, lengths, tables
from distill_jax.evaluation.lengths import Given
from distill_jax.evaluation.runs import read_runs
from distill_jax.records import Prediction, Turn
from distill_jax.tasks import step_size

# Right answers of 12, by size and step size; with size 8 and step size 2 three write single steps.
RIGHT = {(4, 1): 9, (4, 2): 11, (4, 4): 11, (8, 1): 6, (8, 2): 8, (8, 4): 2}


def answered(problem, correct, lines=None):
    text = "\n".join(lines or [step.solution for step in problem.gold.steps])
    answer = problem.answer if correct else "none"
    turns = (
        Turn("planner", f"<{problem.attributes['step_size']}>", 4, -0.1),
        Turn("solver", f"{text}\n#### {answer}", 40, -2.0),
    )
    return Prediction(
        problem.id, problem.question, problem.answer, text, turns, answer, correct,
        {"normalised": correct}, "finished", problem.attributes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictions():
    options = {"operators": (4, 8, 4), "step_sizes": (1, 2, 4), "held_out_problems": 72}
    seen = dict.fromkeys(RIGHT, 0)
    made = []
    for problem in step_size.load("dev", **options):
        key = problem.attributes["size"], problem.attributes["step_size"]
        seen[key] += 1
        other = key == (8, 2) and seen[key] > 9
        lines = step_size.chain(step_size.read_tree(problem.question), 1) if other else None
        made.append(answered(problem, seen[key] <= RIGHT[key], lines))
    assert set(seen.values()) == {12}
    return made


def test_counts_by_hand(predictions):
    found = lengths.by_step_size(predictions)
    assert {(each.size, each.step_size): each.correct for each in found} == RIGHT
    assert [each.followed for each in found if each[:2] != (8, 2)] == [12] * 5
    assert found[4] == Given(8, 2, 12, 8, 9)


def test_the_best_step_size_is_the_largest_of_equals(predictions):
    best = lengths.best_step_sizes(lengths.by_step_size(predictions))
    assert {size: each.step_size for size, each in best.items()} == {4: 4, 8: 2}
    # Shares are compared, not numbers.
    found = [Given(4, 1, 100, 50, 0), Given(4, 2, 10, 6, 0)]
    assert lengths.best_step_sizes(found)[4].step_size == 2


def given_plan(tmp_path, predictions, name="planned", given="plan", split="dev"):
    task = "distill_jax.tasks.step_size"
    return write_run(
        tmp_path / name, predictions, split=split, sampling={"given": given}, task=task,
        scheme="planned_chain", **{"task_options.held_out_problems": 72},
    )  # fmt: skip


def rows_of(table):
    return list(csv.DictReader(io.StringIO(tables.to_csv(table))))


def test_tables_of_a_report(tmp_path, predictions):
    run = given_plan(tmp_path, predictions)
    free = given_plan(tmp_path, predictions, "free", given="")
    comparison.write_comparison([run, free], tmp_path / "report")
    html = (tmp_path / "report" / "comparison.html").read_text()
    assert "Accuracy by steps written, for each size: planned, free" in html
    runs = read_runs([run, free])
    small, large = rows_of(lengths.step_sizes_table(runs))
    assert (small["run"], small["size"], small["best"]) == ("planned", "4", "4")
    shares = [float(large[f"step size {k}"]) for k in (1, 2, 4)]
    assert shares == pytest.approx([6 / 12, 8 / 12, 2 / 12])
    assert float(large["written as given"]) == pytest.approx(33 / 36)
    assert lengths.step_sizes_table(runs[1:]) is None
    # By what was written: 8 lines, of 15 dialogues; 4 lines of nine, fewer than ten.
    written = rows_of(lengths.lengths_table(runs[:1]))
    assert [(row["size"], row["best"]) for row in written] == [("4", "1"), ("8", "8")]
    assert float(written[1]["accuracy there"]) == pytest.approx(6 / 15)
    assert lengths.curves(runs[0])[8] == [(2, 2 / 12), (8, 6 / 15)]


@pytest.mark.parametrize(("steps", "within"), [((2, 4, 6, 9, 16), True), ((2, 3, 4, 5), False)])
def test_the_fit_says_nothing_of_lengths_that_nobody_wrote(tmp_path, predictions, steps, within):
    """Accuracies of the formula itself, with capability 16 and noise 1,000: 6.2 steps are best."""
    optimum = length_fits.optimal_steps(16, 16, 1000)
    assert (min(steps) <= optimum <= max(steps)) == within
    made = []
    for n in steps:
        right = round(400 * length_fits.accuracy(16, n, 16, 1000))
        lines = [f"{i}=0" for i in range(n)]
        one = dataclasses.replace(
            answered(step_size.load("dev", held_out_problems=24)[0], True, lines),
            attributes={"size": 16},
        )
        made += [dataclasses.replace(one, correct=i < right) for i in range(400)]
    made = [dataclasses.replace(each, id=f"{i}") for i, each in enumerate(made)]
    # A problem without operations has no best length, and none is reckoned.
    nothing = [
        dataclasses.replace(each, id=f"0/{i}", attributes={"size": 0})
        for i, each in enumerate(made[:20] + made[-20:])
    ]
    empty, row = rows_of(lengths.lengths_table(read_runs([given_plan(tmp_path, made + nothing)])))
    assert (empty["size"], empty["best by the fit"]) == ("0", "")
    if within:
        assert float(row["best by the fit"]) == pytest.approx(optimum, rel=0.1)
    else:
        assert row["best by the fit"] == "" and float(row["capability"]) > 0


def test_the_command_writes_what_the_task_reads(tmp_path, predictions, capsys):
    given_plan(tmp_path, predictions)
    [evaluation] = (tmp_path / "planned" / "evaluations").glob("headline*")
    link = tmp_path / "sweep" / "arm-seed0" / "1"  # as the steps of a sweep lie
    link.parent.mkdir(parents=True)
    link.symlink_to(evaluation)
    lengths.main(["--evaluations", str(link), "--output", str(tmp_path / "best")])
    said = capsys.readouterr().out
    assert "best step size for each size: 4: 4, 8: 2 (" in said
    assert "size 4: 11 of 12 right" in said and "size 8: 8 of 12 right" in said
    path = tmp_path / "best" / "best_steps.json"
    assert json.loads(path.read_text())["accuracy"] == {"4": 11 / 12, "8": 8 / 12}
    problems = step_size.load("train", operators=(4, 8, 4), best_steps=str(path), train_problems=20)
    assert {(p.attributes["size"], p.attributes["step_size"]) for p in problems} == {(4, 4), (8, 2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"given": ""}, "is of the dev problems with config.sampling.given='': evaluate with --co"),
        ({"split": "test"}, "is of the test problems with config.sampling.given='plan': evaluate"),
    ],
)
def test_step_sizes_are_chosen_where_they_were_given_and_not_on_test(
    tmp_path, predictions, changes, message
):
    run = given_plan(tmp_path, predictions, **changes)
    with pytest.raises(UserError, match=message):
        lengths.main(["--evaluations", run, "--output", str(tmp_path / "best")])
    assert not (tmp_path / "best").exists()


def test_step_sizes_are_not_chosen_on_training_problems(tmp_path, predictions):
    run = given_plan(tmp_path, predictions, split="train")
    for report in pathlib.Path(run).rglob("report.json"):
        change_json(report, training_problems=True)
    with pytest.raises(UserError, match="is of the training problems with"):
        lengths.main(["--evaluations", run, "--output", str(tmp_path / "best")])


def test_too_few_problems_choose_nothing(tmp_path, predictions):
    few = [p for p in predictions if p.attributes["size"] == 4]
    few += [p for p in predictions if p.attributes["size"] == 8][:6]
    run = given_plan(tmp_path, few)
    with pytest.raises(UserError, match="no step size has 10 dialogues for size 8: raise"):
        lengths.main(["--evaluations", run, "--output", str(tmp_path / "best")])
