"""A dry run's report as a table on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from distill_jax.devices import size
from distill_jax.dry_run import compiled_program

Lines = list[tuple[str, str]]  # (what, how much)


def show(report: dict[str, Any]) -> None:
    """Print the report of `dry_run.run`: a table of the students' training steps, one column each,
    and one of the sampler."""
    axes = " x ".join(f"{name} {size}" for name, size in report["mesh"].items())
    title = f"{report['target']}, {report['devices']} devices: {axes}"
    limit, devices = report["memory_per_device"], report["devices"]
    students = {
        name: _student_lines(student, limit, devices)
        for name, student in report["students"].items()
    }
    sampler = {"sampler": _sampler_lines(report["sampler"], limit, devices)}
    _print(title, "per training step", students)
    _print(title, "per decode step", sampler)


def _print(title: str, corner: str, lines: dict[str, Lines]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column(corner)
    columns = {name: dict(column) for name, column in lines.items()}
    for name in columns:
        table.add_column(name)
    names = list(dict.fromkeys(line for column in columns.values() for line in column))
    for line in names:
        table.add_row(line, *(column.get(line, "") for column in columns.values()))
    Console().print(table)


def _student_lines(student: dict[str, Any], limit: int | None, devices: int) -> Lines:
    lines = [
        ("parameters", f"{student['parameters']:,}"),
        ("trained", f"{student['trained_parameters']:,}"),
        ("batch", f"{student['rows']} rows x {student['seq_len']} tokens"),
        ("computed", _computed(student)),
        *_memory(student.get("memory"), student),
        _fits(student, limit),
        ("useful FLOPs", f"{student['useful_flops']:.3g}"),
    ]
    if "memory" in student:
        lines += _compilers_flops(student)
        lines += [("loops", "\n".join(map(_loop, student["loops"])) or "none")]
        lines += _communication(student["collectives"]) if devices > 1 else []
    return lines + _compilation(student)


def _sampler_lines(sampler: dict[str, Any], limit: int | None, devices: int) -> Lines:
    rows, tokens = sampler["prompts"]
    cache = size(sampler["cache_bytes_per_slot"])
    lines = [
        ("parameters", f"{sampler['parameters']:,}"),
        ("slots", f"{sampler['slots']}, caches of {sampler['window']} tokens: {cache} each"),
        ("prompts read at a time", f"{rows} x {tokens} tokens"),
        ("computed", f"{sampler['dtype']}, attention {sampler['kernel']}"),
    ]
    if "step" not in sampler:
        return [*lines, *_memory(None, sampler), _fits(sampler, limit), *_compilation(sampler)]
    chunk, needs = sampler["programs"]["decode_chunk"], sampler["step"]
    parts = {name: count for name, count in chunk["memory"].items() if name != "peak"}
    whole = "" if sampler["kernel"] == "triton" else "; it reads them to their end"
    lines += _memory(parts, sampler)
    lines += [
        (f"peak during {name}, with all that is held", size(peak))
        for name, peak in sampler["peaks"].items()
    ]
    lines += [
        _fits(sampler, limit),
        ("useful FLOPs", f"{needs['flops']:.3g} (caches half full)"),
        ("read per device", f"weights {size(needs['weight_bytes'])}, caches half full "
         f"{size(needs['cache_bytes'])}{whole}"),
    ]  # fmt: skip
    if "roofline_ms" in needs:
        times = ", ".join(f"{name} {value:.3g} ms" for name, value in needs["roofline_ms"].items())
        rate = f"at most {needs['tokens_per_second']:,} tokens/s"
        lines.append(("at least", f"{times}: {rate}"))
    lines += _compilers_flops(chunk)
    if devices > 1:
        lines.append(("communication of a decode step", _totals(needs["collectives"])))
        once = compiled_program.totals([g for g in chunk["collectives"] if not g["loop"]])
        lines.append(("besides, once per chunk of steps", _totals(once["kinds"])))
        for name in ("prefill", "admit"):
            kinds = sampler["programs"][name]["collective_totals"]["kinds"]
            lines.append((f"communication of {name}", _totals(kinds)))
    return lines + _compilation(sampler)


def _memory(memory: dict[str, int] | None, report: dict[str, Any]) -> Lines:
    if memory is not None:
        # Compilers for GPUs do not say how large their code is.
        said = {part: count for part, count in memory.items() if count or part != "generated_code"}
        return [(f"{part.replace('_', ' ')} per device", size(said[part])) for part in said]
    needed = report["needed_bytes"]
    return [("needed per device", size(needed))] if needed else []


def _fits(report: dict[str, Any], limit: int | None) -> tuple[str, str]:
    fits = {True: "yes", False: "NO", None: "unknown"}[report["fits"]]
    return "fits", fits if limit is None else f"{fits} (device has {size(limit)})"


def _compilers_flops(report: dict[str, Any]) -> Lines:
    if not report["compiler_flops"]:
        return []
    own = f"{report['compiler_flops']:.3g} (counts each loop body once)"
    return [("compiler's FLOPs of a device", own)]


def _compilation(report: dict[str, Any]) -> Lines:
    return [
        ("involuntary rematerialisations", str(report["rematerialisations"])),
        ("compiled in", f"{report['compile_seconds']:.0f} s"),
    ]


def _totals(kinds: dict[str, Any]) -> str:
    """Of `compiled_program.totals`."""
    parts = [f"{total['count']} {kind}: {size(total['bytes'])}" for kind, total in kinds.items()]
    return "\n".join(parts) or "none"


def _computed(student: dict[str, Any]) -> str:
    parts = [student["dtype"], f"attention {student['kernel']}"]
    parts += ["remat"] if student["remat"] else []
    parts += [f"{student['accumulation']} micro-batches"] if student["accumulation"] > 1 else []
    return ", ".join(parts)


def _loop(loop: dict[str, Any]) -> str:
    return f"{loop['loops']} of {trips(loop)} trips: {loop['name']}"


def _communication(groups: list[dict[str, Any]]) -> Lines:
    """One line per kind; its parts inside loops follow the part outside."""
    merged: dict[tuple[str, str], list[int]] = {}
    for group in groups:
        where = f"in loops of {trips(group)} trips, a trip" if group["loop"] else "outside of loops"
        counts = merged.setdefault((group["kind"], where), [0, 0])
        counts[0] += group["count"]
        counts[1] += group["bytes"]
    kinds: dict[str, list[str]] = {}
    for (kind, where), (count, volume) in merged.items():
        kinds.setdefault(kind, []).append(f"{count} {where}: {size(volume)}")
    return [(kind, "\n".join(parts)) for kind, parts in kinds.items()] or [
        ("communication", "none")
    ]


def trips(loop: dict[str, Any]) -> str:
    """ "4", "at most 4" or "an unknown number of"."""
    if loop["trips"] is not None:
        return str(loop["trips"])
    most = loop["most_trips"]
    return "an unknown number of" if most is None else f"at most {most}"
