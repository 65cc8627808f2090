"""Rounds of rewards: `python docs/rewards_picture.py --workdir runs/rloo_length`.

Writes docs/rewards.svg from the metrics that the sweep rloo_length left in the directory; with
`--workdir runs/smollm2_rloo --mean 10 --name rewards_smollm2` those of the sweep smollm2_rloo.
"""

import argparse
import json
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

COLORS = {"0.0": "#888888", "0.1": "#9ec1e0", "0.4": "#1d3a57"}
PANELS = {
    "rounds/solver/tokens_of_right": ("tokens of a right sample", 1),
    "rounds/solver/right": ("right samples in %", 100),
}


def draw(workdir: pathlib.Path, mean: int, path: pathlib.Path) -> None:
    """Two panels, by round: how long right samples are, and how many are right, each the mean of
    `mean` rounds up to there."""
    settings = {"svg.hashsalt": "rewards", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(settings):
        picture = Figure(figsize=(10, 3.4), layout="constrained")
        for panel, (name, (label, scale)) in zip(
            picture.subplots(1, 2), PANELS.items(), strict=True
        ):
            for alpha, color in COLORS.items():
                for seed, run in enumerate(sorted(workdir.glob(f"alpha={alpha}-seed*/*"))):
                    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
                    values = [row[name] * scale for row in map(json.loads, lines) if name in row]
                    rounds = range(mean, len(values) + 1)
                    panel.plot(
                        rounds, [statistics.fmean(values[n - mean : n]) for n in rounds],
                        color=color, linewidth=1.2,
                        label=f"alpha {alpha}" if seed == 0 else None,
                    )  # fmt: skip
            panel.set_xlabel("round")
            panel.set_ylabel(label)
            panel.set_ylim(0)
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False)
        picture.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path, help="of the sweep")
    parser.add_argument("--mean", type=int, default=1, help="of so many rounds")
    parser.add_argument("--name", default="rewards", help="of the picture")
    arguments = parser.parse_args()
    path = pathlib.Path(__file__).with_name(f"{arguments.name}.svg")
    draw(arguments.workdir, arguments.mean, path)
