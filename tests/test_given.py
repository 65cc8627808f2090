"""Dialogues that were stopped in what is given of them, worked out by hand."""

import dataclasses

import pytest

from distill_jax.dialogues.given import ended_in_given, shuffle
from distill_jax.records import Annotation, Step, Turn
from distill_jax.sampling.turn_rules import FREE_TURN, HOLD, TurnRules

MARK, END = 10, 11
PLAN = TurnRules((), (0, 1), (1, 0), (True,) * 2, (True, False), MARK, END, 12, 9, 9, 9)
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


def test_headers_are_no_part_of_what_is_given():
    """Turns of a chat format have headers, which a turn's tokens do not count."""
    headed = dataclasses.replace(PLAN, openings=((7, 7, 7, 7), (8, 8, 8, 8)))
    assert len(headed.opening(0)) == 4
    for tokens in range(1, 6):
        turns = [Turn("solver", "text", count, -1.0) for count in (3, 5, 3, tokens)]
        assert not ended_in_given(SUBQUESTIONS, turns, "turn_cap", headed)
    turns = [Turn("solver", "text", count, -1.0) for count in (3, 5, 2)]
    assert ended_in_given(SUBQUESTIONS, turns, "token_cap", headed)


def asked(questions, seed=0, id="task/test/0"):
    steps = tuple(Step(question, f"solution {i}") for i, question in enumerate(questions))
    shuffled = shuffle(Annotation(id, "q", "7", steps, {"kind": "gold"}), seed)
    assert [step.solution for step in shuffled.steps] == [step.solution for step in steps]
    return "".join(str(step.subquestion) for step in shuffled.steps)


def test_shuffled_subquestions_are_never_in_the_gold_order():
    assert asked("a") == "a" and asked("") == ""
    for number in range(50):
        assert asked("ab", id=f"p/{number}") == "ba"
        order = asked("abc", id=f"p/{number}")
        assert order != "abc" and sorted(order) == ["a", "b", "c"]


def test_the_shuffled_order_is_drawn_by_seed_and_problem_and_stays_the_same():
    ids = [f"p/{number}" for number in range(60)]
    orders = [asked("abc", id=id) for id in ids]
    # By `printf 0/p/1/0/2 | sha256sum` and so on: of problem 0 the first draw, 13ee, 6e70, c909,
    # is the gold order, and the second is bea6, 5749, 9041.
    assert orders[:4] == ["bca", "bac", "acb", "bca"]
    assert orders == [asked("abc", id=id) for id in ids]
    assert orders != [asked("abc", seed=1, id=id) for id in ids]
    assert set(orders) == {"acb", "bac", "bca", "cab", "cba"}
