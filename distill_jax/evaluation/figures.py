"""The plots of the report as inline SVG whose colours follow the page (light and dark)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe

from distill_jax.evaluation.pareto import Point

# Drawn in these colours, then replaced by the page's variables.
_INK, _GRID = "#010203", "#040506"
_SERIES = tuple(f"#0708{i:02x}" for i in range(6))
_VARIABLES = {
    _INK: "var(--muted)",
    _GRID: "var(--line)",
    **{color: f"var(--series-{i})" for i, color in enumerate(_SERIES)},
}
_MARKERS = "osD^vP"  # of runs: show which is which if the colours repeat
_MAX_POINTS = 500
_SIZE, _WITH_LEGEND = (4.6, 2.7), (6.4, 2.7)
MOST_LETTERS = 40  # of a name in a legend
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "distill_jax",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # part of matplotlib, so widths are the same everywhere
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
}


def curve_figure(
    name: str,
    label: str,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    colors: Mapping[str, int],
) -> markupsafe.Markup | None:
    """Values against step, one line per student; None if no student has a point.

    `name` makes the ids of this figure different from others'; `label` is that of the values.
    `colors` maps a student to i of the page's colour `--series-i`. Long curves are shown as means
    of neighbouring points.
    """
    curves = {student: points for student, points in curves.items() if points}
    if not curves:
        return None

    def draw(axes: Any) -> None:
        for student, points in curves.items():
            steps, values = zip(*_thinned(points), strict=True)
            marker = "o" if len(steps) == 1 else None
            axes.plot(steps, values, color=_SERIES[colors[student]], marker=marker, linewidth=1.6)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("step")
        axes.set_ylabel(label)

    return _svg(name, f"{label.capitalize()} against step: {', '.join(curves)}", draw)


def steps_figure(by_steps: Sequence[Mapping[str, Any]]) -> markupsafe.Markup | None:
    """Accuracy with its interval by number of steps; None if no problem says its number."""
    if not by_steps:
        return None

    def draw(axes: Any) -> None:
        for row in by_steps:
            low, high = (100 * bound for bound in row["interval"])
            axes.plot([row["steps"]] * 2, [low, high], color=_SERIES[1], linewidth=2.5, alpha=0.45)
        steps = [row["steps"] for row in by_steps]
        heights = [100 * row["accuracy"] for row in by_steps]
        axes.plot(steps, heights, "o", color=_SERIES[1], clip_on=False)  # whole at 0 and 100 %
        axes.set_xticks(steps if len(steps) <= 15 else steps[:: len(steps) // 10])
        axes.set_xlim(min(steps) - 0.5, max(steps) + 0.5)
        axes.set_ylim(0, 100)
        axes.set_xlabel("steps of the gold solution")
        axes.set_ylabel("accuracy in %")

    return _svg("steps", "Accuracy and its interval by number of steps", draw)


def accuracy_figure(
    rows: Sequence[tuple[str, float, tuple[float, float]]], colors: Sequence[int] | None = None
) -> markupsafe.Markup | None:
    """(run, accuracy, interval) below each other; None if there is no run.

    `colors`: i of the page's colour `--series-i` for each; None = one after another.
    """
    if not rows:
        return None

    def draw(axes: Any) -> None:
        series = range(len(rows)) if colors is None else colors
        for index, (number, (_, accuracy, interval)) in enumerate(zip(series, rows, strict=True)):
            color = _SERIES[number % len(_SERIES)]
            axes.plot([100 * bound for bound in interval], [index] * 2, color=color, linewidth=2.5)
            axes.plot(100 * accuracy, index, _marker(number), color=color, clip_on=False)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left=0)
        axes.set_xlabel("accuracy in %")

    size = (_WITH_LEGEND[0], 1.0 + 0.3 * len(rows))
    return _svg("accuracy", "Accuracy of each run and its interval", draw, size)


def pareto_figure(points: Sequence[Point]) -> markupsafe.Markup | None:
    """Accuracies against the tokens that were written for them, and a line along the Pareto front;
    None if there are fewer than two runs."""
    if len(points) < 2:
        return None

    def draw(axes: Any) -> None:
        front = sorted((each.tokens, 100 * each.accuracy) for each in points if each.on_front)
        at, heights = zip(*front, strict=True)
        axes.plot(at, heights, ":", color=_INK, linewidth=1, drawstyle="steps-post")
        for index, each in enumerate(points):
            color = _SERIES[index % len(_SERIES)]
            bounds = [100 * bound for bound in each.interval]
            axes.plot([each.tokens] * 2, bounds, color=color, linewidth=2, alpha=0.45)
            height = 100 * each.accuracy
            axes.plot(each.tokens, height, _marker(index), color=color, clip_on=False)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("tokens written per problem")
        axes.set_ylabel("accuracy in %")
        _legend(axes, dict.fromkeys(each.name for each in points))

    names = ", ".join(each.name for each in points)
    label = f"Accuracy against tokens written per problem: {names}"
    return _svg("pareto", label, draw, _WITH_LEGEND)


def groups_figure(
    name: str, label: str, runs: Mapping[str, Sequence[Any]]
) -> markupsafe.Markup | None:
    """{run: groups with name, accuracy and interval}, side by side; None if there is no group.

    `name` makes the ids of this figure different from others'; `label` is that of the groups.
    """
    order = list(dict.fromkeys(group.name for groups in runs.values() for group in groups))
    if not order:
        return None

    def draw(axes: Any) -> None:
        for index, groups in enumerate(runs.values()):
            color = _SERIES[index % len(_SERIES)]
            shift = 0.6 * ((index + 0.5) / len(runs) - 0.5)
            at = [order.index(group.name) + shift for group in groups]
            for x, group in zip(at, groups, strict=True):
                bounds = [100 * bound for bound in group.interval]
                axes.plot([x, x], bounds, color=color, linewidth=2, alpha=0.45)
            heights = [100 * group.accuracy for group in groups]
            axes.plot(at, heights, _marker(index), color=color, markersize=5, clip_on=False)
        axes.set_xticks(range(len(order)), order)
        axes.set_ylim(0, 100)
        axes.set_xlabel(label)
        axes.set_ylabel("accuracy in %")
        if len(runs) > 1:
            _legend(axes, runs)

    return _svg(name, f"Accuracy by {label}: {', '.join(runs)}", draw, _WITH_LEGEND)


def counts_figure(name: str, label: str, counts: Mapping[str, int]) -> markupsafe.Markup | None:
    """Bars below each other, their numbers beside them; None if all are 0.

    `name` is as for `groups_figure`, `label` says what is counted.
    """
    if not any(counts.values()):
        return None

    def draw(axes: Any) -> None:
        for index, count in enumerate(counts.values()):
            axes.barh(index, count, height=0.6, color=_SERIES[4])
            axes.text(count, index, f"\u00a0{count}", va="center")  # SVG strips plain spaces
        axes.set_yticks(range(len(counts)), list(counts))
        axes.set_ylim(len(counts) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.1)
        axes.set_xlabel(label)

    size = (_WITH_LEGEND[0], 1.0 + 0.3 * len(counts))
    return _svg(name, f"{label}: {', '.join(counts)}", draw, size)


def reliability_figure(runs: Mapping[str, Sequence[Any]]) -> markupsafe.Markup | None:
    """{run: bins with probability and accuracy}, and the line on which they would be equal."""
    if not any(runs.values()):
        return None

    def draw(axes: Any) -> None:
        axes.plot([0, 100], [0, 100], color=_INK, linewidth=1, linestyle=":")
        for index, bins in enumerate(runs.values()):
            axes.plot(
                [100 * each.probability for each in bins],
                [100 * each.accuracy for each in bins],
                f"{_marker(index)}-",
                color=_SERIES[index % len(_SERIES)],
                markersize=5,
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("probability of the last solution in %")
        axes.set_ylabel("accuracy in %")
        _legend(axes, runs)

    return _svg("reliability", f"Accuracy by probability: {', '.join(runs)}", draw, _WITH_LEGEND)


def deferral_figure(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
) -> markupsafe.Markup | None:
    """{run: points with deferred, switch, random and oracle}, all of them shares: accuracies
    against the share of deferred problems; None if there is no run."""
    if not runs:
        return None

    def draw(axes: Any) -> None:
        for index, points in enumerate(runs.values()):
            at = [100 * point["deferred"] for point in points]
            for name, style in (
                ("switch", f"{_marker(index)}-"),
                ("random", ":"),
                ("oracle", "--"),
            ):
                heights = [100 * point[name] for point in points]
                color = _SERIES[index % len(_SERIES)]
                axes.plot(at, heights, style, color=color, markersize=4, linewidth=1.4)
        axes.set_xlim(0, 100)
        axes.set_xlabel("deferred problems in %")
        axes.set_ylabel("accuracy in %")
        _legend(axes, runs)

    label = f"Accuracy by share of deferred problems: {', '.join(runs)}"
    return _svg("deferral", label, draw, _WITH_LEGEND)


def lengths_figure(
    runs: Mapping[str, Mapping[int, Sequence[tuple[int, float]]]],
) -> markupsafe.Markup | None:
    """{run: {size: (steps written, accuracy), in order}}: a colour for each size, a marker for each
    run; None if there is no run."""
    if not runs:
        return None
    sizes = sorted({size for found in runs.values() for size in found})

    def draw(axes: Any) -> None:
        for index, found in enumerate(runs.values()):
            marker = _MARKERS[index % len(_MARKERS)]
            for size, points in found.items():
                color = _SERIES[sizes.index(size) % len(_SERIES)]
                steps, heights = zip(*points, strict=True)
                at = [100 * height for height in heights]
                axes.plot(steps, at, f"{marker}-", color=color, markersize=4, linewidth=1.4)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, 100)
        axes.set_xlabel("steps written")
        axes.set_ylabel("accuracy in %")
        keys = {f"size {size}": (_SERIES[i % len(_SERIES)], "") for i, size in enumerate(sizes)}
        if len(runs) > 1:
            keys |= {name: (_INK, _MARKERS[i % len(_MARKERS)]) for i, name in enumerate(runs)}
        _legend_of(axes, keys)

    label = f"Accuracy by steps written, for each size: {', '.join(runs)}"
    return _svg("lengths", label, draw, _WITH_LEGEND)


def _marker(index: int) -> str:
    return _MARKERS[index // len(_SERIES) % len(_MARKERS)]


def _legend(axes: Any, runs: Mapping[str, Any]) -> None:
    shown = {
        name: (_SERIES[index % len(_SERIES)], _marker(index)) for index, name in enumerate(runs)
    }
    _legend_of(axes, shown)


def _legend_of(axes: Any, keys: Mapping[str, tuple[str, str]]) -> None:
    """{name: (colour, marker, or "" for a line)}, outside, to the right; names that begin with an
    underscore would be left out."""
    import matplotlib.lines

    handles = [
        matplotlib.lines.Line2D([], [], color=color, marker=marker, linestyle="" if marker else "-")
        for color, marker in keys.values()
    ]
    names = [f" {name}" if name.startswith("_") else _elided(name) for name in keys]
    axes.legend(handles, names, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _elided(name: str) -> str:
    """Names of evaluations can be so long that nothing is left for the axes; they often differ at
    their end."""
    return name if len(name) <= MOST_LETTERS else f"{name[:14]}\N{HORIZONTAL ELLIPSIS}{name[-25:]}"


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // _MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(step for step, _ in group) / len(group), sum(loss for _, loss in group) / len(group))
        for group in groups
    ]


def _svg(name: str, label: str, draw: Any, size: tuple[float, float] = _SIZE) -> markupsafe.Markup:
    """Draw on fresh axes; the SVG as an element of an HTML page, its ids starting with `name`.

    `size` is width and height in inches.
    """
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    # Rules for all elements of the page, links to the generator, and sizes that do not shrink.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg \1 role='img'>", svg, count=1)
    svg = re.sub(r"\b(id=\"|href=\"#|url\(#)", rf"\g<1>{name}-", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    label_attribute = markupsafe.Markup(" aria-label='{}'>").format(label)
    return markupsafe.Markup(svg.replace(" role='img'>", f" role='img'{label_attribute}", 1))
