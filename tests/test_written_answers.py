"""Answers that are read where the right one is not known."""

import json
import shutil

import pytest
from hostile_students import ANSWER, QUESTION
from test_answers import FIXTURE, read_cases

import distill_jax
from distill_jax.tasks import arithmetic, jsonl
from distill_jax.tasks.written_answers import KINDS, NUMBER, Reader, kind_of

MIXED = ["Thursday", "yes", "7", "New York"]


@pytest.mark.parametrize(
    ("written", "mixed", "numbers"),
    [
        ("#### yes", "yes", None),
        ("#### No.", "no", None),
        ("#### 12", "12", "12"),
        ("#### 12 apples", "12", "12"),
        ("#### 12 - 5 = 7", "7", "7"),
        ("#### Friday", "Friday", None),
        ("#### Room 12", "Room 12", "12"),
        ("There are 7 days.\nSunday", "Sunday", "7"),
        ("####", None, None),
        ("", None, None),
    ],
)
@pytest.mark.parametrize("turned", range(len(MIXED)))
def test_an_answer_is_read_as_what_it_is_whatever_comes_first(written, mixed, numbers, turned):
    known = MIXED[turned:] + MIXED[:turned]
    assert Reader(jsonl.grade, known)(written, "").prediction == mixed
    assert Reader(arithmetic.grade, ["7", "8"])(written, "").prediction == numbers


def test_nothing_known_reads_nothing_and_a_known_answer_is_the_tasks():
    assert Reader(jsonl.grade, [])("#### 7", "").prediction is None
    graded = Reader(jsonl.grade, MIXED)("#### yes", "yes")
    assert graded == jsonl.grade("#### yes", "yes")


def test_answers_as_students_of_mixed_problems_write_them():
    """Each as the grader reads it that knows the right answer, but of a number without its unit,
    since the known numbers have none; of an equation the result."""
    answers = {case["answer"] for case in read_cases(FIXTURE) if "=" not in case["answer"]}
    assert {kind_of(answer) for answer in answers} == set(KINDS)
    reader = Reader(jsonl.grade, MIXED)
    for answer in answers:
        completion = f"So it is done.\n#### {answer}"
        known = jsonl.grade(completion, answer).prediction
        number = known.split(" ")[0] if kind_of(answer) == NUMBER else known
        assert reader(completion, "").prediction == number


def test_students_of_mixed_problems(hostile_workdir, tmp_path):
    """They write `#### 5`; the first annotation that they learned from is answered by yes."""
    mixed = shutil.copytree(hostile_workdir, tmp_path / "mixed")
    path = mixed / "annotations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["answer"] = "yes"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts = json.loads((mixed / "training_data.json").read_text())
    for each in facts.values():
        del each["sha256"]
    (mixed / "training_data.json").write_text(json.dumps(facts))
    [solution] = distill_jax.load(mixed, mesh__data=8).solve([QUESTION])
    assert (solution.answer, solution.status) == (ANSWER, "finished")
