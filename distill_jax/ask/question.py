"""Checks questions; says how a dialogue ended, who answered and what it cost."""

from collections.abc import Callable, Mapping
from typing import Any

from distill_jax.dialogues.sampler import LEAST_TOP_P, TEMPERATURES
from distill_jax.errors import UserError
from distill_jax.records import Cost, shorten
from distill_jax.run.cascade import Cascade
from distill_jax.run.solution import Solution, compared
from distill_jax.run.students import Students

Answering = Students | Cascade

# Keys of config.sampling that a request may set, and their ranges. Compilation depends only on
# whether tokens are drawn, and whether from all tokens.
RANGES: dict[str, tuple[type | tuple[type, ...], Callable[[float], bool], str]] = {
    "temperature": ((int, float), lambda value: 0 <= value <= 2, "a number from 0 to 2"),
    "top_p": ((int, float), lambda value: 0 < value <= 1, "a number above 0, at most 1"),
    "seed": (int, lambda value: 0 <= value < 2**63, "a whole number from 0 to 2^63 - 1"),
}


def check_question(question: str, students: Answering) -> str:
    """The question without white space around it.

    Raises UserError if it is empty, not unicode, or longer than the students can read.
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
    """The keys of RANGES that a request has and that are not null: how to draw its tokens.

    Raises UserError, which names the key, if a value is not a number or out of range.
    """
    settings = {}
    for key, (kind, is_in_range, range_in_words) in RANGES.items():
        value = body.get(key)
        if value is None:
            continue
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        if not is_number or not is_in_range(value):
            raise UserError(f"{key}: {range_in_words}, not {shorten(repr(value))}")
        settings[key] = value
    # Programs write very small values for "the most likely token", smaller than float32 can hold.
    if settings.get("temperature", 1.0) < TEMPERATURES[0]:
        settings["temperature"] = 0.0
    if "top_p" in settings:
        settings["top_p"] = max(settings["top_p"], LEAST_TOP_P)
    return settings


def ending(solution: Solution, students: Answering) -> str:
    """Why a dialogue has no regular end, in words; "" if it has one."""
    if solution.status == "finished":
        return ""
    if solution.status == "unparsed":
        return "no answer can be read in the last solution"
    if isinstance(students, Cascade):
        students = students.students[solution.answered_by]
    sampling = students.sampling
    return {
        "turn_cap": f"stopped after {sampling.max_turns} turns, sampling.max_turns",
        "token_cap": f"stopped: a turn has {sampling.max_turn_tokens} tokens or the dialogue "
        f"{sampling.max_tokens}, sampling.max_turn_tokens and max_tokens",
        "context": f"stopped: the students see no more than {students.context} tokens",
        "prompt_too_long": "the question is too long",
    }[solution.status]


def credit(solution: Solution, cascade: Cascade) -> str:
    """Who answered, how sure the small students were, and what it cost, in one line."""
    rule, first = cascade.rule, solution.first or solution
    said = [compared(rule.by, first.uncertainties[rule.by], rule.threshold)]
    said += [f"{who}: {_in_words(cost)}" for who, cost in solution.costs.items()]
    said += filter(None, [solution.unanswered])
    return f"{solution.answered_by} ({'; '.join(said)})"


def _in_words(cost: Cost) -> str:
    """The operations of a teacher are not known."""
    read = f"{cost.flops:.3g} FLOPs" if cost.flops else f"{cost.prompt_tokens} read"
    return f"{cost.tokens} tokens written, {read}"
