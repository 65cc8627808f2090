"""What combinations cost and gain: `python docs/combining_picture.py --workdir runs/combining`.

Writes docs/combining.svg from what benchmarks/combining.py left in the directory.
"""

import argparse
import csv
import json
import pathlib

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.figure import Figure

KINDS = {  # of a row, by the beginning of its name: label and colour
    "s_ensemble": ("ensemble of 3 s", "#7a5195"),
    "s-": ("s", "#9ec1e0"),
    "s_larger": ("s_larger", "#3b75af"),
    "large": ("large", "#1d3a57"),
    "s_vote": ("vote of 3 s", "#c05a3c"),
    "switch-": ("switch, s to large", "#2e8b57"),
    "switch_committee": ("switch, 3 s to large", "#b8860b"),
}


def kind(name: str) -> tuple[str, str]:
    """Label and colour of a row."""
    return next(value for start, value in KINDS.items() if name.startswith(start))


def rows(workdir: pathlib.Path, table: str) -> dict[str, dict[str, str]]:
    """{run: its row} of a table of the report."""
    path = workdir / "report_combined" / "tables" / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def draw(workdir: pathlib.Path, path: pathlib.Path) -> None:
    """Two panels: accuracy by FLOPs per problem, and by the share of problems handed on."""
    settings = {"svg.hashsalt": "combining", "svg.fonttype": "none", "font.size": 9}
    accuracies, costs = rows(workdir, "runs"), rows(workdir, "settings")
    with matplotlib.rc_context(settings):
        picture = Figure(figsize=(10, 3.8), layout="constrained")
        left, right = picture.subplots(1, 2)
        labelled = set()
        for name, row in accuracies.items():
            label, color = kind(name)
            value, low, high = (
                100 * float(row[f"normalised{end}"]) for end in ("", " low", " high")
            )
            cost = float(costs[name]["FLOPs per problem"]) / 1e6
            left.errorbar(
                cost, value, [[value - low], [high - value]], fmt="o", color=color, markersize=4,
                linewidth=1, label=None if label in labelled else label,
            )  # fmt: skip
            labelled.add(label)
        left.set_xlabel("MFLOPs per problem, of everyone who was asked")
        left.set_ylabel("accuracy in %, with 95 % intervals")
        left.set_xlim(0)
        left.legend(frameon=False)
        curves = [
            json.loads((each / "report.json").read_text(encoding="utf-8"))["combination"][
                "deferral"
            ]
            for each in sorted((workdir / "combined").glob("switch-seed*"))
        ]
        for name, color, style in (
            ("oracle", "#888888", "--"),
            ("switch", "#2e8b57", "-"),
            ("random", "#888888", ":"),
        ):
            deferred = [point["deferred"] for point in curves[0]["curve"]]
            values = [[point[name] for point in each["curve"]] for each in curves]
            right.plot(
                100 * np.array(deferred), 100 * np.mean(values, axis=0), style, color=color,
                label={"switch": "by uncertainty"}.get(name, name),
            )  # fmt: skip
        right.set_xlabel("share of problems handed on to the large one, in %")
        right.set_ylabel("accuracy in %, mean of the seeds")
        right.legend(frameon=False)
        for panel in (left, right):
            panel.spines[["top", "right"]].set_visible(False)
        picture.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path, help="of the sweep")
    draw(parser.parse_args().workdir, pathlib.Path(__file__).with_name("combining.svg"))
