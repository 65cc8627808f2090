"""A dry run's report as a table on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(report: dict[str, Any]) -> None:
    """Print the report of `dry_run.run`, one column per student."""
    axes = " x ".join(f"{name} {size}" for name, size in report["mesh"].items())
    table = Table(title=f"{report['devices']} x {report['target']}, {axes}", title_justify="left")
    table.add_column("per training step")
    columns = {}
    for name, student in report["students"].items():
        table.add_column(name)
        columns[name] = dict(_lines(student, report["memory_per_device"], report["devices"]))
    names = list(dict.fromkeys(line for column in columns.values() for line in column))
    for line in names:
        table.add_row(line, *(column.get(line, "") for column in columns.values()))
    Console().print(table)


def _lines(student: dict[str, Any], limit: int | None, devices: int) -> list[tuple[str, str]]:
    """(what, how much) of one student."""
    lines = [
        ("parameters", f"{student['parameters']:,}"),
        ("batch", f"{student['rows']} rows x {student['seq_len']} tokens"),
        ("computed", _computed(student)),
    ]
    if "memory" in student:
        memory = student["memory"]
        lines += [(f"{part.replace('_', ' ')} per device", size(memory[part])) for part in memory]
    elif student["needed_bytes"]:
        lines.append(("needed per device", size(student["needed_bytes"])))
    fits = {True: "yes", False: "NO", None: "unknown"}[student["fits"]]
    lines.append(("fits", fits if limit is None else f"{fits} (device has {size(limit)})"))
    lines.append(("useful FLOPs", f"{student['useful_flops']:.3g}"))
    if "memory" in student:
        own = f"{student['compiler_flops']:.3g}" if student["compiler_flops"] else "not said"
        lines.append(("compiler's FLOPs of a device", f"{own} (counts each loop body once)"))
        lines += [("loops", "\n".join(map(_loop, student["loops"])) or "none")]
        lines += _communication(student["collectives"]) if devices > 1 else []
    lines.append(("involuntary rematerialisations", str(student["rematerialisations"])))
    lines.append(("compiled in", f"{student['compile_seconds']:.0f} s"))
    return lines


def _computed(student: dict[str, Any]) -> str:
    parts = [student["dtype"], f"attention {student['kernel']}"]
    parts += ["remat"] if student["remat"] else []
    parts += [f"{student['accumulation']} micro-batches"] if student["accumulation"] > 1 else []
    return ", ".join(parts)


def _loop(loop: dict[str, Any]) -> str:
    return f"{loop['loops']} of {trips(loop)} trips: {loop['name']}"


def _communication(groups: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """One line per kind, its parts inside loops below the one outside."""
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


def size(count: int) -> str:
    """Bytes with a unit of 1,024."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            return f"{value:.3g} {unit}"
    raise AssertionError
