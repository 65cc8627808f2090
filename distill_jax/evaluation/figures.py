"""The plots of the report as inline SVG whose colours follow the page (light and dark)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe

# Drawn in these colours, then replaced by the page's variables.
_INK, _GRID = "#010203", "#040506"
_SERIES = tuple(f"#0708{i:02x}" for i in range(6))
_VARIABLES = {
    _INK: "var(--muted)",
    _GRID: "var(--line)",
    **{color: f"var(--series-{i})" for i, color in enumerate(_SERIES)},
}
_MAX_POINTS = 500
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "distill_jax",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib: widths are the same everywhere
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


def loss_figure(
    curves: Mapping[str, Sequence[tuple[int, float]]], colors: Mapping[str, int]
) -> markupsafe.Markup | None:
    """Training loss against step, one line per student; None where no student has a point.

    `colors` maps a student to i of the page's colour `--series-i`. Long curves are shown as means
    of neighbouring points.
    """
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return None

    def draw(axes: Any) -> None:
        for name, points in curves.items():
            steps, losses = zip(*_thinned(points), strict=True)
            marker = "o" if len(steps) == 1 else None
            axes.plot(steps, losses, color=_SERIES[colors[name]], marker=marker, linewidth=1.6)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")

    return _svg("loss", f"Training loss against step: {', '.join(curves)}", draw)


def steps_figure(by_steps: Sequence[Mapping[str, Any]]) -> markupsafe.Markup | None:
    """Accuracy with its interval by number of steps; None where no problem says its number."""
    if not by_steps:
        return None

    def draw(axes: Any) -> None:
        for row in by_steps:
            low, high = (100 * bound for bound in row["interval"])
            axes.plot([row["steps"]] * 2, [low, high], color=_SERIES[1], linewidth=2.5, alpha=0.45)
        steps = [row["steps"] for row in by_steps]
        axes.plot(steps, [100 * row["accuracy"] for row in by_steps], "o", color=_SERIES[1])
        axes.set_xticks(steps if len(steps) <= 15 else steps[:: len(steps) // 10])
        axes.set_xlim(min(steps) - 0.5, max(steps) + 0.5)
        axes.set_ylim(0, 100)
        axes.set_xlabel("steps of the gold solution")
        axes.set_ylabel("accuracy in %")

    return _svg("steps", "Accuracy and its interval by number of steps", draw)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // _MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(step for step, _ in group) / len(group), sum(loss for _, loss in group) / len(group))
        for group in groups
    ]


def _svg(name: str, label: str, draw: Any) -> markupsafe.Markup:
    """Draw on fresh axes; the SVG as an element of an HTML page, its ids starting with `name`."""
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
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
