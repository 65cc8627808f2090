"""Accuracy by size and steps: worked optima, a fit that finds what made the numbers."""

import dataclasses

import numpy as np
import pytest

from distill_jax.dialogues.votes import combine
from distill_jax.evaluation.length_fits import (
    Cell,
    accuracy,
    best_steps,
    cells,
    fit,
    optimal_steps,
)
from distill_jax.records import Prediction, Turn


def solved(steps, correct, size=4, role="solver"):
    text = "\n".join(["1 + 1 = 2"] * steps + ["#### 7"])
    return Prediction(
        "p", "Q?", "7", text, (Turn(role, text, 9, -1.0),), "7", correct, {}, "finished",
        {"steps": size},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "capability", "expected"),
    [(16, 4, 12.588376), (32, 4, 19.235361), (16, 8, 6.294188)],
)
def test_worked_optima(size, capability, expected):
    found = optimal_steps(size, capability, noise=200)
    assert found == pytest.approx(expected, abs=1e-6)
    # And against a search of the curve itself.
    grid = np.linspace(size / capability * 1.0001, 60, 200_000)
    highest = max(grid, key=lambda n: accuracy(size, n, capability, 200))
    assert found == pytest.approx(highest, abs=1e-3)


def test_laws():
    """More steps for larger problems, fewer for abler students; and steps of more operations for
    larger problems: 1.271 at size 16, 1.664 at 32."""
    assert 16 / optimal_steps(16, 4, 200) == pytest.approx(1.271014, abs=1e-6)
    assert 32 / optimal_steps(32, 4, 200) == pytest.approx(1.663603, abs=1e-6)
    for size, capability, noise in ((0, 4, 200), (200, 4, 200), (16, 0, 200)):
        with pytest.raises(ValueError):
            optimal_steps(size, capability, noise)


def test_a_step_beyond_the_capability_is_wrong():
    assert accuracy(16, 4, 4, 200) == 0.0
    assert accuracy(16, 8, 4, 200) == pytest.approx((0.5 * 0.92) ** 8)


def test_cells_count_all_samples_and_leave_out_what_has_no_length():
    one = combine([solved(2, True), solved(3, False), solved(2, False)])
    silent = dataclasses.replace(solved(0, True), turns=())
    unknown = dataclasses.replace(solved(2, True), attributes={})
    found = cells([one, solved(3, True), solved(3, True, size=2), silent, unknown])
    assert found == [Cell(2, 3, 1, 1), Cell(4, 2, 2, 1), Cell(4, 3, 2, 1)]


def test_best_steps_by_hand():
    found = [Cell(4, 3, 10, 5), Cell(4, 2, 4, 2), Cell(4, 5, 10, 4), Cell(6, 3, 5, 0)]
    assert best_steps(found) == {4: Cell(4, 2, 4, 2), 6: Cell(6, 3, 5, 0)}


def grid(scale, capability, noise, n=10**9):
    return [
        Cell(size, steps, n, round(n * scale * accuracy(size, steps, capability, noise)))
        for size in (8, 12, 16)
        for steps in range(3, 13)
        if accuracy(size, steps, capability, noise) > 1e-6
    ]


@pytest.mark.parametrize("numbers", [(1.0, 6.0, 300.0), (0.9, 4.0, 150.0), (0.7, 12.0, 900.0)])
def test_the_fit_finds_what_made_the_numbers(numbers):
    found = fit(grid(*numbers))
    assert found is not None
    assert (found.scale, found.capability, found.noise) == pytest.approx(numbers, rel=0.02)


def test_the_fit_of_drawn_answers():
    drawn = np.random.default_rng(0)
    rows = [
        Cell(c.size, c.steps, 150, int(drawn.binomial(150, accuracy(c.size, c.steps, 10, 300))))
        for c in grid(1.0, 10, 300)
    ]
    found = fit([*rows, Cell(20, 3, 150, 0)])
    assert found is not None
    assert found.left_out == 1 + sum(row.correct == 0 for row in rows)
    assert optimal_steps(16, found.capability, found.noise) == pytest.approx(
        optimal_steps(16, 10, 300), rel=0.15
    )


def test_too_little_for_a_fit():
    assert fit([]) is None
    assert fit([Cell(size, size, 100, 50) for size in range(1, 9)]) is None  # one length each
    assert fit([Cell(4, steps, 100, 0) for steps in range(1, 9)]) is None
    # Chance, whatever the length: neither capability nor noise plays a part.
    assert fit([Cell(s, n, 100, 10) for s in (3, 4, 5, 6) for n in range(1, s + 1)]) is None
