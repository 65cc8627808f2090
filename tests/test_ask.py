"""`python -m distill_jax.ask` on the terminal, and the turns that are seen while they are written.

The students say what a terminal or a browser might obey (hostile_students.py).
"""

import io
import itertools
import json
import os
import pty
import subprocess
import sys

import jax
import pytest
from experiment_runs import ROOT, command, environment, one_error_line, run
from hostile_students import QUESTION, SOLUTION, SUBQUESTION
from rich.console import Console

import distill_jax
from distill_jax.ask.__main__ import main
from distill_jax.ask.terminal import answer
from distill_jax.dialogues.answerer import Look
from distill_jax.dialogues.live import live_turns
from distill_jax.errors import Interrupted, UserError
from distill_jax.sampling import decode
from distill_jax.sampling.dialogues import Dialogue, WrittenTurn
from distill_jax.tracking.terminal import printable

SHOWN = SOLUTION.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
LINES = [
    f"decomposer: {SUBQUESTION}",
    f"solver: {SHOWN}",
    "decomposer: And then?",
    "solver: It is 5.",
    "            #### 5",
    "answer: 5",
]


@pytest.fixture(scope="module")
def students(hostile_workdir):
    return distill_jax.load(hostile_workdir, mesh__data=8)


def test_plain_lines_where_it_is_no_terminal(hostile_workdir):
    done = run("ask", "--workdir", hostile_workdir, QUESTION)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == [*LINES, ""]


def test_several_dialogues_vote(hostile_workdir):
    """One that gives the answer is shown, and how many do."""
    keys = ("--config.sampling.samples=3", "--config.sampling.temperature=0.01")
    done = run("ask", "--workdir", hostile_workdir, QUESTION, *keys)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.split("\n")]
    assert lines[0] == LINES[0] and lines[-2] == "answer: 5  (3 of 3 dialogues)"


def test_questions_of_a_pipe(hostile_workdir):
    """A bad one is one line, and the next is answered."""
    text = f"{QUESTION}\n\n{'long ' * 200}\nWhat is [b]7[/b] and 8?\x1b[31m\n"
    done = subprocess.run(
        command("ask", "--workdir", hostile_workdir), cwd=ROOT, env=environment(), input=text,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.split("\n")
    assert lines[:8] == [f"question: {QUESTION}", *LINES, ""]
    assert lines[8] == f"question: {('long ' * 200).strip()}"
    assert lines[9].startswith("error: the question has ") and "at most 160" in lines[9]
    assert lines[11] == r"question: What is [b]7[/b] and 8?\x1b[31m"
    assert "answer:" in lines[-4]
    assert lines[-3].startswith("note: this question may be unlike what was learned: the students")
    assert "\x1b" not in done.stdout


def test_a_terminal_gets_colours_of_ours_only(hostile_workdir):
    """Typed at the prompt of a real terminal; red (31) is a colour that only the student names."""
    ours, theirs = pty.openpty()
    env = {key: value for key, value in environment().items() if key != "NO_COLOR"}
    running = subprocess.Popen(
        command("ask", "--workdir", hostile_workdir), cwd=ROOT,
        env=env | {"TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    written = b""

    def read_until(sign):
        nonlocal written
        while sign not in written:
            written += os.read(ours, 1 << 16)

    read_until(b"question> ")
    os.write(ours, QUESTION.encode() + b"\n")
    read_until(b"#### 5")
    os.write(ours, b"\x04")  # Ctrl-D
    try:
        while more := os.read(ours, 1 << 16):
            written += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert running.wait() == 0
    text = written.decode()
    assert "\x1b[36m" in text and "\x1b[32m" in text  # cyan, green
    assert "\x1b[31m" not in text and "\u202e" not in text
    assert r"\x1b[31m \u202e5" in text
    assert "[red]more[/red]" in text


def test_what_a_terminal_obeys_is_spelt_out():
    assert printable("a\tb\r\n\x07\x9b\u2028\u202e\U000e0001é漢") == (
        r"a\tb\r" + "\n" + r"\x07\x9b\u2028\u202e\U000e0001é漢"
    )


def test_turns_are_seen_as_they_grow(students):
    questions = [QUESTION, "What is 8 and 9?"]
    seen, solutions = {question: [] for question in questions}, {}
    for event in students.answer(questions):
        if isinstance(event, Look):
            assert event.sample == 0 and event.problem.question not in solutions
            seen[event.problem.question].append(event.turns)
        else:
            solutions[event.question] = event
    assert [solutions[question] for question in questions] == students.solve(questions)
    for question, looks in seen.items():
        solution = solutions[question]
        tokens = sum(turn.tokens for turn in solution.turns)
        assert len(looks) == -(-tokens // 4)  # a look every four tokens, and one at the end
        for before, after in itertools.pairwise(looks):
            for one, other in zip(before, after, strict=False):
                assert other.pieces[: len(one.pieces)] == one.pieces
                assert one == other or not one.ended
        for live, turn in zip(looks[-1], solution.turns, strict=True):
            assert (live.role, live.text, live.ended) == (turn.role, turn.text, True)
            assert live.log_probability == pytest.approx(turn.log_probability, abs=1e-5)


@pytest.fixture
def chunks(monkeypatch):
    """A list that is one longer with every chunk that runs on the device."""
    run, ran = decode.decode_chunk, []

    def counted(*arguments):
        ran.append(None)
        return run(*arguments)

    monkeypatch.setattr(decode, "decode_chunk", counted)
    return ran


def test_a_dialogue_that_is_closed_goes_on_no_more(students, chunks):
    events = students.answer([QUESTION])
    assert isinstance(next(events), Look) and len(chunks) == 1
    assert jax.sharding.get_abstract_mesh().empty  # the caller's own mesh is set meanwhile
    events.close()
    assert list(events) == [] and len(chunks) == 1
    with pytest.raises(UserError, match="questions is a list"):  # before anything is asked for
        students.answer(QUESTION)


class Interrupting(io.StringIO):
    """A terminal at which somebody presses Ctrl-C when the solver begins."""

    def write(self, text):
        if "solver" in text:
            raise Interrupted
        return super().write(text)


def test_a_question_that_is_interrupted_is_closed(students, chunks):
    file = Interrupting()
    with pytest.raises(Interrupted) as caught:
        answer(QUESTION, students, Console(file=file))
    assert file.getvalue().startswith(f"decomposer: {SUBQUESTION}\n")
    at = caught.traceback[1].frame.f_locals  # of `answer`: its iterator has come to its end
    assert at["events"].gi_frame is None and at["solution"] is None
    stopped = len(chunks)
    list(students.answer([QUESTION]))
    assert 0 < stopped < len(chunks) - stopped


def test_a_character_of_several_tokens_is_one_piece(students):
    """Bytes of the euro sign are tokens; half of them are not shown while the turn may go on."""
    sampler = students._sampler({})
    tokens = sampler.tokenizer.encode(["a€."])[0]
    assert len(tokens) == 5

    def pieces(count, status):
        log_probs = (-1.0, -0.5, -0.25, -0.125, -2.0)[:count]
        turn = WrittenTurn(1, tokens[:count], count, sum(log_probs), log_probs)
        [live] = live_turns(Dialogue([turn], status), sampler)
        assert not live.ended and live.role == "solver"
        return [(piece.text, piece.log_probability) for piece in live.pieces]

    assert pieces(3, "running") == [("a", -1.0)]
    assert pieces(3, "token_cap") == [("a", -1.0), ("\N{REPLACEMENT CHARACTER}", -0.75)]
    assert pieces(5, "running") == [("a", -1.0), ("€", -0.875), (".", -2.0)]


COUNTED = """
import json, sys
import jax
count = 0
def listen(event, seconds, **more):
    global count
    count += event == "/jax/core/compile/backend_compile_duration"
jax.monitoring.register_event_duration_secs_listener(listen)
import distill_jax
students = distill_jax.load(sys.argv[1], sampling__dtype=sys.argv[2])
counts = []
for number in range(24):
    kind = number % 12
    said = [("decomposer", "Is it " + "more " * kind)] if kind > 6 else []
    for _ in students.answer(
        [f"What is {number} and {kind}?"], said=[said], slots=1, seed=number,
        temperature=number / 20, top_p=1 - number / 40,
    ):
        pass
    counts.append(count)
print(json.dumps(counts))
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_is_compiled_for_a_second_question(hostile_workdir, dtype):
    """Other questions, beginnings, seeds and temperatures; parameters are cast once. What draws is
    a program of its own, and a dialogue that outgrows the caches, once."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, hostile_workdir, dtype], cwd=ROOT, env=environment(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    counts = json.loads(done.stdout)
    greedy, drawn = counts[:2]
    assert greedy > 0 and drawn == greedy + 1 and counts[1:7] == [drawn] * 6
    assert counts[11] <= drawn + 2 and counts[11:] == [counts[11]] * 13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=W", "q", "--serve"], "--serve takes no question"),
        (["--workdir=W", "--serve", "--port=70000"], "--port=70000: a number from 0 to 65535"),
        (["--workdir=W", "--serve", "--host=192.0.2.1"], "--host=192.0.2.1 --port=8000: "),
        (["--workdir=W", "q", "--config.train.steps=3"], "of a finished run only sampling.*"),
        (["--workdir=W", "q"], "W/config.json: no such file"),
        (["--workdir=W", "q", "--config.sampling.given=plan"], "no gold steps to give"),
        (["--workdir=W", "--serve", "--config.sampling.samples=5"], "asks for several with n"),
        (["--workdir=W", "q", "--escalate_to=teacher", "--threshold=3"], "from -1 to 1"),
        (["--workdir=W", "q", "--escalate_to=L", "--threshold=0.5"], "escalate_to=L: neither"),
        (
            ["--workdir=W", "q", "--escalate_to=teacher", "--threshold=0.5", "--by=votes"],
            "add --config.sampling.samples=5",
        ),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    assert message in one_error_line(run("ask", *arguments))


def test_a_question_without_quotation_marks_is_a_mistake(capsys):
    with pytest.raises(SystemExit):
        main(["--workdir=W", "What", "is", "2 + 2?"])
    said = capsys.readouterr().err
    assert said.endswith(
        "unrecognized arguments: is 2 + 2?: put the question into quotation marks\n"
    )
    with pytest.raises(SystemExit):
        main(["--workdir=W", "--scheme=chain", "q"])
    assert "(a config key is set by --config.key=value)" in capsys.readouterr().err


def test_an_empty_question_is_a_mistake(hostile_workdir):
    assert (
        one_error_line(run("ask", "--workdir", hostile_workdir, " "))
        == "error: the question is empty"
    )


def test_a_host_that_others_reach_must_be_named_and_is_warned_of():
    done = run("ask", "--workdir=W", "--serve", "--host=0.0.0.0", "--port=0")
    first, second = done.stderr.strip().split("\n")
    assert first.startswith("warning: --host=0.0.0.0: everyone who reaches this machine's port ")
    assert second.startswith("error: W/config.json") and done.returncode == 2
