"""What is asked, checked, and what is said about how its dialogue ended."""

from collections.abc import Mapping
from typing import Any

from distill_jax.errors import UserError
from distill_jax.run.students import Solution, Students

# Keys of config.sampling that a request may set, with their ranges: no compilation
# depends on them, but for whether anything is drawn, and from all tokens or fewer.
RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "seed": (0, 2**31)}


def check_question(question: str, students: Students) -> str:
    """The question without white space around it.

    Raises UserError where it is empty, not unicode, or longer than the students can read.
    """
    question = question.strip()
    if not question:
        raise UserError("the question is empty")
    tokens, context = students.count_tokens(question), students.context
    if tokens > context:
        raise UserError(
            f"the question has {tokens} tokens and the students read at most {context}: shorten it"
        )
    return question


def drawing(body: Mapping[str, Any]) -> dict[str, Any]:
    """How a request wants its tokens drawn: those of RANGES that it has and that are not null.

    Raises UserError naming the key of a value that is no number or out of its range.
    """
    settings = {}
    for key, (low, high) in RANGES.items():
        value = body.get(key)
        if value is None:
            continue
        kind = int if isinstance(low, int) else (int, float)
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (key == "top_p" and not value):
            raise UserError(f"{key}: a number from {low} to {high}, not {value!r}")
        settings[key] = value
    return settings


def ending(solution: Solution, students: Students) -> str:
    """Why a dialogue has no regular end, in words; "" where it has one."""
    sampling = students.sampling
    return {
        "finished": "",
        "unparsed": "no answer can be read in the last solution",
        "turn_cap": f"stopped after {sampling.max_turns} turns, sampling.max_turns",
        "token_cap": f"stopped: a turn has {sampling.max_turn_tokens} tokens or the dialogue "
        f"{sampling.max_tokens}, sampling.max_turn_tokens and max_tokens",
        "context": f"stopped: the students see no more than {students.context} tokens",
        "prompt_too_long": "the question is too long",
    }[solution.status]
