"""What notebooks read of a run: numbers by hand, and HTML in which everything is escaped."""

import dataclasses

import pytest
from html_page import Page
from run_directories import solved, write_run

import distill_jax
from distill_jax.errors import UserError
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Turn
from distill_jax.run.solution import Solution
from distill_jax.tasks import arithmetic

PROBLEMS = arithmetic.load("test", test_problems=12)
GOLD = arithmetic.load_annotations("test", test_problems=12)
INJECTION = "</div><script>alert('x')</script><style>*{display:none}</style> & <b>\"'{{ 7 }}"


@pytest.fixture
def answers():
    """Right up to 5; 6 unfinished, 7 unparsable, 8 of seven steps, 9 with a false equation."""
    rows = [
        solved(problem, [(s.subquestion, s.solution) for s in gold.steps], correct=i < 6)
        for i, (problem, gold) in enumerate(zip(PROBLEMS, GOLD, strict=True))
    ]
    rows[6] = dataclasses.replace(rows[6], status="token_cap")
    rows[7] = dataclasses.replace(rows[7], status="unparsed", prediction=None)
    rows[8] = solved(PROBLEMS[8], [("How many?", "1 + 1 = 2")] * 7, correct=False)
    false = [(INJECTION, "1 + 1 = 3") for _ in GOLD[9].steps]
    rows[9] = solved(PROBLEMS[9], false, correct=False)
    return rows


def page(tmp_path, shown):
    """What a notebook shows of it, read back: whole, without script, from nowhere else."""
    path = tmp_path / "shown.html"
    path.write_text(shown._repr_html_(), encoding="utf-8")
    read = Page(path)
    assert {e["tag"] for e in read.elements}.isdisjoint({"script", "img", "link", "b-"})
    assert "http" not in read.source.replace("http://www.w3.org", "")
    [style] = read.find("style")
    assert "display:none" not in style["text"]
    return read


def rows_of(exhibit):
    return exhibit.tables[0].rows


def test_numbers_by_hand(answers, tmp_path):
    results = distill_jax.read_run(write_run(tmp_path / "run", answers))
    assert results.accuracy == 0.5 and list(results.predictions) == answers
    assert str(results) == (
        "run: accuracy 50.0% (95 % interval 25.4% to 74.6%) on 12 test problems"
    )
    assert rows_of(results.overview()) == [
        ("students, normalised", (0.5, *wilson_interval(6, 12))),
        ("students, strict", (0.0, *wilson_interval(0, 12))),
        ("students, flexible", (0.5, *wilson_interval(6, 12))),
    ]
    expected = []
    for steps in (2, 3):
        members = [i for i, gold in enumerate(GOLD) if len(gold.steps) == steps]
        n, right = len(members), sum(i < 6 for i in members)
        expected.append((str(steps), n, right, (right / n, *wilson_interval(right, n))))
    assert rows_of(results.by_steps()) == expected
    assert rows_of(results.errors()) == [
        ("unfinished", 1, 1 / 6),
        ("unparsable", 1, 1 / 6),
        ("wrong decomposition", 1, 1 / 6),
        ("wrong arithmetic", 1, 1 / 6),
        ("wrong operation", 2, 2 / 6),
        ("unknown cause", 0, 0.0),
    ]
    # Every way to end in turn, then the next of those that there are.
    shown = [(d.prediction.id.rpartition("/")[2], d.error_class) for d in results.wrong(4)]
    assert sorted(shown[:3]) == [
        ("6", "unfinished"),
        ("7", "unparsable"),
        ("8", "wrong decomposition"),
    ]
    assert len(shown) == 4 and len(results.wrong(99)) == 6
    assert results.wrong(1)[0].gold == results.gold[results.wrong(1)[0].prediction.id]


def test_steps_of_problems_that_do_not_say_them_are_those_of_gold(answers, tmp_path):
    bare = [dataclasses.replace(p, attributes={}) for p in answers]
    said = distill_jax.read_run(write_run(tmp_path / "said", answers))
    unsaid = distill_jax.read_run(write_run(tmp_path / "unsaid", bare))
    assert rows_of(unsaid.by_steps()) == rows_of(said.by_steps())
    # A task that is gone: no gold, and nothing to show.
    lost = distill_jax.read_run(write_run(tmp_path / "lost", bare, task="a_task_that_is_gone"))
    assert lost.gold == {} and rows_of(lost.by_steps()) == []
    assert lost.by_steps().figure is None
    assert "Nothing to show." in page(tmp_path, lost.by_steps()).source
    assert ("unknown cause", 4, 4 / 6) not in rows_of(lost.errors())
    assert ("unknown cause", 3, 3 / 6) in rows_of(lost.errors())


def test_a_run_without_a_mistake(answers, tmp_path):
    results = distill_jax.read_run(write_run(tmp_path / "run", answers[:6]))
    assert results.wrong() == [] and results.errors().figure is None
    assert {row[1:] for row in rows_of(results.errors())} == {(0, None)}
    assert "0 of 6" in page(tmp_path, results.errors()).source


def test_evaluations_side_by_side(answers, tmp_path):
    """The second has four problems of the first, and one of them right that the first has not."""
    first = distill_jax.read_run(write_run(tmp_path / "first", answers))
    better = [*answers[4:7], dataclasses.replace(answers[7], correct=True)]
    second = distill_jax.read_run(write_run(tmp_path / "second", better))
    shown = distill_jax.compare({"a": first, INJECTION: second})
    accuracies, paired = shown.tables
    assert [row[:3] for row in accuracies.rows] == [("a", 4, 2), (INJECTION, 4, 3)]
    [(name, (difference, _, _), only_this, only_baseline, *_)] = paired.rows
    assert (name, difference, only_this, only_baseline) == (INJECTION, 0.25, 1, 0)
    assert INJECTION in page(tmp_path, shown).find("td")[4]["text"]
    assert "| a | 4 | 2 |" in repr(shown) and "<script>" not in repr(shown)
    for wrong, message in (
        ({"a": first}, "at least two evaluations"),
        ({"a": first, "b": _other_problems(tmp_path)}, "no problem was answered by all"),
    ):
        with pytest.raises(UserError, match=message):
            distill_jax.compare(wrong)


def _other_problems(tmp_path):
    [problem] = arithmetic.load("dev", dev_problems=1)
    return distill_jax.read_run(write_run(tmp_path / "other", [solved(problem, [])]))


def test_dialogues_are_shown_turn_by_turn_and_escaped(answers, tmp_path):
    run = write_run(tmp_path / "run", answers)
    [dialogue] = [
        d for d in distill_jax.read_run(run).wrong(99) if d.error_class == "wrong arithmetic"
    ]
    read = page(tmp_path, dialogue)
    turns = read.find("div", "turn")
    texts = [read.find("div", "text", inside=turn)[0]["text"] for turn in turns]
    assert texts == [t.text for t in dialogue.prediction.turns] and INJECTION in texts
    roles = [read.find("span", "role", inside=turn)[0]["text"] for turn in turns]
    assert roles == ["decomposer", "solver"] * (len(turns) // 2)
    # What a solver's equations get wrong is marked below it.
    false = [e["text"].split() for e in read.find("div", "false")]
    assert false == [["✗", "1", "+", "1", "=", "3", "is", "false"]] * (len(turns) // 2)
    assert read.find("span", "badge")[0]["text"] == "✗ wrong"
    gold = [p["text"] for p in read.find("p", "text", inside=read.find("details")[0])]
    assert gold == [f"{s.subquestion} {s.solution}" for s in GOLD[9].steps]
    [answer] = read.find("p", "answer")
    assert " ".join(answer["text"].split()) == f"Answer: 999, right: {PROBLEMS[9].answer}"


def test_a_solution_with_votes(tmp_path):
    turns = (Turn(INJECTION, "6 / 2 = 3", 5, -0.5), Turn("solver", "\x00\u202e#### 3", 4, -0.5))
    voted = Solution(INJECTION, None, turns, "token_cap", {None: 3, INJECTION: 2})
    read = page(tmp_path, voted)
    assert read.find("div", "question")[0]["text"] == INJECTION
    assert read.find("span", "role")[0]["text"] == INJECTION
    assert "␀⟨U+202E⟩#### 3" in read.find("div", "turn")[1]["text"]
    assert "none could be read" in read.find("p", "answer")[0]["text"]
    assert "stopped at the limit of tokens in a turn" in read.find("p", "answer")[0]["text"]
    [votes] = [p["text"] for p in read.find("p") if p["text"].startswith("Votes")]
    assert votes.startswith(f"Votes: none could be read: 3, {INJECTION}: 2 ")
    one = Solution("How many?", "3", (), "finished", {"3": 1})
    assert "Votes" not in page(tmp_path, one).source
    assert "Nothing was written." in page(tmp_path, one).source
    assert not page(tmp_path, one).find("span", "badge")


def test_a_mistake_is_one_line_in_a_notebook(tmp_path, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.user_ns["place"] = str(tmp_path)
    result = shell.run_cell("import distill_jax\ndistill_jax.read_run(place)")
    assert isinstance(result.error_in_exec, UserError)
    expected = f"error: {tmp_path} holds no run: give the --workdir of one\n"
    assert capsys.readouterr().out == expected
