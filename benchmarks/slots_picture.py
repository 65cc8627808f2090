"""A picture of which slot writes which dialogue at which decode step."""

from collections.abc import Mapping

import matplotlib

from distill_jax.sampling.schedule import Work

matplotlib.use("Agg")

from matplotlib import figure

COLOURS = ("#3b75af", "#9ec1e0")  # of a slot's dialogues in turn: neighbours differ
TITLES = {"batches": "batches run to the end", "continuous": "slots refilled"}


def draw(ways: Mapping[str, Work], path: str) -> None:
    """One panel per way, side by side over the same steps: a line per slot, a bar per dialogue.

    The same work gives the same file.
    """
    settings = {"svg.hashsalt": "slots", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(settings):
        picture = figure.Figure(figsize=(10, 4), layout="constrained")
        panels = picture.subplots(1, len(ways), sharex=True, sharey=True, squeeze=False)[0]
        for panel, (name, work) in zip(panels, ways.items(), strict=True):
            _draw_slots(panel, work)
            panel.set_title(
                f"{TITLES[name]}: {work.steps:,} steps, {work.utilisation:.0%} of slot-steps used"
            )
            panel.axvline(work.steps, color="black", linewidth=0.8)
            panel.set_xlabel("decode step")
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("slot")
        panels[0].invert_yaxis()
        # A date would make two files of the same work differ.
        metadata = {"Date": None} if path.endswith(".svg") else {"Software": None}
        picture.savefig(path, metadata=metadata, dpi=120)


def _draw_slots(panel, work: Work) -> None:
    for slot in range(work.slots):
        bars = sorted((first, last - first) for s, _, first, last in work.rows if s == slot)
        colours = [COLOURS[number % 2] for number in range(len(bars))]
        panel.broken_barh(bars, (slot - 0.42, 0.84), facecolors=colours, linewidth=0)
