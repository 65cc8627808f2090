"""Compile every student's training step, and the sampler, from shapes only; say what they need.

This works for the devices of this machine, and for a TPU slice or GPUs that it does not have.
Nothing is trained, and nothing is written, unless all annotations are rejected: then they are
listed in the working directory, as a run lists them.
"""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from distill_jax import devices
from distill_jax.dry_run import ahead_of_time, sampler_programs
from distill_jax.dry_run.ahead_of_time import Target, machine_target, topology_target
from distill_jax.dry_run.table import show
from distill_jax.errors import UserError
from distill_jax.model.network import NetworkConfig
from distill_jax.run import dev_measurement, from_first, rounds
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.preparation import check_questions, prepare
from distill_jax.run.run import make_run
from distill_jax.run.student_setup import Place, StudentSetup
from distill_jax.teacher.settings import NOTHING
from distill_jax.tracking.reporting import make_reporting
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import step
from distill_jax.workdir import Workdir

NOBODY: Mapping[str, NetworkConfig] = {}
# The name of the loss loop (training/chunks.py) in a compiled step ends like this.
LOSS_LOOP = "shard_map/while"


def run(config: Any, path: str | None, topology: str | None) -> None:
    """Print a table and, as the last line, the same as JSON.

    `path` is a run's working directory, whose tokenizer and sizes are then used. `topology`
    as in `topologies.TOPOLOGIES` or `topologies.GPU_TOPOLOGIES`; None = this machine.
    """
    devices.expect_what_is_there()
    target = topology_target(topology, config.mesh) if topology else machine_target(config.mesh)
    terminal = Terminal()
    with tempfile.TemporaryDirectory() as nowhere:
        this = make_run(config, Workdir(path or nowhere))
        try:
            this = from_first.checked(this, may_take_over=True)
        except UserError as error:  # to try other values for a run that exists is no mistake
            terminal.say(f"warning: a run would not begin: {error}")
        if not topology:
            make_reporting(config, this.workdir).tracking.check()
        chosen = list(config.train.students or this.students)
        desk = Desk(this, terminal, NOTHING)
        prepared = prepare(desk, chosen, Place(target.mesh, target.platform))
        check_questions(desk, prepared)
        finished = from_first.known_students(this).finished
        todo = [student for student in chosen if student not in finished]
        dev_measurement.check_order(this, finished, todo)
        rounds.check_order(this, finished, todo)
        job = sampler_programs.sampler_job(this, prepared, target)
    report: dict[str, Any] = {
        "target": target.name,
        "devices": target.mesh.size,
        "mesh": dict(target.mesh.shape),
        "memory_per_device": target.memory,
        "students": {},
    }
    for setup in prepared.setups:
        if not setup.facts["steps"]:  # one that stays as it is
            continue
        terminal.say(f"student {setup.student}: compiling the training step")
        report["students"][setup.student] = _student(setup, target)
    terminal.say("sampler: compiling prefill, admission and decode steps")
    report["sampler"] = sampler_programs.measure(target, job)
    show(report)
    print(json.dumps(report), flush=True)


def _student(setup: StudentSetup, target: Target) -> dict[str, Any]:
    """The report of one student."""
    facts, computation = setup.facts, setup.trainer.computation
    report = {
        "parameters": facts["parameters"],
        "trained_parameters": facts["trained_parameters"],
        "rows": setup.data.batch_size,
        "seq_len": facts["seq_len"],
        **dataclasses.asdict(computation),
        "useful_flops": round(facts["flops_per_token"] * facts["tokens"] / facts["steps"]),
    }
    frozen = {role: each.model for role, each in setup.frozen.items()}
    return report | measure(target, setup.trainer, setup.data.global_shapes(), frozen)


def measure(
    target: Target,
    trainer: step.Trainer,
    batch: dict[str, Any],
    frozen: Mapping[str, NetworkConfig] = NOBODY,
) -> dict[str, Any]:
    """Compile `train_step` for a global batch of these shapes, with `frozen` students; what it
    needs, as `ahead_of_time.compile_program` says."""
    mesh = target.mesh
    adapter = trainer.adapter
    abstract = step.abstract_state(mesh, trainer.config, trainer.optimizer, adapter)
    with jax.set_mesh(mesh):
        read = step.abstract_frozen(mesh, adapter)
        read |= {role: step.abstract_params(mesh, model) for role, model in frozen.items()}
        lowered = step.lower_step(mesh, abstract, batch, read, trainer)
    bounds = {LOSS_LOOP: loss_loop_trips(mesh, trainer, batch)}
    return ahead_of_time.compile_program(target, lowered, bounds)[1]


def loss_loop_trips(mesh: Mesh, trainer: step.Trainer, batch: dict[str, Any]) -> int:
    """The most trips of the loss loop, if all slots are used. (It stops after the last loss
    token.)"""
    rows, slots = batch["targets"].shape
    rows //= trainer.computation.accumulation * mesh.shape["data"] * mesh.shape["fsdp"]
    return -(-rows * slots // min(trainer.computation.loss_chunk, rows * slots))
