"""Uncertainty, thresholds and deferral curves by hand, and against slow obvious versions."""

import dataclasses
import hashlib
import itertools
import math

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.dialogues.votes import combine
from distill_jax.evaluation import deferral
from distill_jax.records import Prediction, Turn

CONFIDENCE = [0.99, 0.95, 0.80, 0.60, 0.40, 0.30]
UNSURE = [1 - confidence for confidence in CONFIDENCE]
SMALL = [bool(right) for right in (1, 1, 0, 1, 0, 1)]
LARGE = [bool(right) for right in (1, 0, 1, 1, 1, 1)]
IDS = [f"test/{i}" for i in range(6)]

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=8,
)


def prediction(turns, answer="7"):
    """`turns`: (role, tokens, log probability), or also (entropy, margin)."""
    spoken = tuple(Turn(role, "7", *values) for role, *values in turns)
    return Prediction("p", "Q?", "7", "7", spoken, answer, answer == "7", {}, "finished")


def test_uncertainties_by_hand():
    spoken = prediction(
        [("decomposer", 2, -0.5), ("solver", 3, -1.0), ("decomposer", 1, -0.25), ("solver", 4, -2)]
    )
    assert deferral.of_answer(spoken) == pytest.approx(1 - math.exp(-2))
    assert deferral.of_answer_per_token(spoken) == pytest.approx(1 - math.exp(-0.5))
    assert deferral.of_transcript(spoken) == pytest.approx(1 - math.exp(-3.75))
    assert deferral.of_transcript_per_token(spoken) == pytest.approx(1 - math.exp(-0.375))
    # Small ones keep their digits: 1 - exp(x) would lose them.
    assert deferral.of_answer(prediction([("solver", 1, -1e-18)])) == 1e-18


@pytest.mark.parametrize("by", [by for by in deferral.UNCERTAINTIES if by != "votes"])
def test_an_answer_that_cannot_be_read_is_not_trusted(by):
    sure = [("solver", 1, -0.001, 0.001, 0.999)]
    assert deferral.UNCERTAINTIES[by](prediction(sure, answer=None)) == 1.0
    assert deferral.UNCERTAINTIES[by](prediction([])) == 1.0


def test_entropy_and_margin_by_hand():
    """Four tokens, two of them a choice of two, one of three and the end mark sure."""
    two, third = math.log(2), -sum(p * math.log(p) for p in (0.7, 0.2, 0.1))
    spoken = prediction(
        [("solver", 9, -1.0, 9.0, 0.0), ("solver", 4, -1.0, 2 * two + third, 0 + 0 + 0.5 + 1)]
    )
    found = deferral.uncertainties(spoken)
    assert found["entropy"] == pytest.approx(1 - math.exp(-(2 * two + 0.801819) / 4), abs=1e-6)
    assert found["margin"] == pytest.approx(1 - 1.5 / 4)
    toss = prediction([("solver", 3, -3 * two, 3 * two, 0.0)])
    assert deferral.of_entropy(toss) == pytest.approx(0.5) and deferral.of_margin(toss) == 1.0
    # Rounding may leave a little more than one, or less than nothing.
    sure = prediction([("solver", 3, -0.0, -1e-7, 3.0000002)])
    assert deferral.of_entropy(sure) == deferral.of_margin(sure) == 0.0


@pytest.mark.parametrize("by", ["entropy", "margin"])
def test_of_turns_that_do_not_say_it(by):
    old = prediction([("solver", 3, -1.0)])
    assert not deferral.is_known(by, old) and by not in deferral.uncertainties(old)
    with pytest.raises(ValueError, match="do not say how sure"):
        deferral.UNCERTAINTIES[by](old)


def test_disagreement():
    def voted(*answers):
        return combine([prediction([("solver", 1, -1.0)], answer) for answer in answers])

    assert deferral.of_votes(voted("7", "7", "8", None)) == 0.5
    assert deferral.of_votes(voted("7", "7")) == 0.0
    assert deferral.of_votes(voted(None, None)) == 1.0
    with pytest.raises(ValueError):
        deferral.of_votes(prediction([("solver", 1, -1.0)]))


def test_curve_by_hand():
    found = deferral.curve(UNSURE, SMALL, LARGE, IDS)
    assert found.switch == pytest.approx([4 / 6, 4 / 6, 5 / 6, 5 / 6, 6 / 6, 5 / 6, 5 / 6])
    assert found.random == pytest.approx([(4 + j / 6) / 6 for j in range(7)])
    assert found.oracle == pytest.approx([4 / 6, 5 / 6, 1, 1, 1, 1, 5 / 6])
    areas = [deferral.area(values) for values in found]
    assert areas == pytest.approx([0.819444, 0.75, 0.930556], abs=1e-6)
    assert deferral.share_of_oracle(found) == pytest.approx(0.384615, abs=1e-6)


def test_gain_by_halves_of_certainty():
    certain, unsure = deferral.gain_by_uncertainty(UNSURE, SMALL, LARGE, IDS, groups=2)
    assert (certain["n"], certain["gain"], unsure["gain"]) == (3, 0, pytest.approx(1 / 3))
    assert certain["uncertainty"] == pytest.approx((0.01 + 0.05 + 0.2) / 3)
    assert len(deferral.gain_by_uncertainty(UNSURE, SMALL, LARGE, IDS)) == 6


def test_choices_by_hand():
    found = deferral.choices(UNSURE, SMALL, LARGE)
    assert [c.accuracy for c in found] == pytest.approx(
        [4 / 6, 4 / 6, 5 / 6, 5 / 6, 1, 5 / 6, 5 / 6]
    )
    best = deferral.best(found)
    assert (best.deferred, best.accuracy) == (pytest.approx(4 / 6), 1.0)
    assert best.threshold == pytest.approx((0.05 + 0.2) / 2)  # between the neighbours
    assert found[0].threshold == deferral.NONE and found[-1].threshold == deferral.ALL
    assert deferral.at_share(found, 0.5).deferred == 0.5
    assert deferral.at_share(found, 0.49).deferred == pytest.approx(2 / 6)
    assert deferral.at_share(found, 0.0).threshold == deferral.NONE
    assert deferral.at_share(found, 1.0).threshold == deferral.ALL


def test_of_equally_accurate_choices_the_cheapest():
    found = deferral.choices([0.1, 0.9], [True, True], [True, True])
    assert deferral.best(found).deferred == 0.0
    with pytest.raises(ValueError):
        deferral.choices([], [], [])


@given(ROWS)
def test_choices_against_applying_them(rows):
    unsure, small, large = map(list, zip(*rows, strict=True))
    found = deferral.choices(unsure, small, large)
    for choice in found:
        asked = [each > choice.threshold for each in unsure]
        assert choice.deferred == sum(asked) / len(rows)
        right = [b if ask else a for a, b, ask in zip(small, large, asked, strict=True)]
        assert choice.accuracy == sum(right) / len(rows)
    # Every split of the distinct values: none, after each of them. Only problems that are as
    # unsure as can be, unread answers, are not split from "none" at threshold 1.
    assert len(found) == len(set(unsure)) + 1


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_threshold_tells_any_two_numbers_apart(first, second):
    unsure = [first, second]
    for choice in deferral.choices(unsure, [False, False], [True, True]):
        assert sum(each > choice.threshold for each in unsure) == choice.deferred * 2


@given(ROWS)
def test_curve_against_deferring_one_by_one(rows):
    unsure, small, large = map(list, zip(*rows, strict=True))
    ids = [f"p{i}" for i in range(len(rows))]
    found, n = deferral.curve(unsure, small, large, ids), len(rows)
    order = sorted(
        range(n), key=lambda i: (-unsure[i], hashlib.sha256(ids[i].encode()).hexdigest())
    )
    for j in range(n + 1):
        asked = set(order[:j])
        right = sum(large[i] if i in asked else small[i] for i in range(n))
        assert found.switch[j] == pytest.approx(right / n)
        subsets = [
            sum(large[i] if i in chosen else small[i] for i in range(n)) / n
            for chosen in itertools.combinations(range(n), j)
        ]
        assert found.random[j] == pytest.approx(sum(subsets) / len(subsets))
        assert found.oracle[j] == pytest.approx(max(subsets))


def test_ties_do_not_follow_the_order_of_the_problems():
    """The gains lie at the end of the file; equally unsure problems come in no such order."""
    n = 200
    ids, small = [f"p{i}" for i in range(n)], [False] * n
    large = [i >= n // 2 for i in range(n)]
    found = deferral.curve([0.5] * n, small, large, ids)
    assert deferral.area(found.switch) == pytest.approx(deferral.area(found.random), abs=0.05)
    turned = deferral.curve([0.5] * n, small[::-1], large[::-1], ids[::-1])
    assert turned.switch == found.switch


def test_random_interval_against_all_orders():
    areas = []
    for order in itertools.permutations(range(6)):
        rights = [sum(SMALL)]
        for i in order:
            rights.append(rights[-1] + LARGE[i] - SMALL[i])
        areas.append(deferral.area([right / 6 for right in rights]))
    areas.sort()
    low, high = deferral.random_interval(SMALL, LARGE)
    assert areas[0] <= low <= areas[len(areas) // 10]
    assert areas[-len(areas) // 10] <= high <= areas[-1]
    assert sum(areas) / len(areas) == pytest.approx(0.75)


@settings(deadline=None)
@given(ROWS.filter(lambda rows: len(rows) > 2))
def test_rank_correlation_against_scipy(rows):
    unsure, small, large = map(list, zip(*rows, strict=True))
    gains = [b - a for a, b in zip(small, large, strict=True)]
    found = deferral.rank_correlation(unsure, small, large)
    if len(set(unsure)) == 1 or len(set(gains)) == 1:
        assert found is None
        return
    assert found is not None
    assert found[0] == pytest.approx(scipy.stats.spearmanr(unsure, gains).statistic)
    assert -1 - 1e-9 <= found[1] <= found[2] <= 1 + 1e-9


def test_the_interval_of_the_correlation_finds_a_gain_that_grows():
    n = 300
    unsure = [i / n for i in range(n)]
    large = [True] * n
    small = [(7 * i) % n >= 0.8 * i for i in range(n)]  # ever more often wrong
    found = deferral.rank_correlation(unsure, small, large)
    assert found is not None and 0 < found[1] < found[0] < found[2]


def test_what_the_report_says():
    rows = [
        dataclasses.replace(prediction([("solver", 1, math.log(c))]), id=i, correct=right)
        for c, i, right in zip(CONFIDENCE, IDS, SMALL, strict=True)
    ]
    large = [
        dataclasses.replace(row, correct=right) for row, right in zip(rows, LARGE, strict=True)
    ]
    measured = deferral.measure([deferral.of_answer(row) for row in rows], rows, large)
    assert measured["small_accuracy"] == pytest.approx(4 / 6)
    assert measured["large_accuracy"] == pytest.approx(5 / 6)
    assert [point["deferred"] for point in measured["curve"]] == [j / 6 for j in range(7)]
    assert measured["area"]["switch"] == pytest.approx(0.819444, abs=1e-6)
    assert measured["random_interval"][0] < 0.75 < measured["random_interval"][1]
