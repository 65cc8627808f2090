"""Small students who ask a larger run or a teacher if they are unsure.

The small ones know one dialogue by heart (hostile_students.py); those of the built-in task, with
another tokenizer, play the larger ones.
"""

import io
import itertools
import json
import shutil
import statistics
import time

import pytest
from hostile_students import QUESTION, SOLUTION, SUBQUESTION
from rich.console import Console
from scripted_server import Act, ScriptedServer

import distill_jax
from distill_jax import combine, errors
from distill_jax.ask.terminal import answer
from distill_jax.dialogues.answerer import Look
from distill_jax.errors import UserError
from distill_jax.evaluation import deferral
from distill_jax.evaluation.runs import read_runs
from distill_jax.records import Cost
from distill_jax.run import escalation
from distill_jax.run.solution import Asks, Solution
from distill_jax.tracking.terminal import printable

OTHER = "What is 8 and 9?"
TAUGHT = "Q: What is <b>2 + 3</b>?\nA: 2 + 3 = 6 \x1b[31m\n#### 6"


@pytest.fixture(scope="module")
def students(hostile_workdir):
    return distill_jax.load(hostile_workdir)


@pytest.fixture(scope="module")
def small(hostile_workdir, tmp_path_factory):
    """A copy of the run with a second evaluation, whose dialogues are stopped after four turns: it
    plays the large one."""
    copy = shutil.copytree(hostile_workdir, tmp_path_factory.mktemp("cascade") / "small")
    distill_jax.evaluate_run(copy, sampling__max_turns=4)
    return copy


def evaluations(small):
    """The directories of its two evaluations."""
    reports = sorted(small.glob("evaluations/*/report.json"))
    turns = {json.loads(path.read_text())["sampling"]["max_turns"]: path.parent for path in reports}
    return [str(turns.pop(key)) for key in (max(turns), 4)]


@pytest.fixture(scope="module")
def combination(small, tmp_path_factory):
    """A switch that defers about half of the problems."""
    paths = evaluations(small)
    first, _ = read_runs(paths)
    values = sorted(deferral.of_answer(p) for p in first.predictions)
    # In the widest gap near the middle, so that rounding does not decide: some are equal.
    middle = itertools.pairwise(values[len(values) // 4 : -len(values) // 4])
    threshold = statistics.mean(max(middle, key=lambda pair: pair[1] - pair[0]))
    output = tmp_path_factory.mktemp("combined") / "switch"
    argv = [*paths, "--rule=switch", f"--threshold={threshold}", "--output", str(output)]
    assert errors.run_command(combine.main, argv) == 0
    return output


def test_the_answers_are_those_of_the_combination(small, combination):
    """Problem by problem: who answered, what, and what it cost."""
    [row] = read_runs([str(combination)])
    first, _ = read_runs(evaluations(small))
    questions = [p.question for p in row.predictions]
    solutions = distill_jax.load(small).solve(questions, escalate_to=combination)
    names = [member["name"] for member in row.report["combination"]["members"]]
    for expected, alone, solution in zip(
        row.predictions, first.predictions, solutions, strict=True
    ):
        assert (solution.question, solution.answer) == (expected.question, expected.prediction)
        assert (solution.answered_by, solution.status) == (expected.answered_by, expected.status)
        assert [t.text for t in solution.turns] == [t.text for t in expected.turns]
        assert solution.cost == expected.cost
        assert list(solution.costs) == names[: 1 + (solution.first is not None)]
        sure = (solution.first or solution).uncertainties
        assert sure == pytest.approx(deferral.uncertainties(alone), abs=1e-4)
    deferred = [s.answered_by for s in solutions].count(names[1])
    assert len(solutions) / 4 <= deferred <= len(solutions) * 3 / 4
    assert {s.status for s in solutions} == {"finished", "turn_cap"}


def texts(solution):
    return [turn.text for turn in solution.turns]


def test_a_larger_run_with_another_tokenizer_and_task(students, tiny_run):
    workdir = tiny_run[0]
    cascade = students.cascade(workdir, threshold=-1)
    events = list(cascade.answer([QUESTION, OTHER, QUESTION]))
    asks = [event for event in events if isinstance(event, Asks)]
    assert {ask.first.question for ask in asks} == {QUESTION, OTHER}
    for ask in asks:
        assert (
            ask.text == f"uncertainty (answer) {ask.uncertainty:.3g}, above -1: asks tiny_run ..."
        )
    place = events.index(asks[-1])
    looked = [{e.problem.question for e in part if isinstance(e, Look)}
              for part in (events[:place], events[place:])]  # fmt: skip
    assert looked == [{QUESTION, OTHER}] * 2
    larger = distill_jax.load(workdir)
    alone, theirs = students.solve([QUESTION]), larger.solve([QUESTION])
    solutions = {event.question: event for event in events if isinstance(event, Solution)}
    assert len([event for event in events if isinstance(event, Solution)]) == 2
    solution = solutions[QUESTION]
    assert (solution.answered_by, texts(solution)) == ("tiny_run", texts(theirs[0]))
    assert texts(solution.first) == texts(alone[0]) and solution.first.answered_by == "students"
    assert solution.costs == {
        "students": alone[0].costs["students"], "tiny_run": theirs[0].costs["students"]
    }  # fmt: skip
    assert "answered by tiny_run" in solution._repr_html_()
    # Never asked, and as an object; the same question twice is answered twice.
    again = students.solve([QUESTION, QUESTION], escalate_to=larger, threshold=1)
    assert [texts(each) for each in again] == [texts(alone[0])] * 2
    assert again[0].first is None and list(again[0].costs) == ["students"]
    # By votes: all samples are paid for.
    voted = students.solve(
        [QUESTION], 3, escalate_to=larger, by="votes", threshold=0.9, temperature=1e-4
    )
    assert voted[0].uncertainties["votes"] == 0 and voted[0].votes == {"5": 3}
    assert voted[0].cost == Cost(*(3 * n for n in vars(alone[0].cost).values()))


@pytest.fixture
def teacher(tmp_path):
    """A server that says what `acts` says, in turn, and then TAUGHT."""
    acts = []

    def reply(request, number):
        del request, number
        return acts.pop(0) if acts else Act(text=TAUGHT)

    with ScriptedServer(reply) as server:
        server.acts = acts
        server.keys_of = {
            "model": "scripted", "base_url": server.url, "prompt": "socratic_zero", "retries": 0,
            "cache_dir": str(tmp_path / "cache"),
        }  # fmt: skip
        yield server


def test_a_teacher_answers_and_is_asked_once(students, teacher):
    asked = {"escalate_to": teacher.keys_of, "threshold": -1}
    [solution] = students.solve([QUESTION], **asked)
    assert (solution.answer, solution.answered_by, solution.status) == ("6", "scripted", "finished")
    assert [(t.role, t.text) for t in solution.turns] == [("teacher", TAUGHT)]
    assert solution.costs["scripted"] == Cost(100, len(TAUGHT) // 4)
    assert solution.first.answer == "5" and solution.first.cost.flops == solution.cost.flops > 0
    assert students.solve([QUESTION], **asked) == [solution]
    assert teacher.requests == 1
    assert QUESTION in teacher.bodies[0]["messages"][-1]["content"]
    [sure] = students.solve([QUESTION], escalate_to=teacher.keys_of, threshold=1)
    assert sure.answer == "5" and teacher.requests == 1


def test_without_a_teachers_answer_the_small_ones_stands(students, teacher):
    for act, reason in (
        (Act(status=400), "scripted gave no answer: refused: 400"),
        (Act(text="Q: What", finish_reason="length"), "truncated"),
        (Act(status=401), "refuses the key in OPENAI_API_KEY"),
        (Act(status=402), "is used up"),
        (Act(drop=True), "does not answer"),
    ):
        teacher.acts.append(act)
        [solution] = students.solve([QUESTION], escalate_to=teacher.keys_of, threshold=-1)
        assert (solution.answer, solution.answered_by) == ("5", "students")
        assert reason in solution.unanswered and "\n" not in solution.unanswered
        assert solution.first is None and list(solution.costs) == ["students"]


def test_a_slow_teacher_is_left(students, teacher):
    teacher.acts.append(Act(wait_s=600.0))
    events = students.cascade(teacher.keys_of, threshold=-1).answer([QUESTION])
    for event in events:
        if isinstance(event, Asks):
            break
    waiting = next(events)
    assert isinstance(waiting, Look) and waiting.turns == ()
    began = time.monotonic()
    events.close()
    assert time.monotonic() - began < 10


def test_a_member_votes_as_its_evaluation_did():
    found = {
        "name": "small", "path": "runs/small/evaluations/a", "identity": {}, "checkpoint_steps": {},
        "checkpoint_rule": "last", "sampling": {"given": "", "samples": 3},
    }  # fmt: skip
    assert escalation._member(found).sampling == {"vote": "majority", "samples": 3}
    found["sampling"] |= {"vote": "length", "vote_width": 2}
    assert escalation._member(found).sampling == {"vote": "length", "vote_width": 2, "samples": 3}


def on_terminal(cascade):
    file = io.StringIO()
    answer(QUESTION, cascade, Console(file=file, width=400))
    return file.getvalue().split("\n")


def test_votes_of_as_many_dialogues_as_the_run_was_loaded_with(small, tiny_run):
    several = {"sampling__samples": 3, "sampling__temperature": 1e-4}
    cascade = distill_jax.load(small, **several).cascade(tiny_run[0], 0.5, "votes")
    lines = on_terminal(cascade)
    assert lines[-3] == "answer: 5  (3 of 3 dialogues)"
    assert lines[-2].startswith("by: small (uncertainty (votes) 0, not above 0.5; ")


def test_the_terminal_says_who_answered(students, teacher, tiny_run):
    ours = [f"decomposer: {SUBQUESTION}", f"solver: {printable(SOLUTION)}"]
    lines = on_terminal(students.cascade(teacher.keys_of, threshold=-1))
    assert lines[:2] == ours and lines[4] == "            #### 5"
    assert lines[5].startswith("unsure: uncertainty (answer) ")
    assert lines[5].endswith(", above -1: asks scripted ...")
    told = [line.strip() for line in lines[6:9]]
    assert told == ["teacher: Q: What is <b>2 + 3</b>?", r"A: 2 + 3 = 6 \x1b[31m", "#### 6"]
    assert lines[9] == "answer: 6"
    assert lines[10].startswith("by: scripted (uncertainty (answer) ")
    assert lines[10].endswith(f"; scripted: {len(TAUGHT) // 4} tokens written, 100 read)")
    lines = on_terminal(students.cascade(tiny_run[0], threshold=1))
    assert lines[:2] == ours and lines[5] == "answer: 5"
    assert lines[6].startswith("by: students (uncertainty (answer) ") and " FLOPs)" in lines[6]
    assert "not above 1" in lines[6]
    teacher.acts.append(Act(status=400))
    lines = on_terminal(students.cascade({**teacher.keys_of, "temperature": 0.5}, threshold=-1))
    assert lines[6] == "answer: 5" and "scripted gave no answer" in lines[7]


def write_combination(directory, change):
    """A copy of the combination's report with something changed."""
    report = json.loads((directory / "report.json").read_text())
    change(report["combination"])
    path = directory.parent / "changed"
    path.mkdir(exist_ok=True)
    (path / "report.json").write_text(json.dumps(report))
    return path


def test_what_does_not_go_together_is_refused(students, small, combination, tiny_run, tmp_path):
    copy = distill_jax.load(small)

    def refused(words, given=copy, questions=(OTHER,), **arguments):
        with pytest.raises(UserError) as caught:
            given.solve(questions, **arguments)
        assert words in str(caught.value) and "\n" not in str(caught.value), str(caught.value)

    tiny = tiny_run[0]
    refused("give escalate_to as well", threshold=0.5)
    refused("give escalate_to as well", by="votes")
    refused("needs a threshold: give one from -1 to 1", escalate_to=tiny)
    for threshold in (2, float("nan"), True, "0.5"):
        refused("give a number from -1 to 1", escalate_to=tiny, threshold=threshold)
    refused("choose answer, answer_per_token", escalate_to=tiny, threshold=0.5, by="doubt")
    refused("neither the directory of a run", escalate_to=tmp_path, threshold=0.5)
    refused("is for 'answer': give a threshold", escalate_to=combination, by="transcript")
    refused("these are the same students", escalate_to=small, threshold=0.5)
    refused("is continued by one run", escalate_to=tiny, threshold=0.5, said=[[]])
    refused("needs several dialogues", escalate_to=tiny, threshold=0.5, by="votes")
    refused("questions is a list", questions=OTHER, escalate_to=tiny, threshold=0.5)
    refused("questions is a list", questions="", escalate_to=tiny, threshold=0.5)
    refused("is of the run", given=distill_jax.load(tiny), escalate_to=combination)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(small, unfinished, ignore=shutil.ignore_patterns("checkpoints"))
    refused("no such directory", escalate_to=unfinished, threshold=0.5)

    def changed(change):
        return write_combination(combination, change)

    refused("not a combination by --rule switch", escalate_to=changed(lambda c: c.update(rule="v")))
    refused(
        "a committee of 2 runs",
        escalate_to=changed(lambda c: c["members"].insert(0, c["members"][0])),
    )
    moved = changed(lambda c: c["members"][1].update(path="gone/evaluations/x"))
    refused("its run gone is not there", escalate_to=moved)
    steps = {"decomposer": 100, "solver": 150}
    other = changed(lambda c: c["members"][0].update(checkpoint_steps=steps))
    refused("set --config.evaluation.checkpoint=decomposer=100,solver=150", escalate_to=other)
    given = changed(lambda c: c["members"][0]["sampling"].update(given="subquestions"))
    refused("was given turns (config.sampling.given)", escalate_to=given)


def test_a_teacher_that_cannot_be_asked_is_refused(students, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for keys, words in (
        ("teacher", "needs --config.teacher.model=NAME"),
        ({"model": "gpt-4o"}, "OPENAI_API_KEY is not set"),
        ({"model": "m", "base_url": "localhost"}, "an address such as"),
        ({"modelx": "m"}, "unknown key config.teacher.modelx (did you mean teacher.model?)"),
        ({"model": "m", "retries": -1}, "config.teacher.retries=-1"),
        ({"model": "m", "base_url": "http://localhost/v1", "prompt": "nothing"}, "nothing"),
    ):
        with pytest.raises(UserError) as caught:
            students.solve([OTHER], escalate_to=keys, threshold=0.5)
        assert words in str(caught.value)
    with pytest.raises(UserError, match="needs a threshold"):
        students.solve([OTHER], escalate_to="teacher")
