"""Answers in LaTeX: our own reading first, then Math-Verify within a second."""

import subprocess
import sys
import threading
import time

import pytest

from distill_jax.errors import UserError
from distill_jax.settings import task_module
from distill_jax.tasks import jsonl, math_answers

math_verify = pytest.importorskip("math_verify", reason="math-verify is in the extra [math]")


@pytest.fixture
def patient(monkeypatch):
    """On a busy machine a comparison may take longer than the second that it gets."""
    monkeypatch.setattr(math_answers, "SECONDS", 60.0)


@pytest.mark.parametrize(
    ("completion", "answer", "right"),
    [
        (r"#### \frac{1}{2}", "0.5", True),
        (r"#### \boxed{\dfrac{1}{2}}", r"\frac12", True),
        (r"So it is $\boxed{\frac{1}{2}}$, less than one.", r"\frac{1}{2}", True),
        (r"#### (-\infty, 2]", r"$(-\infty,2]$", True),
        (r"#### (-\infty, 2)", r"$(-\infty,2]$", False),
        (r"#### \{3, 1, 2\}", r"\{1,2,3\}", True),
        (r"#### \{1, 2\}", r"\{1,2,3\}", False),
        (r"#### x(x+1)", r"x^2+x", True),
        (r"#### x^2 - x", r"x^2+x", False),
        (r"#### \frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        (r"#### 2\pi", "2", False),
        ("#### 5 kg", "5 g", False),
        ("#### 1,000", "1000", True),
        ("#### 1001", "1000", False),
        ("#### [0,1]", "(0,1)", False),  # the key of a text has no brackets around it
        (r"#### \left[0,1\right]", r"\left(0,1\right)", False),
        (r"#### \left(0, 1\right)", "(0,1)", True),
        ("#### 2", "2x", False),  # a name is not a unit
        ("#### 2 x", "2x", True),
        (r"#### \frac{1}{2}", r"\frac{1}{2}x", False),
        ("#### 2000", "2k", False),
        ("#### 5", "5!", False),
        ("#### 120", "5!", True),
        ("#### n", "n!", False),
        ("The answer is 5!", "5", True),  # a sentence
        (r"#### 5\!", "5", True),  # a space of LaTeX
        ("#### 5 meters", r"5\text{ m}", True),
        ("#### (C)", r"\text{(C)}", True),
        ("#### C", r"\text{(C)}", True),
        (r"#### \text{Evelyn}", "evelyn.", True),
        ("", "1", False),
    ],
)
@pytest.mark.usefixtures("patient")
def test_answers_in_latex(completion, answer, right):
    grade = math_answers.grade_math(completion, answer)
    assert grade.scores["normalised"] is right
    assert list(grade.scores) == ["strict", "flexible", "fine_tune_cot", "normalised"]


def test_a_power_tower_takes_a_second_and_the_next_answer_is_graded(monkeypatch):
    with monkeypatch.context() as patient:
        patient.setattr(math_answers, "SECONDS", 60.0)
        assert math_answers.same_math(r"\frac{2x}{4}", r"\frac{x}{2}")  # the process is there
    start = time.perf_counter()
    assert not math_answers.same_math("9^{9^{9^{9}}}", r"\frac{x}{3}")
    assert time.perf_counter() - start < 10 * math_answers.SECONDS
    monkeypatch.setattr(math_answers, "SECONDS", 60.0)
    assert math_answers.same_math(r"\frac{2x}{6}", r"\frac{x}{3}")


def test_nothing_is_evaluated(tmp_path):
    mark = tmp_path / "evaluated"
    text = f"__import__('pathlib').Path('{mark}').touch()"
    math_answers.same_math(text, "x+1")
    math_answers.same_math(f"$ {text} $", "x+1")
    assert not mark.exists()


@pytest.mark.usefixtures("patient")
def test_answers_are_graded_from_threads():
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(math_answers.same_math(r"\frac{x}{2}", "0.5x"))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def test_the_process_ends_with_its_input():
    command = [sys.executable, "-m", "distill_jax.tasks.math_verify_process"]
    done = subprocess.run(
        command, input=b'{"gold": "$1$", "answer": "$1.0$"}\n', capture_output=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, b"ready\ntrue\n")


@pytest.mark.usefixtures("patient")
def test_the_option_of_the_task(tmp_path):
    row = '{"question": "Where is it positive?", "answer": "(0, \\\\infty)"}\n'
    (tmp_path / "test.jsonl").write_text(row, encoding="utf-8")
    [problem] = jsonl.load("test", directory=str(tmp_path), answers="math")
    assert problem.answer == r"(0, \infty)"
    with pytest.raises(UserError, match=r"answers='latex': choose plain, math"):
        jsonl.load("test", directory=str(tmp_path), answers="latex")
    # grade() is told how answers are compared, by the same option.
    answer, other = r"x(x+1)", r"#### x^2+x"
    told = task_module.grader(jsonl, {"directory": str(tmp_path), "answers": "math"})
    assert told(other, answer).scores["normalised"]
    plain = task_module.grader(jsonl, {"directory": str(tmp_path)})
    assert not plain(other, answer).scores["normalised"]


def test_without_math_verify_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(math_answers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -c constraints\.txt -e '\.\[math\]'"):
        math_answers.check_installed()
