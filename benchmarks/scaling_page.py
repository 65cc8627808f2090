"""docs/scaling.md, from the results of `scaling.py`."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.scaling_options import FEWER, PROMPT, SLOTS, WINDOW
from distill_jax.devices import CHIPS, Chip
from distill_jax.dry_run.topologies import GPU_TOPOLOGIES, MEMORY_FRACTION, TOPOLOGIES, is_gpu
from distill_jax.model.presets import PRESETS
from distill_jax.workdir import write_text

Row = Callable[[dict[str, Any], Chip], list[str]]  # the cells of a report after the slice

HEAD = """# What students need on TPU slices and GPUs

Written by `python -m benchmarks.scaling`; do not edit. Nothing here was measured on a TPU or a GPU:
the compilers of TPUs and of CUDA compiled each program without such a device
(`jax.experimental.topologies`), and the figures are read from the compiled program. On a real GPU
the compiler may choose other kernels for matrix products, because it can try them. `H100:8` is one
host with eight. Of a GPU's memory only the three quarters count that JAX takes by default.

- **peak** of device memory: arguments, temporaries, program, and outputs that do not reuse an
  argument's memory.
- **FLOPs** that the step needs, over all devices (`distill_jax/model/flops.py`).
- **sent** by one device in one step, if each collective is done as a ring.
- **warnings**: involuntary rematerialisations that the partitioner logged.
- **compute, memory, links**: the least milliseconds that a step can take at the chip's peaks. A
  real step takes longer than the largest of the three, which is in bold. Links: the bytes sent,
  over all links of a chip at once; a ring along one side of a slice uses fewer.
- **compile**: seconds of work for one core; not all programs were compiled on the same machine.

Programs that cannot fit by arithmetic are not compiled.
"""

TRAINING = """
## What a training step needs

The step: AdamW, packed rows of 1,024 tokens, 8 rows per device, bfloat16 with float32 parameters
and moments, attention by splash on a TPU and cuDNN on a GPU, every token a loss token. GPT-2's
vocabulary is padded to 50,304; the others have their published sizes. The layout is the first of
these that fits: data parallel; the same with remat (blocks are computed again in the backward
pass); parameters and moments split over as many devices as the width divides by (fsdp); that with
remat.

**State**: only the arguments (parameters, moments, the batch). **Sent**: includes all trips of the
loss loop. **Compute**: with remat, includes the FLOPs of the second forward pass. **Memory**: the
state is read once and written once.
"""

SAMPLER = f"""
## What a decode step needs

The step: two students of this size, which read each other, each read one token of every slot;
attention by `xla`, bfloat16 parameters and caches, {SLOTS} slots per device, caches of {WINDOW}
tokens, prompts of {PROMPT} tokens. The layout is the first of these that fits: data parallel;
parameters split over as many devices as the width divides by (fsdp); data parallel with
{", ".join(map(str, FEWER))} slots per device.

**Peak**: the largest of prefill, admission, decode steps and growing caches, including everything
that is in memory at the same time. Mostly it is growing, for which the caches before and after are
counted together, although they are copied array by array. **Caches**: of a device, at their full
length. **Read**: by one device in one step, the parameters of both students and half-full caches;
a program reads its caches to their end. **Collectives**: of one greedy step. **Tokens/s**: of the
whole slice, if a step took no longer than the largest of the three.
"""

# All that is tried (scaling_options.py).
TRAINING_OPTIONS = ("data", "data-remat", "fsdp", "fsdp-remat")
SAMPLER_OPTIONS = ("data", "fsdp", *(f"data-{slots}" for slots in FEWER))
TRAINING_COLUMNS = (
    "slice", "data x fsdp", "remat", "peak GiB", "state GiB", "of GiB", "FLOPs", "sent MiB",
    "warnings", "compute ms", "memory ms", "links ms", "compile s",
)  # fmt: skip
SAMPLER_COLUMNS = (
    "slice", "slots", "data x fsdp", "peak GiB", "caches GiB", "of GiB", "FLOPs", "read MiB",
    "collectives", "sent MiB", "warnings", "compute ms", "memory ms", "links ms", "tokens/s",
    "compile s",
)  # fmt: skip


def write(path: pathlib.Path, table: dict[str, Any]) -> None:
    """Render all cells of {"cells": {"gpt2 v5e:2x4": {option: report}}, "sampler_cells": the same
    of the sampler, "machine": ...}."""
    training, sampler = table["cells"], table.get("sampler_cells", {})
    text = HEAD + TRAINING + _part(training, TRAINING_COLUMNS, _training_row, TRAINING_OPTIONS)
    if sampler:
        text += SAMPLER + _part(sampler, SAMPLER_COLUMNS, _sampler_row, SAMPLER_OPTIONS)
    reports = [r for cell in (*training.values(), *sampler.values()) for r in cell.values()]
    compilers = sorted({report["compiler"] for report in reports if "compiler" in report})
    text += f"\njax {table['machine']['versions']['jax']}, {', '.join(compilers)}\n"
    write_text(path, text)


def _part(cells: dict[str, Any], columns: Sequence[str], row: Row, options: Sequence[str]) -> str:
    """A table for each model, and why the options (by name) fail that do."""
    models: dict[str, list[str]] = {}
    notes = []
    for cell in sorted(cells, key=_place):
        model, topology = cell.split(" ")
        attempts = cells[cell]
        report = next((report for report in attempts.values() if report.get("fits")), None)
        if report is None:
            done = all(attempts.get(name, {}).get("fits") is False for name in options)
            message = "does not fit" if done else "not compiled yet"
            values = [message, *[""] * (len(columns) - 2)]
        else:
            values = row(report, CHIPS[topology.partition(":")[0]])
        models.setdefault(model, []).append(_line([topology, *values]))
        notes += [f"- {cell}, {_layout(report)}: {why}" for report, why in _failures(attempts)]
    text = ""
    for model, rows in models.items():
        text += f"\n### {model}\n\n{_line(columns)}\n{_line(['---'] * len(columns))}\n"
        text += "".join(f"{row}\n" for row in rows)
    return text + ("\n### What does not fit\n\n" + "\n".join(notes) + "\n" if notes else "")


def roofline(report: dict[str, Any], chip: Chip, devices: int) -> dict[str, float]:
    """The least seconds of a training step by compute, memory and links."""
    memory = report["memory"]
    sent = sum(kind["sent"] for kind in report["collective_totals"]["kinds"].values())
    flops = report["useful_flops"] + report["recomputed_flops"]
    return {
        "compute": flops / devices / chip.flops,
        "memory": (memory["arguments"] + memory["outputs"]) / chip.memory_rate,
        "links": sent / chip.link_rate,
    }


def _place(cell: str) -> tuple[int, int]:
    """The place of "gpt2 v5e:2x4" in the tables: by model, then by slice."""
    model, topology = cell.split(" ")
    return list(PRESETS).index(model), (*TOPOLOGIES, *GPU_TOPOLOGIES).index(topology)


def _training_row(report: dict[str, Any], chip: Chip) -> list[str]:
    mesh, memory = report["mesh"], report["memory"]
    times = roofline(report, chip, mesh["data"] * mesh["fsdp"] * mesh["tensor"])
    kinds = report["collective_totals"]["kinds"].values()
    return [
        f"{mesh['data']} x {mesh['fsdp']}",
        "yes" if report["remat"] else "no",
        *map(_gib, (memory["peak"], memory["arguments"])),
        _device_gib(chip),
        f"{report['useful_flops']:.3g}",
        f"{sum(kind['sent'] for kind in kinds) / 2**20:,.0f}",
        str(report["rematerialisations"]),
        *_times({name: 1e3 * value for name, value in times.items()}, digits=1),
        f"{report['compile_cpu_seconds']:.0f}",
    ]


def _sampler_row(report: dict[str, Any], chip: Chip) -> list[str]:
    mesh, needs = report["mesh"], report["step"]
    kinds = needs["collectives"]
    return [
        str(report["slots"]),
        f"{mesh['data']} x {mesh['fsdp']}",
        # The state that a chunk of steps is given and gives back is little more than the caches.
        *map(_gib, (report["peak"], report["programs"]["decode_chunk"]["memory"]["aliased"])),
        _device_gib(chip),
        f"{needs['flops']:.3g}",
        f"{(needs['weight_bytes'] + needs['cache_bytes']) / 2**20:,.0f}",
        ", ".join(f"{total['count']} {kind}" for kind, total in kinds.items()) or "none",
        f"{sum(kind['sent'] for kind in kinds.values()) / 2**20:,.1f}",
        str(report["rematerialisations"]),
        *_times(needs["roofline_ms"], digits=2),
        f"{needs['tokens_per_second']:,}",
        f"{report['compile_cpu_seconds']:.0f}",
    ]


def _times(milliseconds: dict[str, float], digits: int) -> list[str]:
    """The largest is in bold."""
    slowest = max(milliseconds, key=lambda name: milliseconds[name])
    return [
        f"**{value:.{digits}f}**" if name == slowest else f"{value:.{digits}f}"
        for name, value in milliseconds.items()
    ]


def _device_gib(chip: Chip) -> str:
    fraction = MEMORY_FRACTION if is_gpu(chip.name) else 1.0
    return f"{fraction * chip.memory / 2**30:.0f}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}"


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
            peak = report.get("peak") or report.get("memory", {}).get("peak", 0)
            said = report.get("message") or f"compiled, with a peak of {peak / 2**30:.1f} GiB"
            found.append((report, said.split(". ")[0]))
    return found


def _layout(report: dict[str, Any]) -> str:
    mesh = report["mesh"]
    slots = f", {report['slots_per_device']} slots" if report.get("slots_per_device") else ""
    return f"data {mesh['data']} x fsdp {mesh['fsdp']}{', remat' if report['remat'] else ''}{slots}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
