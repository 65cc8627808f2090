"""The report over tasks, from directories as runs leave them; another task by an override."""

import csv
import dataclasses
import math

import pytest
from html_page import Page
from run_directories import solved, write_run

from distill_jax import report as entry_point
from distill_jax.errors import UserError, run_command
from distill_jax.evaluation import choices, letters, over_tasks
from distill_jax.evaluation import runs as finished_runs
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.tasks_report import of_several_tasks, write_tasks_report
from distill_jax.records import Annotation, Problem, to_json
from distill_jax.settings import command_line, task_module
from distill_jax.sweep.definition import Sweep, only
from distill_jax.tasks import made_letters, made_objects
from distill_jax.tasks.multiple_choice import choices_in, read_choice
from distill_jax.workdir import Workdir

INJECTION = "<script>alert(1)</script>|\n# x"


def problems(task, count, **attributes):
    return [
        Problem(f"{task}/{n}", f"{task} asks {n} of {count} things?", str(n), "test", attributes)
        for n in range(count)
    ]


def write(path, task, right, count=20, seed=0, asked=None, **changes):
    """A run on `count` problems of a task, of which the first `right` are right."""
    rows = asked or problems(task, count)
    predictions = [
        solved(problem, [("What?", "That.")], correct=place < right)
        for place, problem in enumerate(rows)
    ]
    return write_run(path, predictions, task=f"distill_jax.tasks.{task}", seed=seed, **changes)


def learned(path, *questions):
    rows = [Annotation(f"x/{n}", each, "1", (), {}) for n, each in enumerate(questions)]
    Workdir(path).annotations.write_text("".join(to_json(row) + "\n" for row in rows))


@pytest.fixture
def runs(tmp_path):
    """Two methods on two tasks, one with two seeds, and a pool of two tasks."""
    pool = [
        dataclasses.replace(each, attributes={"task": name, "overlap": "none"})
        for name in ("addsub", "single_eq")
        for each in problems(name, 10)
    ]
    pool[0].attributes["overlap"] = "question with other numbers in training"
    return [
        write(tmp_path / "coin_flip-chain-seed0", "coin_flip", 10),
        write(tmp_path / "coin_flip-chain-seed1", "coin_flip", 14, seed=1),
        write(tmp_path / "coin_flip-answer_only-seed0", "coin_flip", 9, scheme="answer_only"),
        write(
            tmp_path / "tracking_shuffled_objects-chain-seed0",
            "tracking_shuffled_objects",
            5,
            count=10,
        ),
        write(tmp_path / "word_problems-chain-seed0", "word_problems", 15, asked=pool),
    ]


def table(directory, name):
    with open(directory / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_by_hand(runs, tmp_path):
    out = tmp_path / "out"
    write_tasks_report(runs, out)
    rows = {(row["task"], row["method"]): row for row in table(out, "scores")}
    assert list(rows) == [
        ("coin_flip", "chain"),
        ("coin_flip", "answer_only"),
        ("tracking_shuffled_objects", "chain"),
        ("addsub", "chain"),
        ("single_eq", "chain"),
    ]
    chain = rows["coin_flip", "chain"]
    assert (float(chain["accuracy"]), chain["seeds"], chain["problems"]) == (0.6, "2", "20")
    low, high = wilson_interval(12, 20)
    assert [float(chain[f"accuracy {end}"]) for end in ("low", "high")] == [low, high]
    assert float(chain["half of the interval"]) == pytest.approx((high - low) / 2)
    assert float(chain["sd over seeds"]) == pytest.approx(0.2 / 2**0.5)
    assert (chain["published, answer only"], chain["by"]) == ("1.0", "T5 60M, answer only")
    assert float(rows["addsub", "chain"]["accuracy"]) == 1.0
    assert float(rows["single_eq", "chain"]["accuracy"]) == 0.5
    assert float(rows["addsub", "chain"]["published, chains"]) == 0.1092
    overview = {row["method"]: row for row in table(out, "overview")}
    chain = overview["chain"]
    assert float(chain["macro average"]) == pytest.approx((0.6 + 0.5 + 1 + 0.5) / 4)
    ends = [wilson_interval(*each) for each in ((12, 20), (5, 10), (10, 10), (5, 10))]
    above = math.hypot(*(high - p for (_, high), p in zip(ends, (0.6, 0.5, 1, 0.5), strict=True)))
    assert float(chain["macro average high"]) == pytest.approx(0.65 + above / 4)
    assert (
        overview["answer_only"]["tracking_shuffled_objects"],
        overview["answer_only"]["tasks"],
    ) == ("", "1")
    best = overview["published, chains (chosen on test)"]
    assert float(best["coin_flip"]) == 1.0 and best["macro average"] == ""
    # Both methods have coin flips alone.
    common = [float(row["over 1 common tasks"]) for row in overview.values()]
    assert common == pytest.approx([0.6, 0.45, 1, 1])
    assert [list(row.values()) for row in table(out, "splits")] == [
        ["addsub", "question with other numbers in training", "1", "10"],
        ["addsub", "none", "9", "10"],
        ["single_eq", "none", "10", "10"],
    ]
    assert not (out / "tables" / "shared_questions.csv").exists()  # no annotations are here


def test_an_average_of_tasks_without_a_right_answer_has_an_interval():
    """Alone, 0 of 100 is 0 to 3.70 %, and 50 of 100 is 40.38 to 59.62 %."""

    def score(right):
        return over_tasks.Score("task", "chain", (), (right,), 100)

    assert over_tasks.macro_average([score(0.0)]) == (0.0, 0.0, pytest.approx(0.0370, abs=1e-4))
    assert over_tasks.macro_average([score(0.0)] * 4)[1:] == (0, pytest.approx(0.0185, abs=1e-4))
    both = over_tasks.macro_average([score(0.5), score(0.0)])
    assert both == pytest.approx((0.25, 0.2019, 0.3015), abs=1e-4)


def test_the_page_leads_to_a_comparison_of_each_task(runs, tmp_path):
    out = tmp_path / "out"
    assert run_command(entry_point.main, [*runs, "--tasks", "--output", str(out)]) == 0
    page = Page(out / "tasks.html")
    assert "chosen on test" in page.source and "None" not in page.find("main")[0]["text"]
    for task, names in (("coin_flip", 3), ("tracking_shuffled_objects", 1), ("word_problems", 1)):
        assert f'href="{task}/comparison.html"' in page.source
        assert len(table(out / task, "runs")) == names
    assert "| coin_flip | chain |" in (out / "tasks.md").read_text().replace("\\_", "_")


def test_questions_that_tasks_share_are_named(runs, tmp_path):
    asked = [each.question for each in problems("tracking_shuffled_objects", 10)]
    learned(runs[0], asked[3], asked[4], "Who?")
    learned(runs[3], "coin_flip asks 100 of 20 things?", asked[0])
    learned(runs[4], "unlike all")
    write_tasks_report(runs, tmp_path / "out")
    rows = [list(row.values()) for row in table(tmp_path / "out", "shared_questions")]
    # Up to numbers, all questions of a task here are the same.
    assert rows == [
        ["tracking_shuffled_objects", "coin_flip", "2", "8", "10"],
        ["coin_flip", "tracking_shuffled_objects", "0", "20", "20"],
    ]


def test_protocols_and_options_are_different_tasks_without_published_rows(tmp_path):
    paths = [
        write(tmp_path / "date_understanding-grouped-chain-seed0", "date_understanding", 3,
              **{"task_options.protocol": "grouped"}),
        write(tmp_path / "date_understanding-chain-seed0", "date_understanding", 3,
              **{"task_options.protocol": "ho"}),
    ]  # fmt: skip
    found = over_tasks.scores(finished_runs.read_runs(paths))
    assert [(score.task, score.method) for score in found] == [
        ("date_understanding, grouped", "chain"),
        ("date_understanding", "chain"),
    ]
    assert [score.published for score in found] == [None, "date_understanding"]
    asked = over_tasks.Score(
        "strategyqa", "chain", tuple(finished_runs.read_runs(paths[1:])), (), 3
    )
    changed = dataclasses.replace(
        asked.runs[0], report=asked.runs[0].report | {"task": "strategyqa"}
    )
    assert dataclasses.replace(asked, runs=(changed,)).published is None  # 229 other problems


def test_seeds_must_have_the_same_problems(tmp_path):
    paths = [
        write(
            tmp_path / f"tracking_shuffled_objects-chain-seed{seed}",
            "tracking_shuffled_objects",
            1,
            count=5 + seed,
            seed=seed,
        )
        for seed in (0, 1)
    ]
    with pytest.raises(
        UserError, match=r"seeds of chain on tracking_shuffled_objects answered different problems"
    ):
        write_tasks_report(paths, tmp_path / "out")


def test_names_are_escaped(tmp_path):
    run = write(tmp_path / "run", "tracking_shuffled_objects", 1)
    write_tasks_report([run], tmp_path / "out", names=[INJECTION])
    for name in ("tasks.html", "tasks.md"):
        assert "<script>" not in (tmp_path / "out" / name).read_text()


def test_of_several_tasks(runs):
    assert of_several_tasks(runs) and not of_several_tasks(runs[:3])


def test_another_task_brings_its_own_options():
    config = command_line.load_config("configs/demo.py")
    overrides = {"task": "made_coins", "task_options.lengths": "2,8", "task_options.noise": "1"}
    task_module.apply_overrides(config, overrides)
    options = config.task_options.to_dict()
    assert options["lengths"] == (2, 8) and options["noise"] == 1
    # Set by the config itself, and not the same as the default of its task.
    assert options["train_problems"] == 40_000 and options["seed"] == 0
    assert "difficulty" not in options and "style" not in options
    config = command_line.load_config("configs/svamp_tiny.py")
    overrides = {"task_options.directory": "DIR", "task": "distill_jax.tasks.commonsense_qa"}
    task_module.apply_overrides(config, overrides)
    assert config.task_options.to_dict() == {"directory": "DIR", "hub_id": "tau/commonsense_qa"}


def test_options_without_a_default_are_the_configs_or_given(tmp_path, monkeypatch):
    text = "def load(split, difficulty, folder, other):\n    return []\ngrade = load\n"
    (tmp_path / "own_task_without_defaults.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    config = command_line.load_config("configs/demo.py")
    overrides = {"task": "own_task_without_defaults", "task_options.folder": "F"}
    task_module.apply_overrides(config, overrides)
    assert config.task_options.to_dict() == {"difficulty": "easy", "folder": "F"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"task": "made_coins", "task_options.style": "long"}, "unknown key config.task_options.s"),
        ({"task": "no_such"}, "config.task='no_such': no such module"),
        ({"task": "made_coins", "task_options.noise": "x"}, "noise='x' is not of type int"),
        ({"task_options.lengths": "2,8"}, "unknown key config.task_options.lengths"),
    ],
)
def test_options_of_another_task_that_it_does_not_have(overrides, said):
    with pytest.raises(UserError, match=said):
        task_module.apply_overrides(command_line.load_config("configs/demo.py"), overrides)


def test_the_same_task_keeps_its_options():
    config = command_line.load_config("configs/demo.py")
    task_module.apply_overrides(config, {"task": "distill_jax.tasks.arithmetic", "seed": "3"})
    assert config.task_options == command_line.load_config("configs/demo.py").task_options


def test_some_arms():
    sweep = Sweep("configs/demo.py", {name: {} for name in ("a-x", "a-y", "b-x")}, baseline="b-x")
    assert list(only(sweep, "a-*").arms) == ["a-x", "a-y"]
    assert only(sweep, "a-*").baseline == ""
    assert list(only(sweep, " b-x, *-x").arms) == ["a-x", "b-x"]
    assert only(sweep, "*-x").baseline == "b-x"
    assert only(sweep, "") is sweep
    with pytest.raises(UserError, match=r"--arms: 'c-\*' fits none of a-x, a-y, b-x"):
        only(sweep, "a-x,c-*")


def test_letters_and_joining_apart(tmp_path):
    """Ann Bo Cy: one whole, one with a wrong letter, one joined wrongly, one that stops."""
    asked = made_letters.load("dev", lengths=(3,))[0]
    said = [step.solution for step in asked.gold.steps]
    wrong = [said[0].replace(f'"{asked.answer[0]}"', '"?"'), *said[1:]]
    told = [
        (said, asked.answer),
        (wrong, "?" + asked.answer[1:]),
        (said, asked.answer[::-1] + "x"),
        (said[:1], None),
    ]
    rows = [
        dataclasses.replace(
            solved(asked, [("What?", each) for each in solutions]),
            prediction=answered,
            id=f"letters/{place}",
        )
        for place, (solutions, answered) in enumerate(told)
    ]
    assert [letters.letters_of(row) for row in rows][2] == (
        asked.answer, asked.answer, asked.answer[::-1] + "x",
    )  # fmt: skip
    assert letters.right_letters("abc", "xbcd") == 2 and letters.right_letters("abc", "") == 0
    path = write_run(tmp_path / "run", rows, task="distill_jax.tasks.made_letters")
    shown = letters.letters_table(finished_runs.read_runs([path]))
    name, steps, _, whole, joined, n = shown.rows[0]
    assert (name, whole, n) == ("run", 2, 4)
    assert steps[0] == (3 + 2 + 3 + 1) / 12 and joined[0] == 0.5
    others = write(tmp_path / "others", "coin_flip", 1)
    assert letters.letters_table(finished_runs.read_runs([others])) is None


def test_letter_and_text_of_a_choice_apart(tmp_path):
    """Letter and text are read from each of these answers."""
    asked = made_objects.load("dev")[0]
    said = choices_in(solved(asked, [("Who?", "She.")]).question)
    gold = asked.answer[1]
    other = next(letter for letter in said.texts if letter != gold)
    told = {  # letter right, text right, the text is that of the letter, it is that of any choice
        asked.answer: (True, True, True, True),
        f"({other}) {said.texts[gold]}.": (False, True, False, True),
        f"{gold}) **{said.texts[other]}**": (True, False, False, True),
        said.answer(other): (False, False, True, True),
        said.texts[gold]: (False, True, False, True),
        gold: (True, False, False, False),
        f"({gold}) a purple cow": (True, False, False, False),
        "(A), (B)": (False, False, False, False),  # no answer
    }
    rows = [
        dataclasses.replace(
            solved(asked, [("Who?", "She.")]),
            completion=f"#### {text}",
            prediction=read_choice(f"#### {text}"),
            id=f"o/{place}",
        )
        for place, text in enumerate(told)
    ]
    assert [choices.said_of(row, said) for row in rows] == list(told.values())
    path = write_run(tmp_path / "run", rows, task="distill_jax.tasks.made_objects")
    name, *shares, n = choices.choices_table(finished_runs.read_runs([path])).rows[0]
    assert (name, n, [share[0] for share in shares]) == ("run", 8, [4 / 8, 3 / 8, 2 / 8, 5 / 8])
    others = write(tmp_path / "others", "coin_flip", 1)
    assert choices.choices_table(finished_runs.read_runs([others])) is None
    hostile = dataclasses.replace(rows[0], question="Which? Answer choices: none (B)")
    assert choices_in(hostile.question) is None
