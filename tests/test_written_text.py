"""How answers are written: marks, tokens and repetition, by hand."""

import csv
import doctest
import io

import pytest
from run_directories import solved, write_run

from distill_jax.evaluation import tables, written_text
from distill_jax.evaluation.runs import read_runs
from distill_jax.records import Problem
from distill_jax.tasks import arithmetic


@pytest.mark.parametrize(
    ("scheme", "text_format", "solution", "expected"),
    [
        ("socratic", "turns", "4 + 4 = 8\n#### 8", 0.5),
        ("chain", "fine_tune_cot", "4 + 4 = 8 --> 8", 0.5),
        ("chain", "fine_tune_cot", "4 + 4 = 8\n#### 8", 0.0),
        ("answer_only", "sert", " So the answer is 8.", 0.5),
        ("answer_only", "fine_tune_cot", " 8", None),  # which has no mark
    ],
)
def test_the_mark_is_that_of_the_format(tmp_path, scheme, text_format, solution, expected):
    problem = Problem("p/0", "Q?", "8", "test")
    found = [solved(problem, [("", solution)]), solved(problem, [("", "It is")])]
    run = write_run(tmp_path / "run", found, scheme=scheme, text_format=text_format)
    [row] = rows_of(written_text.written_text_table(read_runs([run])))
    assert row["with an answer mark"] == ("" if expected is None else str(expected))


def rows_of(table):
    return list(csv.DictReader(io.StringIO(tables.to_csv(table))))


def test_tokens_and_repetition(tmp_path):
    [problem] = arithmetic.load("test", test_problems=1)
    asked = [("How many ?", "4 - 3 = 1"), ("How many now ?", "1 + 7 = 8")]
    run = write_run(tmp_path / "run", [solved(problem, asked)])
    [row] = rows_of(written_text.written_text_table(read_runs([run])))
    assert (row["dialogues"], float(row["tokens"])) == ("1", 32.0)
    # How many ? 4 - 3 = 1 How many now ? 1 + 7 = 8: the words How, many, ?, 1 and = come again.
    assert float(row["repeated words"]) == pytest.approx(5 / 17)


def test_the_docstrings():
    result = doctest.testmod(written_text)
    assert result.attempted > 0 and result.failed == 0
