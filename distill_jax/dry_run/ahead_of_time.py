"""Compile for devices that need not exist: the target, the compilation, its report.

https://docs.jax.dev/en/latest/aot.html
"""

import contextlib
import dataclasses
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from distill_jax import devices
from distill_jax.dry_run import compiled_program, hlo_program, topologies
from distill_jax.model import sharding
from distill_jax.sampling import slots

# libtpu writes its own warnings to stderr only because `chips` asks for it.
_TPU_WARNING = re.compile(rb"W\d{4} ")


@dataclasses.dataclass(frozen=True)
class Target:
    """The devices to compile for: `memory` in bytes per device, None if it is not known."""

    name: str
    platform: str
    mesh: Mesh
    chip: devices.Chip | None
    memory: int | None

    def fits(self, peak: int) -> bool | None:
        """Whether a device has `peak` bytes; None if that is not known."""
        return None if self.memory is None else peak <= self.memory


def machine_target(sizes: Mapping[str, Any]) -> Target:
    """The devices of this machine. The memory of a host is shared by its devices."""
    mesh = sharding.make_mesh(**sizes)
    device = mesh.devices.flat[0]
    chip = devices.chip_of(device)
    platform = jax.default_backend()
    memory = chip.memory if chip is not None else None
    if memory is None or platform == "gpu":  # which says how much jax may take
        memory = slots.device_memory()
    return Target(device.device_kind, platform, mesh, chip, memory)


def topology_target(name: str, sizes: Mapping[str, int]) -> Target:
    """A TPU slice or GPUs with a mesh of these axis sizes (one may be -1); UserError as for a
    machine."""
    described = topologies.topology_devices(name)
    data, fsdp, tensor = (sizes[axis] for axis in sharding.AXES)
    mesh = sharding.make_mesh(data, fsdp, tensor, described)
    chip = devices.chip_of(described[0])
    memory = chip.memory if chip else None
    if topologies.is_gpu(name) and memory is not None:
        memory = topologies.usable_memory(memory)
    return Target(name, described[0].platform, mesh, chip, memory)


def compile_program(
    target: Target, lowered: jax.stages.Lowered, bounds: Mapping[str, int]
) -> tuple[Any, dict[str, Any]]:
    """(the compiled program, what it needs); `bounds` of trips: `compiled_program.collectives`.

    The keys are fits, memory (bytes per device), compiler_flops (of one device, loop bodies once),
    loops, collectives and their totals (`compiled_report`), rematerialisations (the involuntary
    ones that were logged), compile_seconds and those of all cores (compile_cpu_seconds).

    If the compiler gave up for lack of memory, the program is None, and the report has fits false,
    needed_bytes if the compiler says it, and its message.
    """
    began, worked, failure, compiled = time.monotonic(), time.process_time(), "", None
    with watched_stderr() as warnings:
        try:
            compiled = lowered.compile()
        except RuntimeError as error:  # XlaRuntimeError
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            failure = str(error)
    report: dict[str, Any] = {
        "compile_seconds": round(time.monotonic() - began, 1),
        "compile_cpu_seconds": round(time.process_time() - worked, 1),
        "rematerialisations": len(warnings),
    }
    if compiled is None:
        needed = compiled_program.needed_memory(failure)
        short = " ".join(failure.split())[:300]
        return None, report | {"fits": False, "needed_bytes": needed, "message": short}
    program = hlo_program.parse(compiled.as_text() or "")
    groups = compiled_program.collectives(program, bounds)
    memory = compiled_program.memory(compiled.memory_analysis())
    costs: Any = compiled.cost_analysis() or {}  # compilers for GPUs that do not exist have none
    return compiled, report | {
        "fits": target.fits(memory["peak"]),
        "memory": memory,
        "compiler_flops": costs.get("flops"),
        "compiler_flops_note": "of one device; counts each loop body once",
        "loops": compiled_program.loops(program, bounds),
        "collectives": groups,
        "collective_totals": compiled_program.totals(groups),
    }


@contextlib.contextmanager
def watched_stderr() -> Iterator[list[str]]:
    """The compiler's warnings of involuntary rematerialisation, as they are written to stderr.

    XLA writes from C++, without `sys.stderr`. All other output is passed on to stderr at once.
    """
    found: list[str] = []
    sys.stderr.flush()
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)

    def forward() -> None:
        with open(reading, "rb") as lines:
            for line in lines:
                if compiled_program.REMATERIALISATION in (text := line.decode("utf-8", "replace")):
                    found.append(text.rstrip("\n"))
                elif not _TPU_WARNING.match(line):
                    os.write(real, line)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)  # closes the pipe's only writing end, which ends the thread
        thread.join()
        os.close(real)
