"""Dialogues that were stopped in what is given of them, worked out by hand."""

import pytest

from distill_jax.evaluation.given import ended_in_given
from distill_jax.records import Turn
from distill_jax.sampling.plan import FREE_TURN, HOLD, DialoguePlan

MARK, END = 10, 11
PLAN = DialoguePlan((), (0, 1), (1, 0), (True,) * 2, (True, False), MARK, END, 12, 9, 9, 9)
HISTORY = (1, 2, MARK, 3, 4, 5, MARK, 6, MARK, FREE_TURN, END)  # turns of 3, 4 and 2 tokens
SUBQUESTIONS = (1, 2, MARK, FREE_TURN, 3, 4, MARK, FREE_TURN, END)
EMPTY = (MARK, FREE_TURN, HOLD)


@pytest.mark.parametrize(
    ("script", "tokens", "status", "expected"),
    [
        # Within a given turn, at its end, and after one token of the solver's own.
        (HISTORY, (3, 2), "token_cap", True),
        (HISTORY, (3, 4), "turn_cap", True),
        (HISTORY, (3, 4, 2), "context", True),
        (HISTORY, (3, 4, 2, 1), "token_cap", False),
        (HISTORY, (3, 4, 2, 7), "turn_cap", False),
        (HISTORY, (3, 4, 2, 7, 1), "finished", False),
        (HISTORY, (3, 4, 2, 7, 1), "unparsed", False),
        (HISTORY, (), "prompt_too_long", False),
        # The first subquestion, the solver's answer, the second subquestion.
        (SUBQUESTIONS, (2,), "token_cap", True),
        (SUBQUESTIONS, (3, 5), "token_cap", False),
        (SUBQUESTIONS, (3, 5, 2), "token_cap", True),
        (SUBQUESTIONS, (3, 5, 3, 5, 1), "finished", False),
        (EMPTY, (1, 5, 1, 5, 1), "turn_cap", False),
        # A lone role, which goes on in its own text.
        ((1, 2, 3), (3,), "token_cap", True),
        ((1, 2, 3), (4,), "token_cap", False),
        ((), (3, 4), "token_cap", False),
    ],
)
def test_by_hand(script, tokens, status, expected):
    turns = [Turn("solver", "text", count, -1.0) for count in tokens]
    assert ended_in_given(script, turns, status, PLAN) is expected
