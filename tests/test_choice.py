"""A dialogue as the message of a chat completion, against the slow obvious way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.ask.choice import Choice, Stops, Token

ROLES = ("decomposer", "solver")
TEXT = st.text("ab\n", max_size=4)


@given(st.lists(TEXT, max_size=12), st.lists(TEXT.filter(bool), max_size=3))
def test_stops_are_found_wherever_they_lie(texts, stops):
    passed, seen, found = [], "", Stops(stops)
    for text in texts:
        seen += text
        passed += found.pass_on(Token(text, 0.0))
        told = "".join(token.text for token in passed)
        places = [seen.index(stop) for stop in stops if stop in seen]
        if places:
            assert found.found in stops and told == seen[: min(places)]
            return
        # As much as can be told: what is held is the beginning of a stop, or a token with one.
        assert found.found is None and seen.startswith(told)
        begun = max((n for s in stops for n in range(1, len(s)) if seen.endswith(s[:n])), default=0)
        assert len(seen) - len(told) < begun + max(1, len(text), *map(len, texts))
        assert begun or told == seen
    assert "".join(token.text for token in [*passed, *found.rest()]) == seen


def turn(index, role, pieces, ended=True):
    return {"event": "turn", "index": index, "role": role, "pieces": pieces, "ended": ended}


def end(status="finished"):
    return {"event": "end", "answer": "4", "status": status, "note": "", "turns": []}


# A character of three tokens; a turn without text in the middle, one that ends the dialogue.
DIALOGUE = [
    turn(0, "decomposer", [["Legs", -1.0, 1]], ended=False),
    turn(0, "decomposer", [["Legs", -1.0, 1], ["?", -2.0, 1], ["", -0.5, 1]]),
    turn(1, "solver", [["", -0.25, 1]]),
    turn(2, "decomposer", [["€", -3.0, 3], ["", -0.125, 1]]),
    turn(3, "solver", [["4", -4.0, 1], ["", -0.5, 1]]),
    turn(4, "decomposer", [["", -0.75, 1]]),
]


def taken(events, roles=ROLES, stop=(), most=None):
    choice = Choice(roles, stop, most)
    told = [token for event in events for token in choice.take(event)]
    assert told == choice.tokens
    return choice


def test_by_hand():
    choice = taken([*DIALOGUE, end()])
    assert choice.text == "decomposer: Legs?\ndecomposer: €\nsolver: 4"
    assert [(token.text, token.log_probability) for token in choice.tokens] == [
        ("decomposer: ", 0.0), ("Legs", -1.0), ("?", -2.0), ("", -0.5), ("\n", -0.25),
        ("decomposer: ", 0.0), ("€", -3.0), ("\n", -0.125), ("solver: ", 0.0), ("4", -4.0),
        ("", -0.5), ("", -0.75),
    ]  # fmt: skip
    assert (choice.finish, choice.written, choice.end["answer"]) == ("stop", 11, "4")
    assert taken([*DIALOGUE, end("turn_cap")]).finish == "length"
    assert taken(DIALOGUE).finish is None


def test_a_lone_role_has_no_name():
    events = [turn(0, "solver", [["a", -1.0, 1], ["\n4", -1.0, 1], ["", -1.0, 1]]), end()]
    assert taken(events, roles=("solver",)).text == "a\n4"


@pytest.mark.parametrize(
    ("most", "text", "written"),
    [
        (1, "decomposer: Legs", 1),
        (3, "decomposer: Legs?", 3),
        (6, "decomposer: Legs?", 4),  # a character is not cut
        (9, "decomposer: Legs?\ndecomposer: €\nsolver: 4", 9),
        (10, "decomposer: Legs?\ndecomposer: €\nsolver: 4", 10),
    ],
)
def test_after_so_many_tokens(most, text, written):
    choice = taken([*DIALOGUE, end()], most=most)
    assert (choice.text, choice.written, choice.finish) == (text, written, "length")
    assert (choice.end["status"], choice.end["answer"]) == ("token_cap", None)
    assert sum(turn["tokens"] for turn in choice.end["turns"]) == written


def test_as_many_tokens_as_there_are_cut_nothing():
    assert taken([*DIALOGUE, end()], most=11).finish == "stop"
