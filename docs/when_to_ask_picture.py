"""Accuracy by length: `python docs/when_to_ask_picture.py --tables DIR`.

Writes docs/when_to_ask.svg from the table by number of steps (`steps.csv`) of a comparison of the
runs on made coins of the sweep length_generalisation.
"""

import argparse
import csv
import pathlib

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

METHODS = {  # label and colour
    "answer_only": ("answers only", "#888888"),
    "chain": ("chain", "#3b75af"),
    "unified": ("one student asks and solves", "#b8860b"),
    "iterative": ("two students take turns", "#c05a3c"),
    "unified_given": ("one student, gold subquestions", "#2e8b57"),
}
LEARNED = 5  # steps of the longest story that was learned


def draw(tables: pathlib.Path, path: pathlib.Path) -> None:
    """One panel, with 95 % intervals."""
    with (tables / "steps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    settings = {"svg.hashsalt": "when_to_ask", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(settings):
        picture = Figure(figsize=(7, 3.6), layout="constrained")
        panel = picture.subplots()
        for place, (method, (label, color)) in enumerate(METHODS.items()):
            own = [row for row in rows if method in row["run"].split("-")]
            if not own:
                continue
            steps = [int(row["steps"]) + 0.06 * (place - 1.5) for row in own]
            values, low, high = (
                [100 * float(row[f"accuracy{end}"]) for row in own] for end in ("", " low", " high")
            )
            below = [value - end for value, end in zip(values, low, strict=True)]
            above = [end - value for value, end in zip(values, high, strict=True)]
            panel.errorbar(
                steps, values, [below, above], fmt="o-", color=color, markersize=4, linewidth=1,
                label=label,
            )  # fmt: skip
        panel.axvspan(LEARNED + 0.5, panel.get_xlim()[1], color="#f2f2f2", zorder=0)
        panel.text(LEARNED + 0.6, 2, "longer than what was learned", color="#666666")
        panel.set_xlabel("steps of the story")
        panel.set_ylabel("accuracy in %, with 95 % intervals")
        panel.set_ylim(0, 103)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, loc="lower left")
        picture.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", required=True, type=pathlib.Path, help="of the comparison")
    draw(parser.parse_args().tables, pathlib.Path(__file__).with_name("when_to_ask.svg"))
