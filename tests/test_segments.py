"""Chains cut by entropy: the worked example by hand, and that nothing is lost."""

import doctest
import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.annotations import segments
from distill_jax.annotations.segments import Segment
from distill_jax.records import Step

CHAIN = (
    "Kim has 4 books. 3 of the books break, that makes 4 - 3 = 1. Now Kim has 1.5 books.\n"
    "The answer is 1."
)


def split(text):
    """Tokens as GPT-2 cuts English: words with the space before them, signs, line ends."""
    tokens = re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^A-Za-z0-9\s]|\s", text)
    assert "".join(tokens) == text
    return tokens


def texts(chain):
    return [chain[piece.start : piece.end] for piece in segments.pieces(chain)]


def test_the_examples_of_the_docstrings():
    result = doctest.testmod(segments)
    assert result.attempted >= 4 and result.failed == 0


def test_pieces_by_hand():
    assert texts(CHAIN) == [
        "Kim has 4 books. ",
        "3 of the books break, ",
        "that makes 4 - 3 = 1. ",
        "Now Kim has 1.5 books.\n",
        "The answer is 1.",
    ]
    assert [piece.words for piece in segments.pieces(CHAIN)] == [4, 5, 7, 5, 4]  # all above 3


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("", []),
        ("  ", ["  "]),
        (". ,\n", [". ,\n"]),
        ("no end mark", ["no end mark"]),
        ("It costs $1,000, or .5 a day", ["It costs $1,000, ", "or .", "5 a day"]),
        ("So 5. Then 6.", ["So 5. ", "Then 6."]),
        ("Well... yes", ["Well... ", "yes"]),
        ("\n\nFirst\n\n  second", ["\n\nFirst\n\n  ", "second"]),
        ("a.b", ["a.", "b"]),
    ],
)
def test_where_a_chain_is_cut(chain, expected):
    assert texts(chain) == expected


def test_pieces_are_those_of_the_papers_code():
    """Its three splits one after the other, on a chain without commas inside of numbers."""
    found = re.split(r"(?<!\d)\.|\.(?!\d|\.)", CHAIN)
    found = [part for each in found for line in each.split("\n") for part in line.split(",")]
    expected = [part.strip() for part in found if part.strip()]
    assert [text.strip().rstrip(".,") for text in texts(CHAIN)] == expected


def test_kinds_by_hand():
    assert segments.abstractive([2.0, 1.0, 6.0, 3.0]) == [False, False, True, False]
    assert segments.abstractive([2.0, 1.0, 4.2, 3.0], ratio=2.0) == [False] * 4
    assert segments.abstractive([0.0, 0.0]) == [False, False]
    assert segments.abstractive([]) == []


def test_entropies_of_pieces_by_hand():
    tokens = [" Kim", " left", ".", " Now", " 1", ".", "5", " stay", ".", "\n", "So", "", "!"]
    entropies = [1.0, 2.0, 0.5, 4.0, 8.0, 16.0, 32.0, 64.0, 0.25, 0.125, 128.0, 256.0, 512.0]
    cut = segments.pieces("".join(tokens))
    # The space of ` Now` ends the first piece; its token is of the second, as `\n` is.
    assert segments.piece_entropies(tokens, entropies, cut) == [3.5, 124.375, 896.0]
    with pytest.raises(ValueError):
        segments.piece_entropies(tokens, entropies[1:], cut)


def test_segments_by_hand():
    """Entropies 2, 1, 6, 3 of four pieces: the third alone is above 4.2."""
    chain = CHAIN.partition("\n")[0]
    tokens = split(chain)
    cut = segments.pieces(chain)
    firsts = [min(i for i in range(len(tokens)) if len("".join(tokens[: i + 1])) > piece.start + 1)
              for piece in cut]  # fmt: skip
    entropies = [0.0] * len(tokens)
    for first, entropy in zip(firsts, (2.0, 1.0, 6.0, 3.0), strict=True):
        entropies[first] = entropy
    assert segments.piece_entropies(tokens, entropies, cut) == [2.0, 1.0, 6.0, 3.0]
    found = segments.segments(tokens, entropies)
    assert found == [
        Segment("Kim has 4 books. 3 of the books break, ", False),
        Segment("that makes 4 - 3 = 1. ", True),
        Segment("Now Kim has 1.5 books.", False),
    ]
    assert segments.steps_of(found) == (
        Step(
            "Kim has 4 books. 3 of the books break,", "that makes 4 - 3 = 1. Now Kim has 1.5 books."
        ),
    )
    # Per word: 0.5, 0.2, 0.857, 0.6; the mean is 0.539, the threshold 0.755.
    assert segments.segments(tokens, entropies, per_word=True) == found
    # A threshold of 2.4 makes two of them abstractive, which are one segment.
    assert segments.segments(tokens, entropies, ratio=0.8)[-1] == Segment(
        "that makes 4 - 3 = 1. Now Kim has 1.5 books.", True
    )


def test_short_pieces_are_dropped_before_the_mean_is_taken():
    tokens = ["Yes", ", ", "Kim has four books", ". ", "That makes four minus three", "."]
    entropies = [90.0, 0.0, 1.0, 0.0, 3.0, 0.0]
    found = segments.segments(tokens, entropies, least_words=4)
    assert found == [
        Segment("Kim has four books. ", False),
        Segment("That makes four minus three.", True),
    ]
    assert segments.rejoined(found) == "Kim has four books. That makes four minus three."
    assert segments.segments(tokens, entropies)[0] == Segment("Yes, ", True)
    assert segments.segments(["Yes", "."], [1.0, 1.0], least_words=4) == []


@pytest.mark.parametrize(
    ("kinds", "steps"),
    [
        ("", ()),
        ("e", (Step("", "0"),)),
        ("a", (Step("", "0"),)),
        ("ea", (Step("0", "1"),)),
        ("eea", (Step("0 1", "2"),)),
        ("ae", (Step("", "0 1"),)),
        ("eae", (Step("0", "1 2"),)),
        ("aea", (Step("", "0"), Step("1", "2"))),
        ("eaea", (Step("0", "1"), Step("2", "3"))),
    ],
)
def test_steps_by_hand(kinds, steps):
    cut = [Segment(f"{number} ", kind == "a") for number, kind in enumerate(kinds)]
    assert segments.steps_of(cut) == steps


CHAINS = st.text("ab1 .,\n", max_size=30)


@given(CHAINS)
def test_pieces_follow_each_other_without_gaps(chain):
    cut = segments.pieces(chain)
    assert "".join(texts(chain)) == chain
    assert all(piece.words for piece in cut) or not chain.strip(" .,\n")
    for left, right in itertools.pairwise(cut):
        assert left.end == right.start and chain[left.start : left.end].strip(" \n")


@given(CHAINS, st.data())
def test_segments_and_steps_make_up_the_chain_again(chain, data):
    ends = sorted(data.draw(st.sets(st.integers(0, len(chain)), max_size=8)) | {len(chain)})
    tokens = [chain[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    sizes = st.floats(0.0, 9.0)
    entropies = data.draw(st.lists(sizes, min_size=len(tokens), max_size=len(tokens)))
    sums = segments.piece_entropies(tokens, entropies, segments.pieces(chain))
    if chain:
        assert math.isclose(math.fsum(sums), math.fsum(entropies), abs_tol=1e-9)
    cut = segments.segments(tokens, entropies, ratio=data.draw(st.floats(0.1, 2.0)))
    assert "".join(segment.text for segment in cut) == chain
    assert all(one.abstractive != other.abstractive for one, other in itertools.pairwise(cut))
    written = "".join((step.subquestion or "") + step.solution for step in segments.steps_of(cut))
    assert re.sub(r"\s", "", written) == re.sub(r"\s", "", chain)


@given(CHAINS.filter(lambda chain: chain.strip(" .,\n")), st.floats(1.0, 2.0))
def test_a_chain_of_equal_entropies_only_restates(chain, ratio):
    count = len(segments.pieces(chain))
    assert segments.abstractive([2.0] * count, ratio) == [False] * count
