"""Cheap guessers, graded like the students: the accuracy without any reasoning."""

import collections
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Grade, Problem
from distill_jax.text.exact_values import extract_numbers, format_value

LAST_NUMBER = "last number"
MOST_FREQUENT = "most frequent answer"
SUM = "sum of the numbers"


def guess(
    problems: Sequence[Problem],
    train_problems: Sequence[Problem],
    grade: Callable[[str, str], Grade],
) -> dict[str, dict[str, Any]]:
    """Grade three guessers: {name: {"accuracy", "correct", "interval": [low, high]}}.

    They answer with the last number of the question, with the most frequent answer of the training
    problems (of equally frequent ones the first; left out if there are no training problems),
    and with the sum of the numbers of the question. Graded by the "normalised" score like the
    students; a question without numbers leaves a guesser without an answer, which is wrong.
    """
    numbers = [extract_numbers(problem.question) for problem in problems]
    guesses: dict[str, list[str | None]] = {
        LAST_NUMBER: [format_value(found[-1]) if found else None for found in numbers]
    }
    if train_problems:
        counts = collections.Counter(problem.answer for problem in train_problems)
        guesses[MOST_FREQUENT] = [counts.most_common(1)[0][0]] * len(problems)
    guesses[SUM] = [format_value(sum(found, Fraction(0))) if found else None for found in numbers]
    return {name: _graded(answers, problems, grade) for name, answers in guesses.items()}


def _graded(
    guesses: Sequence[str | None],
    problems: Sequence[Problem],
    grade: Callable[[str, str], Grade],
) -> dict[str, Any]:
    correct = sum(
        answer is not None and grade(f"#### {answer}", problem.answer).scores["normalised"]
        for answer, problem in zip(guesses, problems, strict=True)
    )
    n = len(problems)
    return {
        "accuracy": correct / n if n else 0.0,
        "correct": correct,
        "interval": list(wilson_interval(correct, n)),
    }
