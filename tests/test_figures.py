"""Plots: what is drawn, in which colours, and how big."""

import re

import pytest

from distill_jax.evaluation import figures


def points(svg, color):
    """The corners of the line of that colour."""
    (path,) = re.findall(rf'd="([^"]*)"[^>]*stroke: var\(--series-{color}\)', svg)
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)]


def test_a_line_per_student_in_its_colour():
    curves = {"a": [(0, 1.0), (10, 3.0), (20, 2.0)], "empty": [], "b": [(0, 3.0), (20, 3.0)]}
    svg = str(figures.loss_figure(curves, {"a": 4, "b": 1, "empty": 2}))
    a, b = points(svg, 4), points(svg, 1)
    assert len(a) == 3
    assert a[1][0] - a[0][0] == pytest.approx(a[2][0] - a[1][0])
    # y grows downwards in SVG.
    assert a[1][1] == b[0][1] == b[1][1] < a[2][1] < a[0][1]
    assert "--series-2" not in svg
    assert "aria-label='Training loss against step: a, b'" in svg


def test_nothing_to_draw():
    assert figures.loss_figure({}, {}) is None
    assert figures.loss_figure({"a": []}, {"a": 0}) is None
    assert figures.steps_figure([]) is None


def test_long_curves_are_means_of_neighbours():
    curve = [(step, 1.0 + step % 7) for step in range(100_000)]
    assert len(figures.loss_figure({"a": curve}, {"a": 0})) < 50_000
    assert figures._thinned([(1, 1.0), (2, 5.0)] * 500) == [(1.5, 3.0)] * 500
    assert figures._thinned([(1, 1.0), (2, 5.0)]) == [(1, 1.0), (2, 5.0)]


def test_interval_by_steps():
    row = {"steps": 3, "accuracy": 0.5, "interval": [0.25, 0.75]}
    svg = str(figures.steps_figure([row, {**row, "steps": 4, "interval": [0.5, 0.5]}]))
    lines = re.findall(r'd="M (\S+) (\S+) \nL (\S+) (\S+) \n"[^>]*--series-1', svg)
    assert len(lines) == 2
    heights = [float(line[1]) - float(line[3]) for line in lines]
    assert heights[0] > 10 * heights[1] == 0


def test_labels_are_escaped():
    svg = figures.loss_figure({"<b>'\"": [(1, 1.0)]}, {"<b>'\"": 0})
    assert "<b>" not in svg
    assert "&lt;b&gt;&#39;&#34;" in svg
