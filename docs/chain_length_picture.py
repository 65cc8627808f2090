"""The laws of chain length as curves: `python docs/chain_length_picture.py`.

Writes docs/chain_length.svg. The curves are computed from the formula of
distill_jax/evaluation/length_fits.py; nothing in them is measured.
"""

import pathlib

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.figure import Figure

from distill_jax.evaluation.length_fits import accuracy, optimal_steps

NOISE = 1000
SIZES = {8: "#9ec1e0", 16: "#3b75af", 32: "#1d3a57"}
CAPABILITIES = {20: "#3b75af", 40: "#c05a3c"}


def draw(path: pathlib.Path) -> None:
    """Two panels: accuracy by steps, and the best number of steps by size."""
    settings = {"svg.hashsalt": "chain_length", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(settings):
        picture = Figure(figsize=(10, 3.6), layout="constrained")
        left, right = picture.subplots(1, 2)
        for size, color in SIZES.items():
            steps = np.linspace(size / 20 * 1.001, 25, 600)
            heights = [100 * accuracy(size, n, 20, NOISE) for n in steps]
            left.plot(steps, heights, color=color, label=f"size {size}")
            best = optimal_steps(size, 20, NOISE)
            left.plot(best, 100 * accuracy(size, best, 20, NOISE), "o", color=color)
        left.set_title(f"capability 20, noise {NOISE}", fontsize=9)
        left.set_xlabel("steps")
        left.set_ylabel("accuracy in %")
        left.set_ylim(0, 100)
        for capability, color in CAPABILITIES.items():
            sizes = np.linspace(1, 80, 160)
            best = [optimal_steps(size, capability, NOISE) for size in sizes]
            right.plot(sizes, best, color=color, label=f"capability {capability}")
        right.set_title(f"noise {NOISE}", fontsize=9)
        right.set_xlabel("size of the problem")
        right.set_ylabel("best number of steps")
        for panel in (left, right):
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False)
        picture.suptitle("Computed from the formula, not measured", fontsize=9)
        picture.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(pathlib.Path(__file__).with_name("chain_length.svg"))
