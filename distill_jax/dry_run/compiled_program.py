"""What a compiled program needs: memory, communication, and loops, as plain numbers.

XLA's own cost analysis counts the body of a loop once, and says nothing about communication.
"""

import re
from collections.abc import Mapping
from typing import Any

from distill_jax.dry_run import hlo_program
from distill_jax.dry_run.hlo_program import Instruction, Loop, Program

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# What XLA logs if it must gather a whole array (xla/service/spmd/spmd_partitioner.cc).
REMATERIALISATION = "Involuntary full rematerialization"


def memory(analysis: Any) -> dict[str, int]:
    """Bytes per device of `compiled.memory_analysis()`, and the peak that they add up to.

    Aliased outputs use the memory of donated arguments.
    """
    parts = {
        "arguments": analysis.argument_size_in_bytes,
        "outputs": analysis.output_size_in_bytes,
        "aliased": analysis.alias_size_in_bytes,
        "temporaries": analysis.temp_size_in_bytes,
        "generated_code": analysis.generated_code_size_in_bytes,
    }
    return parts | {"peak": sum(parts.values()) - 2 * parts["aliased"]}


def collectives(program: Program, bounds: Mapping[str, int]) -> list[dict[str, Any]]:
    """Communication of one device in one run of the program, grouped by kind and loop.

    Loops that differ only by layer are one: `h_3/attn` and `h_4/attn` are both `h_*/attn`.

    kind       one of KINDS
    loop       "" outside loops, else the name of the loop (if nested: "outer > inner")
    trips      how often that runs (nested: all loops together): None if it depends on data
    most_trips its upper bound (equal to `trips` if that is known); None = not known
    count      instructions per trip; one may carry many arrays
    bytes      per trip: of the whole array for all-gather (gathered), reduce-scatter and
               all-reduce (not yet scattered); of the sent part for the other two
    sent       bytes that leave the device per trip, if it is done as a ring: of n devices,
               all-reduce 2 (n - 1) / n, all-gather, reduce-scatter and all-to-all (n - 1) / n,
               collective-permute all of it
    """
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for instruction, computation, loops in hlo_program.walk(program, bounds):
        found = _collective(program, computation, instruction)
        if found is None:
            continue
        kind, size, sent = found
        place = {
            "kind": kind,
            "loop": _name(loops),
            "trips": _product([loop.trips for loop in loops]),
            "most_trips": _product([loop.most for loop in loops]),
        }
        zeros = {"count": 0, "bytes": 0, "sent": 0}
        group = groups.setdefault(tuple(place.values()), place | zeros)
        group["count"] += 1
        group["bytes"] += size
        group["sent"] += sent
    return sorted(groups.values(), key=lambda group: (KINDS.index(group["kind"]), group["loop"]))


def _collective(
    program: Program, computation: str, instruction: Instruction
) -> tuple[str, int, int] | None:
    """(kind, bytes, bytes sent) of an instruction; None if it communicates nothing."""
    kind = instruction.opcode.removesuffix("-start")
    if kind not in KINDS or _continues(program, computation, instruction):
        return None
    shape = instruction.shape
    if instruction.opcode.endswith("-start") and kind != "all-reduce":
        shape = hlo_program.split(shape[1:-1])[1]  # (operand, result, ...)
    size = hlo_program.shape_bytes(shape)
    devices = hlo_program.group_size(program, instruction.attributes)
    if kind == "reduce-scatter":
        size *= devices
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"  # as the TPU compiler writes one: each device keeps its slice
    if kind == "collective-permute":
        return kind, size, size
    rounds = 2 if kind == "all-reduce" else 1
    return kind, size, rounds * size * (devices - 1) // devices


def _continues(program: Program, computation: str, instruction: Instruction) -> bool:
    """Whether this only continues a collective that was begun elsewhere.

    The TPU compiler spreads a collective over the fusions that run at the same time, and repeats
    the instruction in each; only the first of them contains an AsyncCollectiveStart.
    """
    if "async_collective_fusion_config" not in instruction.attributes:
        return False
    others = program.computations[computation].values()
    return not any('"AsyncCollectiveStart"' in other.attributes for other in others)


def _name(loops: tuple[Loop, ...]) -> str:
    """The name of nested loops, the outer ones first, without the numbers of layers."""
    return " > ".join(re.sub(r"\b(h|layers)_\d+\b", r"\1_*", loop.name) for loop in loops)


def _product(numbers: list[int | None]) -> int | None:
    """The product, 1 for an empty list; None if any is None."""
    result = 1
    for number in numbers:
        if number is None:
            return None
        result *= number
    return result


def totals(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all trips: {kind: {"count", "bytes", "sent"}} of the kinds that occur.

    A loop with an upper bound counts that often, and one without a bound counts once. `exact` is
    True if no such loop occurs.
    """
    sums: dict[str, Any] = {}
    for group in groups:
        trips = 1 if group["most_trips"] is None else group["most_trips"]
        total = sums.setdefault(group["kind"], {"count": 0, "bytes": 0, "sent": 0})
        for key in total:
            total[key] += trips * group[key]
    return {"exact": all(group["trips"] is not None for group in groups), "kinds": sums}


def loops(program: Program, bounds: Mapping[str, int]) -> list[dict[str, Any]]:
    """Every while loop: its name, trips and upper bound, and how many loops have the same three.

    `most_trips` counts one run of the loop, however often the loops around it run.
    """
    seen: dict[tuple[Any, ...], int] = {}
    for instruction, computation, around in hlo_program.walk(program, bounds):
        if instruction.opcode != "while":
            continue
        loop = hlo_program.loop_of(program, computation, instruction, bounds)
        key = (_name((*around, loop)), loop.trips, loop.most)
        seen[key] = seen.get(key, 0) + 1
    return [
        {"name": name, "trips": trips, "most_trips": most, "loops": number}
        for (name, trips, most), number in seen.items()
    ]


def needed_memory(message: str) -> int | None:
    """The bytes that a compiler's RESOURCE_EXHAUSTED message says it needs; None if it does not
    say.

    "the total memory required for HLO temporaries (24.00G) exceeds available HBM (15.75G)", or
    "Used 21.46G of 15.75G hbm. Exceeded hbm capacity by 5.71G." G is GiB.
    """
    amount = r"([\d.]+)([KMGT]?)i?B?"
    found = re.search(rf"required for [\w ]*\({amount}\)|[Uu]sed {amount} of", message)
    if not found:
        return None
    number, unit = (part for part in found.groups() if part is not None)
    return round(float(number) * 1024 ** " KMGT".index(unit or " "))
