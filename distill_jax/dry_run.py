"""Compile every student's training step from shapes alone, and say what it needs.

For the devices of this machine, or for a TPU slice that it does not have. Nothing is trained and
nothing is written.
"""

import contextlib
import dataclasses
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from distill_jax import chips, compiled_report, hlo_program, sharding, train_students
from distill_jax.dry_run_table import show
from distill_jax.run_inputs import RunInputs
from distill_jax.student_setup import StudentSetup
from distill_jax.training import step
from distill_jax.workdir import Workdir

# libtpu's own warnings, which it writes to stderr only because `chips` asks it to.
_TPU_WARNING = re.compile(rb"W\d{4} ")
# The name of the loss loop (training/loss.py) in a compiled step ends like this.
LOSS_LOOP = "shard_map/while"


@dataclasses.dataclass(frozen=True)
class Target:
    """What is compiled for: `memory` in bytes per device, None where nobody knows."""

    name: str
    platform: str
    mesh: Mesh
    chip: chips.Chip | None
    memory: int | None


def run(config: Any, path: str | None, topology: str | None) -> None:
    """Print a table and, as the last line, the same as JSON.

    `path` of a run's working directory, if any: its tokenizer and sizes are then used. `topology`
    as in `chips.TOPOLOGIES`; None = this machine.
    """
    target = topology_target(topology, config.mesh) if topology else machine_target(config.mesh)
    with tempfile.TemporaryDirectory() as nowhere:
        inputs = RunInputs(config, Workdir(path or nowhere))
        chosen = list(config.train.students or inputs.students)
        _, _, setups = train_students.prepare(inputs, chosen, target.mesh, target.platform)
    report: dict[str, Any] = {
        "target": target.name,
        "devices": target.mesh.size,
        "mesh": dict(target.mesh.shape),
        "memory_per_device": target.memory,
        "students": {},
    }
    for setup in setups:
        inputs.terminal.say(f"student {setup.student}: compiling the training step")
        report["students"][setup.student] = _student(setup, target)
    show(report)
    print(json.dumps(report), flush=True)


def machine_target(sizes: Mapping[str, Any]) -> Target:
    """The devices of this machine. The memory of a host is shared by its devices."""
    mesh = sharding.make_mesh(**sizes)
    device = mesh.devices.flat[0]
    chip = chips.chip_of(device)
    if chip is not None:
        memory = chip.memory
    elif device.platform == "cpu":
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = host // jax.local_device_count()
    else:
        memory = (device.memory_stats() or {}).get("bytes_limit")
    return Target(device.device_kind, jax.default_backend(), mesh, chip, memory)


def topology_target(name: str, sizes: Mapping[str, int]) -> Target:
    """A TPU slice with a mesh of these axis sizes (one may be -1); UserError as for a machine."""
    devices = chips.topology_devices(name)
    data, fsdp, tensor = (sizes[axis] for axis in sharding.AXES)
    mesh = sharding.make_mesh(data, fsdp, tensor, devices)
    chip = chips.chip_of(devices[0])
    return Target(name, "tpu", mesh, chip, chip.memory if chip else None)


def _student(setup: StudentSetup, target: Target) -> dict[str, Any]:
    """The report of one student."""
    facts, computation = setup.facts, setup.trainer.computation
    report = {
        "parameters": facts["parameters"],
        "rows": setup.data.batch_size,
        "seq_len": facts["seq_len"],
        **dataclasses.asdict(computation),
        "useful_flops": round(facts["flops_per_token"] * facts["tokens"] / facts["steps"]),
    }
    return report | measure(target, setup.trainer, setup.data.global_shapes())


def measure(target: Target, trainer: step.Trainer, batch: dict[str, Any]) -> dict[str, Any]:
    """Compile `train_step` for a global batch of these shapes; what the compiled step needs.

    fits, memory (bytes per device), compiler_flops (of one device, loop bodies once), loops,
    collectives and their totals (`compiled_report`), rematerialisations, compile_seconds and those
    of all cores (compile_cpu_seconds). Where the compiler gave up for lack of memory: fits false,
    needed_bytes if it says, and its message.
    """
    mesh = target.mesh
    abstract = step.abstract_state(mesh, trainer.config, trainer.optimizer)
    with jax.set_mesh(mesh):
        lowered = step.lower_step(mesh, abstract, batch, trainer)
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
        needed = compiled_report.needed_memory(failure)
        short = " ".join(failure.split())[:300]
        return report | {"fits": False, "needed_bytes": needed, "message": short}
    bounds = {LOSS_LOOP: loss_loop_trips(mesh, trainer, batch)}
    program = hlo_program.parse(compiled.as_text() or "")
    groups = compiled_report.collectives(program, bounds)
    memory = compiled_report.memory(compiled.memory_analysis())
    costs: Any = compiled.cost_analysis()
    return report | {
        "fits": None if target.memory is None else memory["peak"] <= target.memory,
        "memory": memory,
        "compiler_flops": costs.get("flops"),
        "compiler_flops_note": "of one device; counts each loop body once",
        "loops": compiled_report.loops(program, bounds),
        "collectives": groups,
        "collective_totals": compiled_report.totals(groups),
    }


def loss_loop_trips(mesh: Mesh, trainer: step.Trainer, batch: dict[str, Any]) -> int:
    """The most trips of the loss loop: all slots used. (It stops behind the last loss token.)"""
    rows, slots = batch["targets"].shape
    rows //= trainer.computation.accumulation * mesh.shape["data"] * mesh.shape["fsdp"]
    return -(-rows * slots // min(trainer.computation.loss_chunk, rows * slots))


@contextlib.contextmanager
def watched_stderr() -> Iterator[list[str]]:
    """The compiler's warnings of involuntary rematerialisation, as they are written to stderr.

    XLA writes from C++, past `sys.stderr`. Everything else goes on to the real one at once.
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
                if compiled_report.REMATERIALISATION in (text := line.decode("utf-8", "replace")):
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
