"""Guessers on problems whose right guesses can be counted by hand."""

import pytest

from distill_jax.evaluation.guessers import guess
from distill_jax.records import Grade, Problem
from distill_jax.tasks.grading import grade_number
from distill_jax.tasks.multiple_choice import grade_choice


def problem(question, answer, number=0):
    return Problem(f"test/{number}", question, answer, "test")


def grade(completion, answer):
    """Right where the text after #### is the answer; records what it was asked."""
    text = completion.removeprefix("#### ")
    assert completion.startswith("#### ")
    return Grade(text, {"strict": False, "flexible": False, "normalised": text == answer})


PROBLEMS = [
    problem("Tom has 3 apples and buys 4. How many?", "7"),  # sum
    problem("Ann has 10 pens, gives 4 away, then finds 5. How many?", "5"),  # last number
    problem("There are 2 cats. How many cats?", "2"),  # sum and last number
    problem("How many legs has a spider?", "8"),  # no numbers; most frequent answer
]
TRAIN = [problem("?", answer) for answer in ("5", "8", "8", "1")]


def test_counts_by_hand():
    result = guess(PROBLEMS, TRAIN, grade)
    assert list(result) == ["last number", "most frequent answer", "sum of the numbers"]
    assert {name: entry["correct"] for name, entry in result.items()} == {
        "last number": 2,
        "most frequent answer": 1,
        "sum of the numbers": 2,
    }
    assert result["last number"]["accuracy"] == 0.5
    # 2 of 4 by hand: (0.5 + z²/8 ± z sqrt(1/16 + z²/64)) / (1 + z²/4) with z² = 3.8415.
    assert result["last number"]["interval"] == pytest.approx([0.1500, 0.8500], abs=1e-4)


def test_equally_frequent_answers_give_the_first():
    train = [problem("?", answer) for answer in ("5", "8", "8", "5")]
    assert guess(PROBLEMS, train, grade)["most frequent answer"]["correct"] == 1
    assert guess([problem("?", "5")], train, grade)["most frequent answer"]["correct"] == 1
    assert guess([problem("?", "8")], train, grade)["most frequent answer"]["correct"] == 0


def test_most_frequent_answer_may_be_text():
    train = [problem("?", answer) for answer in ("yes", "no", "yes")]
    result = guess([problem("Is it?", "yes"), problem("Is it?", "no")], train, grade)
    assert result["most frequent answer"]["accuracy"] == 0.5
    assert result["last number"]["correct"] == 0


def test_without_training_problems():
    assert list(guess(PROBLEMS, [], grade)) == ["last number", "sum of the numbers"]


def test_without_problems():
    for entry in guess([], TRAIN, grade).values():
        assert entry == {"accuracy": 0.0, "correct": 0, "interval": [0.0, 1.0]}


def test_decimals_and_thousands_add_up_exactly():
    cases = [problem("0.1 and 0.2 and 0.3", "0.6"), problem("1,000 and 2", "1002")]
    assert guess(cases, [], grade)["sum of the numbers"]["correct"] == 2


def test_with_the_grader_of_number_tasks():
    cases = [
        problem("A 1/2 cup and 0.25 cups: how many?", "0.75"),
        problem("$1,000 and $2.50: how much?", "1,002.5"),
    ]
    assert guess(cases, [], grade_number)["sum of the numbers"]["correct"] == 2


def test_the_choice_most_like_the_others():
    when = "When? Answer choices: (A) 01/02/1999, (B) 01/03/2005, (C) 01/03/1999."
    cases = [
        problem(when, "(C) 01/03/1999"),  # shares 1 + 2, 1 + 1 and 2 + 2 of its parts
        problem("Who? Answer choices: (A) Ann, (B) Bob.", "(B) Bob"),  # none: the first
        problem("What? Answer choices: (A) Red Ball, (B) red hat, (C) ball.", "(A) Red Ball"),
    ]
    guesser = guess(cases, [], grade_choice)["choice most like the others"]
    assert (guesser["correct"], guesser["accuracy"]) == (2, pytest.approx(2 / 3))
    assert "choice most like the others" not in guess(PROBLEMS, TRAIN, grade)
    # Some have no choices, or no list of them: no guess, which is wrong.
    hostile = [problem("Answer choices: none", "5"), problem("? Answer choices: .", "5")]
    mixed = guess([*cases, *hostile], [], grade_choice)["choice most like the others"]
    assert mixed["correct"] == 2
