"""Grading final answers, shared by all tasks.

Every grader returns four scores, because the score of one extractor is not the score:

- strict, flexible: the two extractors of lm-evaluation-harness, task gsm8k version 3, for
  comparison with published figures. Both compare strings.
- fine_tune_cot: the two-way rule of Ho et al. (text/cleansing.py).
- normalised: the headline. Compares exact values of what stands after the last `####`.
"""

from distill_jax.records import Grade
from distill_jax.text import cleansing
from distill_jax.text.answer_extractors import (
    final_text,
    final_value,
    flexible_number,
    same_number_text,
    simple_text,
    strict_number,
    strict_yes_no,
    yes_no,
    yes_no_words,
)
from distill_jax.text.exact_values import extract_numbers, format_value, parse_value
from distill_jax.text.formats import MARKER

# The import path of these for tasks outside the package, too.
__all__ = [
    "MARKER",
    "extract_numbers",
    "final_text",
    "format_value",
    "grade_number",
    "grade_yes_no",
    "parse_value",
]


def grade_number(completion: str, answer: str, *, cleansed_as_text: bool = True) -> Grade:
    """Grade a completion whose final answer is a number.

    Scores, in this order: "strict" (first `#### N`) and "flexible" (last number) are those of
    lm-evaluation-harness and compare strings:
    https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/tasks/gsm8k/gsm8k.yaml
    "fine_tune_cot" compares strings too, or without `cleansed_as_text` floats.
    "normalised" compares exact values: the one number in the rest of the line after the last
    `####`, or without a marker the last number of the completion. A line with several numbers or
    a badly grouped one (`1,23`, `7 7 7`) holds no answer. `50%` equals `50`, not `0.5`.

    Where `answer` is not a number, "normalised" compares the text after the last marker (or the
    last non-empty line), ignoring case and the amount of white space. Never raises.
    """
    scores = {
        "strict": same_number_text(strict_number(completion), answer),
        "flexible": same_number_text(flexible_number(completion), answer),
    }
    gold = parse_value(answer)
    if gold is None:
        scores["fine_tune_cot"] = cleansing.same_text(completion, answer)
        prediction = final_text(completion) or None
        return Grade(prediction, {**scores, "normalised": prediction == simple_text(answer)})
    scores["fine_tune_cot"] = cleansing.same_number(completion, answer, as_text=cleansed_as_text)
    value = final_value(completion)
    prediction = None if value is None else format_value(value)
    return Grade(prediction, {**scores, "normalised": value == gold})


def grade_yes_no(completion: str, answer: str) -> Grade:
    """Grade a completion whose final answer is yes or no (true and false mean the same).

    strict: the first `#### yes` or `#### no`; flexible: the last such word anywhere; normalised:
    the one such word after the last `####`, or without a marker the last one of the last line.
    """
    words, final = yes_no_words(completion), yes_no_words(final_text(completion))
    if MARKER in completion and len(set(final)) > 1:
        final = []
    prediction = final[-1] if final else None
    gold = yes_no(answer.strip())
    scores = {
        "strict": strict_yes_no(completion) == gold,
        "flexible": bool(words) and words[-1] == gold,
        "fine_tune_cot": cleansing.same_word(completion, gold),
        "normalised": prediction == gold,
    }
    return Grade(prediction, scores)
