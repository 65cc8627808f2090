"""Cheap guessers, graded like the students: the accuracy without any reasoning."""

import collections
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Grade, Problem
from distill_jax.tasks.multiple_choice import choices_in
from distill_jax.text.exact_values import extract_numbers, format_value

LAST_NUMBER = "last number"
MOST_FREQUENT = "most frequent answer"
SUM = "sum of the numbers"
ALIKE = "choice most like the others"

_PART = re.compile(r"[^\W_]+")


def guess(
    problems: Sequence[Problem],
    train_problems: Sequence[Problem],
    grade: Callable[[str, str], Grade],
) -> dict[str, dict[str, Any]]:
    """Grade the guessers: {name: {"accuracy", "correct", "interval": [low, high]}}.

    They answer with the last number of the question, with the most frequent answer of the training
    problems (of equally frequent ones the first; left out if there are no training problems),
    with the sum of the numbers of the question, and, if questions have choices, with the choice
    that is most like the others. Graded by the "normalised" score like the students; a question
    without numbers, or without choices, leaves a guesser without an answer, which is wrong.
    """
    numbers = [extract_numbers(problem.question) for problem in problems]
    guesses: dict[str, list[str | None]] = {
        LAST_NUMBER: [format_value(found[-1]) if found else None for found in numbers]
    }
    if train_problems:
        counts = collections.Counter(problem.answer for problem in train_problems)
        guesses[MOST_FREQUENT] = [counts.most_common(1)[0][0]] * len(problems)
    guesses[SUM] = [format_value(sum(found, Fraction(0))) if found else None for found in numbers]
    alike = [most_alike(problem.question) for problem in problems]
    if any(alike):
        guesses[ALIKE] = alike
    return {name: _graded(answers, problems, grade) for name, answers in guesses.items()}


def most_alike(question: str) -> str | None:
    """The choice that shares the most words and numbers with the others, at the same places; of
    several the first. None if the question has no choices. Who makes wrong choices by changing the
    right one gives it away.

    >>> most_alike("When? Answer choices: (A) 01/02/1999, (B) 01/03/2005, (C) 01/03/1999.")
    '(C) 01/03/1999'
    """
    choices = choices_in(question)
    if choices is None or not choices.texts:
        return None
    parts = {letter: _PART.findall(text.casefold()) for letter, text in choices.texts.items()}
    at_place = collections.Counter(place for own in parts.values() for place in enumerate(own))
    shared = {
        letter: sum(at_place[place] - 1 for place in enumerate(own))
        for letter, own in parts.items()
    }
    return choices.answer(max(shared, key=lambda letter: shared[letter]))


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
