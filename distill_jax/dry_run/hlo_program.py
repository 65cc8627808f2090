"""A compiled program read from its HLO text: instructions, shapes, and the loops around them.

Pure functions of text. The operations: https://openxla.org/xla/operation_semantics.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_CALLED_LISTS = re.compile(r"(?:branch_computations|called_computations)=\{([^}]*)\}")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\]")
_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2,
          "bf16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8,
          "c128": 16, "token": 0}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `name = shape opcode(operands), attributes`."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]  # names; for a constant or parameter: its value
    attributes: str


@dataclasses.dataclass(frozen=True)
class Program:
    """{computation: {name: instruction}}, the last of each being its root."""

    entry: str
    devices: int
    computations: dict[str, dict[str, Instruction]]


@dataclasses.dataclass(frozen=True)
class Loop:
    """A while loop; `trips` None if it depends on data, `most` its upper bound if known."""

    name: str  # the operation that it came from
    trips: int | None
    most: int | None


def parse(text: str) -> Program:
    """An HLO module as `compiled.as_text()` prints it."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in re.sub(r"/\*.*?\*/", "", text).split("\n"):
        header = _COMPUTATION.match(line)
        if header:
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif line == "}":  # some attributes have lines of their own
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found[2], found[3])
            if found[1]:  # the root is last in the text too, except in fusions of some versions
                current.pop(instruction.name, None)
            current[instruction.name] = instruction
    counts = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", text.split("\n", 1)[0])
    return Program(entry, math.prod(int(count) for count in counts), computations)


def _instruction(name: str, rest: str) -> Instruction:
    shape = rest[: _closing(rest)] if rest.startswith("(") else rest.split(" ", 1)[0]
    rest = rest[len(shape) :].lstrip()
    opcode, _, inside = rest.partition("(")
    end = _closing(f"({inside}")
    operands = tuple(part.split(" ")[-1].lstrip("%") for part in split(inside[: end - 2]))
    return Instruction(name, shape, opcode, operands, inside[end - 1 :])


def _closing(text: str) -> int:
    """The index after the bracket that closes the first one."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return index + 1
    return len(text)


def split(text: str) -> list[str]:
    """The parts between commas that are not inside brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def shape_bytes(shape: str) -> int:
    """Bytes of an array or of a tuple's arrays, without padding: "(f32[2,3], s32[])" has 28."""
    total = 0.0
    for dtype, sizes in _ARRAY.findall(shape):
        count = math.prod(int(size.lstrip("<=")) for size in sizes.split(",") if size)
        total += count * (1 if dtype.startswith("f8") else _BYTES[dtype])
    return math.ceil(total)


def group_size(program: Program, attributes: str) -> int:
    """How many devices take part in a collective together; all of them if no groups are named.

    Three spellings: `{{0,1},{2,3}}`, `[2,2]<=[4]` and `mesh['a'=2,'b'=2] {'a'}` have 2 each.
    """
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return found[1].count(",") + 1
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(found[1])
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        named = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found[2])  # 'a':(1)2 = 2 of axis a
        return math.prod(int(part or sizes[name]) for name, part in named)
    return program.devices


def walk(
    program: Program, bounds: Mapping[str, int]
) -> Iterator[tuple[Instruction, str, tuple[Loop, ...]]]:
    """(instruction, computation, the loops around it) of everything that runs, in order of calls.

    `bounds` has upper bounds of trips by a part of the loop's name, for loops that need one. Both
    branches of a conditional are taken. A loop's condition runs once more than its body, which is
    not counted.
    """
    yield from _walk(program, program.entry, (), bounds)


def _walk(program, computation, loops, bounds):
    for instruction in program.computations.get(computation, {}).values():
        yield instruction, computation, loops
        if instruction.opcode == "while":
            inner = (*loops, loop_of(program, computation, instruction, bounds))
            for part in ("condition", "body"):
                yield from _walk(program, _attribute(instruction, part), inner, bounds)
            continue
        if instruction.opcode.endswith(("-update", "-done")):
            continue  # they name the computation of the -start again
        called = _CALLED.findall(instruction.attributes)
        for names in _CALLED_LISTS.findall(instruction.attributes):
            called += [name.strip().lstrip("%") for name in names.split(",")]
        for name in called:
            yield from _walk(program, name, loops, bounds)


def loop_of(
    program: Program, computation: str, loop: Instruction, bounds: Mapping[str, int]
) -> Loop:
    named = re.search(r'op_name="([^"]*)"', loop.attributes)
    name = re.sub(r"^jit\(\w+\)/", "", named[1]) if named else loop.name
    trips = trip_count(program, computation, loop)
    most = next((bound for part, bound in bounds.items() if part in name), None)
    return Loop(name, trips, most if trips is None else trips)


def trip_count(program: Program, computation: str, loop: Instruction) -> int | None:
    """How often a while loop of `computation` runs, by the compiler's note or by its counter.

    The counter is element i of the loop's tuple: compared with a constant in the condition, a
    constant before the loop, and increased by a constant in the body.
    """
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if noted:
        return int(noted[1])
    outside = program.computations[computation]
    condition = program.computations.get(_attribute(loop, "condition"), {})
    body = program.computations.get(_attribute(loop, "body"), {})
    test = next(reversed(condition.values()), None)
    if test is None or test.opcode != "compare" or "direction=LT" not in test.attributes:
        return None
    counter = condition.get(test.operands[0])
    if counter is None or counter.opcode != "get-tuple-element":
        return None
    index = int(_attribute(counter, "index"))
    start, step = outside.get(loop.operands[0]), next(reversed(body.values()), None)
    if start is None or step is None or start.opcode != "tuple" or step.opcode != "tuple":
        return None
    first = _constant(outside, start.operands[index])
    limit = _constant(condition, test.operands[1])
    added = body.get(step.operands[index])
    if first is None or limit is None or added is None or added.opcode != "add":
        return None
    by = [value for name in added.operands if (value := _constant(body, name)) is not None]
    return max(0, -(-(limit - first) // by[0])) if len(by) == 1 and by[0] > 0 else None


def _constant(instructions: dict[str, Instruction], name: str) -> int | None:
    """The integer that `name` stands for, through copies."""
    found = instructions.get(name)
    while found is not None and found.opcode in ("copy", "bitcast", "convert"):
        found = instructions.get(found.operands[0])
    if found is None or found.opcode != "constant" or not re.match(r"^-?\d+$", found.operands[0]):
        return None
    return int(found.operands[0])


def _attribute(instruction: Instruction, key: str) -> str:
    found = re.search(rf"\b{key}=%?([\w.\-]+)", instruction.attributes)
    return found[1] if found else ""
