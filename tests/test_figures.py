"""Plots: what is drawn, in which colours, and how big."""

import functools
import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.evaluation import figures, pareto

loss_figure = functools.partial(figures.curve_figure, "loss", "training loss")


def points(svg, color):
    """The corners of the line of that colour."""
    (path,) = re.findall(rf'd="([^"]*)"[^>]*fill: none; stroke: var\(--series-{color}\)', svg)
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)]


def test_a_line_per_student_in_its_colour():
    curves = {"a": [(0, 1.0), (10, 3.0), (20, 2.0)], "empty": [], "b": [(0, 3.0), (20, 3.0)]}
    svg = str(loss_figure(curves, {"a": 4, "b": 1, "empty": 2}))
    a, b = points(svg, 4), points(svg, 1)
    assert len(a) == 3
    assert a[1][0] - a[0][0] == pytest.approx(a[2][0] - a[1][0])
    # y grows downwards in SVG.
    assert a[1][1] == b[0][1] == b[1][1] < a[2][1] < a[0][1]
    assert "--series-2" not in svg
    assert "aria-label='Training loss against step: a, b'" in svg


def test_nothing_to_draw():
    assert loss_figure({}, {}) is None
    assert loss_figure({"a": []}, {"a": 0}) is None
    assert figures.steps_figure([]) is None


def test_long_curves_are_means_of_neighbours():
    curve = [(step, 1.0 + step % 7) for step in range(100_000)]
    assert len(loss_figure({"a": curve}, {"a": 0})) < 50_000
    assert figures._thinned([(1, 1.0), (2, 5.0)] * 500) == [(1.5, 3.0)] * 500
    assert figures._thinned([(1, 1.0), (2, 5.0)]) == [(1, 1.0), (2, 5.0)]


def test_interval_by_steps():
    row = {"steps": 3, "accuracy": 0.5, "interval": [0.25, 0.75]}
    svg = str(figures.steps_figure([row, {**row, "steps": 4, "interval": [0.5, 0.5]}]))
    lines = re.findall(r'd="M (\S+) (\S+) \nL (\S+) (\S+) \n"[^>]*--series-1', svg)
    assert len(lines) == 2
    heights = [float(line[1]) - float(line[3]) for line in lines]
    assert heights[0] > 10 * heights[1] == 0


def lines_of(svg, color):
    """The corners of all lines of that colour, those of the legend last."""
    found = re.findall(rf'd="([^"]*)"[^>]*fill: none; stroke: var\(--series-{color}\)', svg)
    return [[tuple(map(float, p)) for p in re.findall(r"[ML] (\S+) (\S+)", d)] for d in found]


def test_a_colour_for_each_size_and_a_marker_for_each_run():
    runs = {"a": {4: [(1, 0.5), (2, 1.0)], 8: [(2, 0.2), (4, 0.4)]}, "b": {8: [(2, 0.1), (3, 0)]}}
    svg = str(figures.lengths_figure(runs))
    (half, all_), *_ = lines_of(svg, 0)
    assert half[1] > all_[1]  # y grows downwards
    assert len(lines_of(svg, 1)) == 3 and len(lines_of(svg, 0)) == 2  # one each is of the legend
    for name in ("size 4", "size 8", ">a<", ">b<"):
        assert name in svg
    alone = str(figures.lengths_figure({"a": runs["a"]}))
    assert "size 4" in alone and ">a<" not in alone
    assert figures.lengths_figure({}) is None


def test_labels_are_escaped():
    svg = loss_figure({"<b>'\"": [(1, 1.0)]}, {"<b>'\"": 0})
    assert "<b>" not in svg
    assert "&lt;b&gt;&#39;&#34;" in svg


def test_accuracies_below_each_other():
    rows = [("a", 0.25, (0.2, 0.5)), ("_b", 0.5, (0.4, 0.6))]
    svg = str(figures.accuracy_figure(rows))
    (a, a_end), (b, b_end) = points(svg, 0), points(svg, 1)
    assert a[1] == a_end[1] < b[1] == b_end[1]
    # Twenty points more are as long for the one as for the other.
    assert (b_end[0] - b[0]) / (a_end[0] - a[0]) == pytest.approx(20 / 30)
    assert ">a<" in svg and ">_b<" in svg
    assert figures.accuracy_figure([]) is None


def test_deferral_beside_random_and_oracle():
    rows = [(0.0, 0.5, 0.5, 0.5), (0.5, 0.8, 0.6, 0.9), (1.0, 0.7, 0.7, 0.7)]
    names = ("deferred", "switch", "random", "oracle")
    svg = str(figures.deferral_figure({"a": [dict(zip(names, row, strict=True)) for row in rows]}))
    paths = re.findall(r'd="([^"]*)"[^>]*fill: none; stroke(?:-dasharray: [^;]*; stroke)?', svg)
    lines = [re.findall(r"[ML] (\S+) (\S+)", path) for path in paths]
    switch, random, oracle = (
        [tuple(map(float, point)) for point in line] for line in lines if len(line) == 3
    )
    assert switch[0] == random[0] == oracle[0] and switch[2] == random[2] == oracle[2]
    # y grows downwards in SVG: the oracle lies above the switch, that above random.
    assert oracle[1][1] < switch[1][1] < random[1][1]
    assert (random[0][1] - random[1][1]) * 3 == pytest.approx(random[0][1] - switch[1][1], rel=1e-4)
    assert figures.deferral_figure({}) is None


class Group(NamedTuple):
    name: str
    accuracy: float
    interval: tuple[float, float] = (0.0, 1.0)
    probability: float = 0.5


def test_groups_of_all_runs_share_an_axis():
    runs = {"a": [Group("2", 0.5), Group("10", 0.5)], "_b": [Group("10", 0.5)]}
    svg = str(figures.groups_figure("steps", "steps", runs))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [text for text in texts if text in ("2", "10", "a", " _b")] == ["2", "10", "a", " _b"]
    assert "aria-label='Accuracy by steps: a, _b'" in svg
    assert figures.groups_figure("steps", "steps", {"a": []}) is None


def test_reliability():
    bins = [Group("", accuracy, probability=p) for p, accuracy in ((0.1, 0.0), (0.9, 1.0))]
    svg = str(figures.reliability_figure({"a": bins, "b": []}))
    (low, high) = points(svg, 0)
    assert low[0] < high[0] and low[1] > high[1]
    assert figures.reliability_figure({"a": []}) is None


def test_more_runs_than_colours_have_other_markers():
    assert figures._marker(0) == figures._marker(5) != figures._marker(6)


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_axes():
    names = [f"small: arithmetic-test-2515-{'0' * 90}{end}" for end in "ab"]
    values = {name: [Group("2", 0.5), Group("3", 0.25)] for name in names}
    svg = str(figures.groups_figure("steps", "steps", values))
    shown = re.findall(r">(small: arithme\N{HORIZONTAL ELLIPSIS}0+[ab])<", svg)
    assert len(shown) == 2 and shown[0] != shown[1]


def test_one_run_needs_no_legend():
    svg = str(figures.groups_figure("steps", "steps", {"a": [Group("2", 0.5)]}))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert "2" in texts and "a" not in texts


def test_counts_as_bars():
    svg = str(figures.counts_figure("errors", "answers", {"a": 2, "b<": 4, "c": 0}))
    bars = [
        [tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)]
        for path in re.findall(r'd="([^"]*)"[^>]*fill: var\(--series-4\)', svg)
    ]
    widths = [max(x for x, _ in bar) - min(x for x, _ in bar) for bar in bars]
    assert widths == pytest.approx([widths[1] / 2, widths[1], 0.0], abs=1e-4)
    assert ">b&lt;<" in svg and "aria-label='answers: a, b&lt;, c'" in svg
    assert figures.counts_figure("errors", "answers", {"a": 0}) is None


def test_the_pareto_front_leads_over_the_best():
    named = [("a", 10.0, 0.5), ("b", 20.0, 0.4), ("c", 30.0, 0.8)]
    front = pareto.on_front([t for _, t, _ in named], [a for _, _, a in named])
    assert front == [True, False, True]
    points = [
        pareto.Point(name, tokens, 1e6, accuracy, (accuracy - 0.1, accuracy + 0.1), best)
        for (name, tokens, accuracy), best in zip(named, front, strict=True)
    ]
    svg = str(figures.pareto_figure(points))
    (path,) = re.findall(r'd="([^"]*)"[^>]*fill: none; stroke-dasharray', svg)
    corners = [tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)]
    # From a along its height to c's tokens, then up to c (y grows downwards in SVG).
    (ax, ay), (turn_x, turn_y), (cx, cy) = corners
    assert ax < turn_x == cx and ay == turn_y > cy
    bars = re.findall(r'd="M (\S+) (\S+) \nL (\S+) (\S+) \n"[^>]*--series-([012])', svg)
    assert [(float(bar[0]) == float(bar[2]), bar[4]) for bar in bars] == [
        (True, "0"), (True, "1"), (True, "2")
    ]  # fmt: skip
    assert "aria-label='Accuracy against tokens written per problem: a, b, c'" in svg
    assert figures.pareto_figure(points[:1]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_the_pareto_front_is_what_nothing_beats(points):
    """Each that is left out is beaten by one on the front, and none on it beats another."""
    front = pareto.on_front([c for c, _ in points], [a for _, a in points])
    best = [point for point, on in zip(points, front, strict=True) if on]
    beats = lambda x, y: x != y and x[0] <= y[0] and x[1] >= y[1]  # noqa: E731
    for point, on in zip(points, front, strict=True):
        assert on != any(beats(other, point) for other in best)
