"""docs/scaling.md, from the results of `scaling.py`."""

import pathlib
from typing import Any

from distill_jax.chips import CHIPS, TOPOLOGIES, Chip
from distill_jax.model.presets import PRESETS
from distill_jax.workdir import write_text

HEAD = """# What a training step needs on TPU slices

Written by `python -m benchmarks.scaling`; do not edit. Nothing here was measured on a TPU: each
step was compiled by the TPU compiler for a slice that is not there (`jax.experimental.topologies`),
and the figures are read from the compiled program.

The step: AdamW, packed rows of 1,024 tokens, 8 rows per device, bfloat16 with float32 parameters
and moments, splash attention, vocabulary 50,304, every token a loss token. Layout, the first that
fits: data parallel; the same with remat (blocks computed again in the backward pass); parameters
and moments split over as many devices as the width divides by (fsdp); that with remat. What cannot
fit by arithmetic is not compiled.

- **peak** of device memory: arguments, temporaries, program, outputs that reuse no argument.
  **state**: the arguments alone (parameters, moments, the batch).
- **FLOPs** that the step needs, over all devices (`distill_jax/model/flops.py`).
- **sent** by one device in one step, if each collective is done as a ring; the loss loop counts
  with all its trips.
- **warnings**: involuntary rematerialisations that the partitioner logged.
- **compute, memory, links**: the least milliseconds that a step can take. Compute: FLOPs (with
  remat those of the second forward pass too) at the chip's peak. Memory: the state read once and
  written once, nothing else. Links: the bytes sent, over all links of a chip at once; a ring along
  one side of a slice uses fewer. A real step takes longer than the largest of the three, in bold.
- **compile**: seconds of work for one core ({processor}).
"""

COLUMNS = (
    "slice", "data x fsdp", "remat", "peak GiB", "state GiB", "of GiB", "FLOPs", "sent MiB",
    "warnings", "compute ms", "memory ms", "links ms", "compile s",
)  # fmt: skip


def write(path: pathlib.Path, table: dict[str, Any]) -> None:
    """Render all cells of {"cells": {"gpt2 v5e:2x4": {option: report}}, "machine": ...}."""
    machine = table["machine"]
    text = HEAD.format(processor=machine["processor"])
    models: dict[str, list[str]] = {}
    notes = []
    for cell in sorted(table["cells"], key=_place):
        model, topology = cell.split(" ")
        attempts = table["cells"][cell]
        chip = CHIPS[topology.partition(":")[0]]
        models.setdefault(model, []).append(_row(topology, chip, attempts))
        notes += [f"- {cell}, {_layout(report)}: {why}" for report, why in _failures(attempts)]
    for model, rows in models.items():
        text += f"\n## {model}\n\n{_line(COLUMNS)}\n{_line(['---'] * len(COLUMNS))}\n"
        text += "".join(f"{row}\n" for row in rows)
    if notes:
        text += "\n## What does not fit\n\n" + "\n".join(notes) + "\n"
    versions = sorted({r["libtpu"] for c in table["cells"].values() for r in c.values()
                       if "libtpu" in r})  # fmt: skip
    text += f"\njax {machine['versions']['jax']}, libtpu {', '.join(versions)}\n"
    write_text(path, text)


def roofline(report: dict[str, Any], chip: Chip, devices: int) -> dict[str, float]:
    """The least seconds of a step by compute, memory and links."""
    memory = report["memory"]
    sent = sum(kind["sent"] for kind in report["collective_totals"]["kinds"].values())
    flops = report["useful_flops"] + report["recomputed_flops"]
    return {
        "compute": flops / devices / chip.flops,
        "memory": (memory["arguments"] + memory["outputs"]) / chip.memory_rate,
        "links": sent / chip.link_rate,
    }


def _place(cell: str) -> tuple[int, int]:
    """Where "gpt2 v5e:2x4" stands: by model, then by slice."""
    model, topology = cell.split(" ")
    return list(PRESETS).index(model), TOPOLOGIES.index(topology)


def _row(topology: str, chip: Chip, attempts: dict[str, Any]) -> str:
    report = next((report for report in attempts.values() if report.get("fits")), None)
    if report is None:
        done = attempts and all(report.get("fits") is False for report in attempts.values())
        message = "does not fit" if done else "not compiled yet"
        return _line([topology, message, *[""] * (len(COLUMNS) - 2)])
    mesh, memory = report["mesh"], report["memory"]
    times = roofline(report, chip, mesh["data"] * mesh["fsdp"] * mesh["tensor"])
    slowest = max(times, key=lambda name: times[name])
    kinds = report["collective_totals"]["kinds"].values()
    return _line(
        [
            topology,
            f"{mesh['data']} x {mesh['fsdp']}",
            "yes" if report["remat"] else "no",
            *(f"{memory[part] / 2**30:.2f}" for part in ("peak", "arguments")),
            f"{chip.memory / 2**30:.0f}",
            f"{report['useful_flops']:.3g}",
            f"{sum(kind['sent'] for kind in kinds) / 2**20:,.0f}",
            str(report["rematerialisations"]),
            *(f"**{1e3 * value:.1f}**" if name == slowest else f"{1e3 * value:.1f}"
              for name, value in times.items()),
            f"{report['compile_cpu_seconds']:.0f}",
        ]
    )  # fmt: skip


def _failures(attempts: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """(report, why) of every option that did not work."""
    found = []
    for report in attempts.values():
        if "failed" in report:
            found.append((report, f"the compiler failed ({report['failed']})"))
        elif "least_bytes" in report:
            needs = report["least_bytes"] / 2**30
            found.append((report, f"at least {needs:.1f} GiB by arithmetic; not compiled"))
        elif report["fits"] is False:
            peak = report.get("memory", {}).get("peak", 0) / 2**30
            said = report.get("message") or f"compiled, with a peak of {peak:.1f} GiB"
            found.append((report, said.split(". ")[0]))
    return found


def _layout(report: dict[str, Any]) -> str:
    mesh = report["mesh"]
    return f"data {mesh['data']} x fsdp {mesh['fsdp']}{', remat' if report['remat'] else ''}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
