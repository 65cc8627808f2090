"""Pairs of a better and a worse answer."""

import pytest

from distill_jax.annotations.duplicates import jaccard
from distill_jax.annotations.preferences import Answer, pairs_of, pairs_of_all
from distill_jax.records import Prediction, Sample, Turn


def sample(text, correct, status="finished", index=0):
    turns = (Turn("solver", text, 3, -1.0),)
    return Sample(index, text, turns, "1", correct, {}, status, -1.0, 3)


def prediction(*samples, id="a"):
    first = samples[0]
    return Prediction(
        id, f"Question {id}?", "1", first.completion, first.turns, first.prediction, first.correct,
        {}, first.status, {}, tuple(samples),
    )  # fmt: skip


def texts(pair):
    return pair.chosen.turns[0][1], pair.rejected.turns[0][1]


def test_similarity_of_the_worked_example():
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5


def test_the_least_similar_pairs_come_first_and_near_copies_are_left_out():
    asked = prediction(
        sample("a b c", True), sample("a c b", True), sample("x y z", True),
        sample("a b d", False), sample("u v w", False), sample("u v w !", False),
    )  # fmt: skip
    # By hand: "a c b" copies "a b c"; "u v w !" shares 3 of 4 tokens with "u v w".
    pairs = pairs_of(asked, near=0.7, most=4)
    assert [texts(pair) for pair in pairs] == [
        ("a b c", "u v w"), ("x y z", "a b d"), ("x y z", "u v w"), ("a b c", "a b d"),
    ]  # fmt: skip
    assert [pair.similarity for pair in pairs] == [0.0, 0.0, 0.0, 0.5]
    assert pairs_of(asked, near=0.7, most=3) == pairs[:3]
    more = pairs_of(asked, near=0.8, most=9)
    assert ("x y z", "u v w !") in [texts(pair) for pair in more]


def test_what_is_neither_better_nor_worse_is_in_no_pair():
    cut_off = sample("a b", True, status="token_cap")
    wrong = sample("c d", False, status="token_cap")
    assert pairs_of(prediction(cut_off, wrong)) == []
    assert pairs_of(prediction(sample("a b", True))) == []
    [pair] = pairs_of(prediction(cut_off, wrong), gold=[[("solver", "e f")]])
    assert pair.chosen == Answer([("solver", "e f")])
    assert pair.rejected == Answer([("solver", "c d")], finished=False)
    # Who ends without an answer is to unlearn that end.
    [pair] = pairs_of(prediction(sample("a b", True), sample("c d", False, status="unparsed")))
    assert pair.rejected == Answer([("solver", "c d")], finished=True)


def test_predictions_of_one_problem_in_several_files_are_taken_together():
    first, second = prediction(sample("a b", True)), prediction(sample("c d", False))
    other = prediction(sample("c d", False), id="b")
    [pair] = pairs_of_all([first, other, second], {}, near=0.7, most=3)
    assert pair.id == "a" and texts(pair) == ("a b", "c d")
    both = pairs_of_all([first, other, second], {"b": [("solver", "g h")]}, near=0.7, most=3)
    assert [pair.id for pair in both] == ["a", "b"]


@pytest.mark.parametrize("right, expected", [(0.2, 0.672), (0.5, 0.938), (0.8, 0.672)])
def test_how_many_of_five_samples_give_a_pair(right, expected):
    """The share of problems with a pair if each sample is right by chance: both kinds are there."""
    found = sum(
        right ** bin(drawn).count("1") * (1 - right) ** (5 - bin(drawn).count("1"))
        for drawn in range(32)
        if pairs_of(
            prediction(*(sample(f"{place} words", bool(drawn >> place & 1)) for place in range(5))),
            near=1.1,
        )
    )
    assert found == pytest.approx(expected, abs=5e-4)
