"""Grading final answers, shared by all tasks.

Every grader returns four scores, because each extractor gives another one:

- strict, flexible: the two extractors of lm-evaluation-harness, task gsm8k version 3, for
  comparison with published figures. Both compare strings.
- fine_tune_cot: the two-way rule of Ho et al. (text/cleansing.py).
- normalised: the headline. An answer that equals the known one letter for letter is right;
otherwise both are read in the same way. docs/evaluating.md lists the decisions about doubtful
inputs.
"""

import re

from distill_jax.records import Grade
from distill_jax.text import cleansing, yes_no
from distill_jax.text.answer_extractors import (
    final_line,
    final_quantity,
    final_text,
    flexible_number,
    gold_quantity,
    read_quantity,
    same_number_text,
    strict_number,
    strict_yes_no,
    yes_no_words,
)
from distill_jax.text.exact_values import extract_numbers, format_value, parse_value
from distill_jax.text.formats import MARKER
from distill_jax.text.quantities import same_around
from distill_jax.text.text_answers import text_key

# Tasks outside the package also import these from here.
__all__ = [
    "MARKER",
    "extract_numbers",
    "final_text",
    "format_value",
    "grade_number",
    "grade_text",
    "grade_yes_no",
    "parse_value",
    "read_number",
    "read_text",
    "read_yes_no",
]


def grade_number(completion: str, answer: str, *, cleansed_as_text: bool = True) -> Grade:
    """Grade a completion whose final answer is a number.

    Scores, in this order: "strict" (first `#### N`) and "flexible" (last number) are those of
    lm-evaluation-harness and compare strings:
    https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/tasks/gsm8k/gsm8k.yaml
    "fine_tune_cot" compares strings too, or without `cleansed_as_text` floats.
    "normalised" compares exact values: the one number in the rest of the line after the last
    `####`, or without a marker the last number of the completion. The words around it
    are compared too if both sides have some: `5 kg` equals `5` and `5 kilograms`, but not `5 g`. A
    line with several numbers or a badly grouped one (`1,23`, `7 7 7`) has no answer; a true
    equation (`9 * 2 = 18`) has its result as the answer. `50%` equals `50`, not `0.5`.

    If `answer` is not a number, this is `grade_text` with these strict and flexible scores. Never
    raises.
    """
    scores = {
        "strict": same_number_text(strict_number(completion), answer),
        "flexible": same_number_text(flexible_number(completion), answer),
    }
    gold = gold_quantity(answer)
    if gold is None:
        return Grade(*_text_result(completion, answer, scores))
    scores["fine_tune_cot"] = cleansing.same_number(completion, answer, as_text=cleansed_as_text)
    found = final_quantity(completion)
    if found is None:
        same = final_line(completion) == answer.strip()
        prediction = format_value(gold.value) if same else None
    else:
        same = found.value == gold.value and same_around(found.words, gold.words)
        same = same or final_line(completion) == answer.strip()
        prediction = format_value(found.value)
        named = " ".join([prediction, *found.words])
        # A vote must not take 10 pm for 10 am. Some words would be read differently: `0 + e`.
        if gold.words and read_quantity(named) == found:
            prediction = named
    return Grade(prediction, {**scores, "normalised": same})


def read_number(completion: str) -> str | None:
    """The final answer as `grade_number` reads it; None if it is not a number."""
    found = final_quantity(completion)
    return None if found is None else format_value(found.value)


def grade_yes_no(completion: str, answer: str) -> Grade:
    """Grade a completion whose final answer is yes or no (true and false mean the same).

    strict: the first `#### yes` or `#### no`; flexible: the last such word anywhere; normalised:
    the answer after the last `####`, or without a marker the last one in the last line.
    `not true` says no; `no idea` and `yes or no` say nothing (text/yes_no.py).
    """
    words, prediction = yes_no_words(completion), read_yes_no(completion)
    gold = yes_no.meaning(answer)
    if final_line(completion) == answer.strip():
        prediction = gold
    scores = {
        "strict": strict_yes_no(completion) == gold,
        "flexible": bool(words) and words[-1] == gold,
        "fine_tune_cot": cleansing.same_word(completion, gold),
        "normalised": prediction == gold,
    }
    return Grade(prediction, scores)


def read_yes_no(completion: str) -> str | None:
    """The final answer as `grade_yes_no` reads it: "yes", "no", or None."""
    final = yes_no.said(final_line(completion))
    if MARKER in completion and len(set(final)) > 1:
        return None
    return final[-1] if final else None


def grade_text(completion: str, answer: str) -> Grade:
    """Grade a completion whose final answer is text.

    strict needs it letter for letter after the first `#### `, flexible anywhere in the last line.
    normalised compares the text after the last `####`, or else the last line, without regard to
    case, white space, a full stop at the end, quotes, bold, parentheses around it, and how its
    characters are written. The prediction is the text as written. Never raises.
    """
    first = re.search(rf"{MARKER} (.*)", completion)
    gold = " ".join(answer.split()).casefold()
    scores = {
        "strict": first is not None and first[1] == answer,
        "flexible": bool(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", final_text(completion))),
    }
    return Grade(*_text_result(completion, answer, scores))


def read_text(completion: str) -> str | None:
    """The final answer as `grade_text` reads it: as it was written; None if there is none."""
    return final_line(completion) or None


def _text_result(
    completion: str, answer: str, scores: dict[str, bool]
) -> tuple[str | None, dict[str, bool]]:
    line = final_line(completion)
    scores["fine_tune_cot"] = cleansing.same_text(completion, answer)
    scores["normalised"] = line == answer.strip() or (
        bool(line) and text_key(line) == text_key(answer)
    )
    return line or None, scores
