"""Groups of problems by hand."""

import pytest

from distill_jax.evaluation import breakdowns
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Prediction, Turn


def prediction(correct, tokens=(1,), **attributes):
    turns = tuple(Turn("solver", "", n, -1.0) for n in tokens)
    return Prediction("p", "Q?", "1", "", turns, "1", correct, {}, "finished", attributes)


def test_by_attribute():
    predictions = [
        prediction(True, steps=10),
        prediction(False, steps=2),
        prediction(True, steps=2),
        prediction(True),
        prediction(True, steps=None),
    ]
    two, ten = breakdowns.by_attribute(predictions, "steps")
    assert two == ("2", 2, 1, 0.5, wilson_interval(1, 2))
    assert ten == ("10", 1, 1, 1.0, wilson_interval(1, 1))
    assert breakdowns.by_attribute(predictions, "type") == []


def test_by_attribute_of_words_and_numbers():
    predictions = [prediction(True, type=kind) for kind in ("sub", 3, "add", 1)]
    assert [g.name for g in breakdowns.by_attribute(predictions, "type")] == [
        "1", "3", "add", "sub",
    ]  # fmt: skip


def test_quartiles_of_length():
    predictions = [prediction(n > 4, (n, 1)) for n in (8, 1, 2, 3, 4, 5, 6, 7)]
    groups = breakdowns.by_length(predictions)
    names = ["2 to 3", "4 to 5", "6 to 7", "8 to 9"]
    assert [(g.name, g.n, g.correct) for g in groups] == [
        (name, 2, right) for name, right in zip(names, (0, 0, 2, 2), strict=True)
    ]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([], []), ([5], [1]), ([3, 3, 3, 3, 3], [5]), ([1, 1, 1, 9], [3, 1]), ([1, 2, 3], [1, 1, 1])],
)
def test_few_or_equal_lengths(lengths, expected):
    groups = breakdowns.by_length([prediction(True, (n,)) for n in lengths])
    assert [group.n for group in groups] == expected


def test_types():
    predictions = [
        prediction(True, steps=i, kind=("add", "sub")[i % 2], only="same", id=f"{i}")
        for i in range(20)
    ]
    assert breakdowns.types(predictions) == ["kind"]
    assert breakdowns.types([]) == []
