"""Compile one option of the table of `scaling.py`; the caller is a process of its own."""

from typing import Any

import jax
import numpy as np

from benchmarks.scaling_options import (
    GPT2,
    GPT2_USED,
    LOSS_CHUNK,
    PROMPT,
    ROWS,
    STUDENTS,
    TOKENS,
    WINDOW,
    Option,
    config,
)
from distill_jax.dry_run import ahead_of_time, sampler_programs, whole_run
from distill_jax.model import attention, flops, network
from distill_jax.sampling.turn_rules import TurnRules, ViewRules
from distill_jax.text.rows import NO_LOSS, Row
from distill_jax.training import batches, optimizer, step
from distill_jax.training.objective import Likelihood


def training_step(model: str, topology: str, option: Option) -> dict[str, Any]:
    """The report of a training step (`ahead_of_time.compile_program`), with the FLOPs it needs."""
    target, size = _target(topology, option), config(model)
    schedule = optimizer.learning_rate_schedule(
        steps=1000, learning_rate=1e-3, final_learning_rate=0.0, warmup_steps=100
    )
    adamw = optimizer.make_optimizer(
        schedule, b1=0.9, b2=0.98, epsilon=1e-8, weight_decay=0.1, clip_norm=1.0
    )
    kernel, _ = attention.choose_kernel(
        "auto",
        target.platform,
        dtype="bfloat16",
        seq_len=TOKENS,
        head_dim=size.head_dim,
        dropout=0,
    )
    computation = step.Computation("bfloat16", kernel, remat=option.remat, loss_chunk=LOSS_CHUNK)
    allowed = np.ones((2, size.vocab_size), bool)  # of two roles
    trainer = step.Trainer(size, adamw, computation, allowed, 0, Likelihood())
    rows = ROWS * target.mesh.size
    some = batches.StudentRows([Row([1, 2], [NO_LOSS, 0])], "student", TOKENS, 0.0)
    row = batches.assemble(some, [], batches.RowShape(TOKENS, TOKENS, packed=True))
    batch = {
        name: jax.ShapeDtypeStruct((rows, *np.shape(value)), value.dtype)
        for name, value in row.items()
    }
    # Every slot holds one token of one long problem: the most work that such a batch can be.
    tokens, pairs = rows * TOKENS, rows * flops.causal_pairs(TOKENS)
    again = flops.forward_flops(size, tokens, pairs, 0) if option.remat else 0
    return {
        "parameters": network.parameter_count(size),
        "kernel": kernel,
        "rows": rows,
        "useful_flops": flops.train_flops(size, tokens, pairs, tokens),
        "recomputed_flops": again,
        **whole_run.measure(target, trainer, batch),
    }


def sampler(model: str, topology: str, option: Option) -> dict[str, Any]:
    """The report of the sampler (`sampler_programs.measure`): two students that read each other."""
    target = _target(topology, option)
    size, both = config(model), (True, True)
    used = GPT2_USED if model in GPT2 else size.vocab_size
    rules = TurnRules(
        views=tuple(ViewRules(student, size, both) for student in STUDENTS),
        role_views=((0,), (1,)),
        next_role=(1, 0),
        may_pass=both,
        may_end=(True, False),
        end_of_turn=used - 1,
        end_of_text=used - 2,
        vocab_size=used,
        max_turns=16,
        max_turn_tokens=64,
        max_tokens=WINDOW - PROMPT,
        dtype="bfloat16",
    )
    job = sampler_programs.SamplerJob(rules, option.slots * target.mesh.size, PROMPT, WINDOW)
    return sampler_programs.measure(target, job)


def _target(topology: str, option: Option) -> ahead_of_time.Target:
    sizes = {"data": option.data, "fsdp": option.fsdp, "tensor": 1}
    return ahead_of_time.topology_target(topology, sizes)
