"""Compile the sampler's programs from shapes only, and say what a decode step needs.

W views, B slots, G prompts of P tokens at a time, S tokens of the longest caches.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.devices import Chip
from distill_jax.dialogues import sampler
from distill_jax.dialogues.predict import check_prompts
from distill_jax.dry_run import ahead_of_time, compiled_program
from distill_jax.dry_run.ahead_of_time import Target
from distill_jax.model import flops, network, sharding
from distill_jax.run import student_setup
from distill_jax.run.evaluation_problems import evaluation_problems
from distill_jax.run.preparation import Prepared
from distill_jax.run.run import Run
from distill_jax.sampling import decode, pick, slots
from distill_jax.sampling import state as dialogue_state
from distill_jax.sampling.advance import Calculator
from distill_jax.sampling.prompt_groups import MOST_GROUPS
from distill_jax.sampling.turn_rules import TurnRules
from distill_jax.training import step

# The name of the loop over decode steps (sampling/decode.py) in a compiled chunk.
DECODE_LOOP = "while"


@dataclasses.dataclass(frozen=True)
class SamplerJob:
    """The sizes to compile: `slots` B over all devices, `prompt` P, `window` S."""

    rules: TurnRules
    slots: int
    prompt: int
    window: int
    calculator: Calculator | None = None


def sampler_job(run: Run, prepared: Prepared, target: Target) -> SamplerJob:
    """What an evaluation would run on the target, with all students of the scheme: its longest
    prompts, and caches of the longest window that dialogues after these can need.

    Raises UserError for questions that do not fit the context and sizes that do not fit the mesh.
    """
    rules, tokenizer = prepared.rules.on(target.platform), prepared.tokenizer
    settings, mesh = run.sampling, target.mesh
    problems = evaluation_problems(run, prepared.data.dev)
    share = run.config.evaluation.max_too_long_share
    prompts = check_prompts(problems, run.scheme, tokenizer, rules.context, share)
    longest = max((len(p) for p in prompts if len(p) <= rules.context), default=rules.context)
    for student, model in rules.students.items():
        rows = mesh.shape["data"] * mesh.shape["fsdp"]  # slots are rounded up to them
        student_setup.check_mesh(mesh, student, model, rows)
    dialogues = len(problems) * settings.samples
    with jax.set_mesh(mesh):
        count = slots.choose_slots(
            rules, settings.slots, dialogues, longest, target.memory, target.platform
        )
    return SamplerJob(
        rules,
        count,
        next(length for length in slots.bucket_lengths(rules.context) if length >= longest),
        slots.longest_window(rules, longest),
        sampler.calculator_table(rules, tokenizer) if settings.calculator else None,
    )


def measure(target: Target, job: SamplerJob) -> dict[str, Any]:
    """Compile prefill, admission and a chunk of decode steps; what they need.

    slots, window, prompts ([G, P]), dtype, kernel (of attention to the caches), parameters (of all
    students), cache_bytes_per_slot
    programs   {"prefill", "admit", "decode_chunk"}: as `ahead_of_time.compile_program` says
    peaks, peak, fits    bytes per device (see `_peaks`)
    step       of one greedy decode step (see `step_needs`), with the `collectives` inside the loop,
               and for a known chip
               roofline_ms and tokens_per_second, which is `slots` tokens per slowest of the three

    If the compiler gave up for lack of memory: fits false, needed_bytes, message, and neither peaks
    nor step.
    """
    rules, shape = job.rules, target.mesh.shape
    with jax.set_mesh(target.mesh):
        programs = _compile(target, job)
        prompts = slots.prefill_rows(job.slots)
        groups = MOST_GROUPS if slots.parts() > 1 else 1
    report: dict[str, Any] = {
        "slots": job.slots,
        "window": job.window,
        "prompts": [prompts, job.prompt],
        "dtype": rules.dtype,
        "kernel": rules.kernel,
        "parameters": sum(network.parameter_count(model) for model in rules.students.values()),
        "cache_bytes_per_slot": rules.cache_bytes(job.window),
        "compile_seconds": round(sum(p["compile_seconds"] for p in programs.values()), 1),
        "compile_cpu_seconds": round(sum(p["compile_cpu_seconds"] for p in programs.values()), 1),
        "rematerialisations": sum(p["rematerialisations"] for p in programs.values()),
        "programs": programs,
    }
    for program in programs.values():
        if "memory" not in program:
            return report | {key: program[key] for key in ("fits", "needed_bytes", "message")}
    peaks = _peaks(programs, rules, job.window, groups)
    needs = step_needs(rules, job.slots, job.window, shape)
    collectives = programs["decode_chunk"]["collectives"]
    inside = [group for group in collectives if group["loop"].split(" > ")[0] == DECODE_LOOP]
    needs["collectives"] = compiled_program.totals(inside)["kinds"]
    if target.chip:
        times = roofline(needs, target.chip, target.mesh.size)
        needs["roofline_ms"] = times
        needs["tokens_per_second"] = round(1e3 * job.slots / max(times.values()))
    peak = max(peaks.values())
    return report | {"peaks": peaks, "peak": peak, "fits": target.fits(peak), "step": needs}


def step_needs(rules: TurnRules, count: int, window: int, mesh: Any) -> dict[str, Any]:
    """What a decode step of `count` slots needs at least, as we count it.

    filled        tokens in the caches of each slot: half of the window
    flops         of all devices and views
    weight_bytes  that a device reads: the parameters of every view, without tables of which it
    reads one row per slot, such as that of positions; split over `tensor` (parameters that `fsdp`
    splits are gathered first, and read whole)
    cache_bytes   that a device reads: the filled places of its slots, split over `tensor`

    A program reads more: it reads the caches up to the window, and also activations and logits.
    """
    filled, size = window // 2, jnp.dtype(rules.dtype).itemsize
    here = count // (mesh["data"] * mesh["fsdp"])
    numbers = sum(
        network.parameter_count(view.model) - view.model.looked_up_weights for view in rules.views
    )
    places = [(view.model, min(filled, view.cache_len(window))) for view in rules.views]
    caches = sum(network.cache_bytes(model, length, rules.cache_dtype) for model, length in places)
    return {
        "filled": filled,
        "flops": sum(flops.decode_flops(model, count, length) for model, length in places),
        "weight_bytes": size * numbers // mesh["tensor"],
        "cache_bytes": here * caches // mesh["tensor"],
    }


def roofline(needs: dict[str, Any], chip: Chip, devices: int) -> dict[str, float]:
    """The least milliseconds of a decode step: its FLOPs, its reads and what it sends, each at the
    chip's peak (https://doi.org/10.1145/1498765.1498785)."""
    sent = sum(kind["sent"] for kind in needs["collectives"].values())
    return {
        "compute": 1e3 * needs["flops"] / devices / chip.flops,
        "memory": 1e3 * (needs["weight_bytes"] + needs["cache_bytes"]) / chip.memory_rate,
        "links": 1e3 * sent / chip.link_rate,
    }


def _peaks(programs: dict[str, Any], rules: TurnRules, window: int, groups: int) -> dict[str, int]:
    """Bytes per device while each program runs, including what else is in memory (schedule.py):
    prompts of at most `groups` groups.

    prefill       the state, and the other groups
    admit         the parameters, and the other groups
    decode_chunk  the groups
    grow          no program of these: parameters, groups, caches of the window before the job's,
                  and the job's
    """
    memory = {name: program["memory"] for name, program in programs.items()}
    state = memory["decode_chunk"]["aliased"]
    parameters = memory["decode_chunk"]["arguments"] - state
    prompts = memory["prefill"]["outputs"]
    windows = slots.window_lengths(rules)
    shorter = max((length for length in windows if length < window), default=0)
    before = state * rules.cache_bytes(shorter) // rules.cache_bytes(window)
    others = (groups - 1) * prompts
    return {
        "prefill": memory["prefill"]["peak"] + state + others,
        "admit": memory["admit"]["peak"] + parameters + others,
        "decode_chunk": memory["decode_chunk"]["peak"] + groups * prompts,
        "grow": parameters + groups * prompts + before + state,
    }


def _compile(target: Target, job: SamplerJob) -> dict[str, dict[str, Any]]:
    """The reports of the programs, in the order in which they run; the last may have failed."""
    rules, count = job.rules, job.slots
    params, state = abstract_params(target, rules), _abstract_state(target, job)
    prompts = _shape((slots.prefill_rows(count), job.prompt))
    programs = {}
    lowered = decode.prefill.lower(rules, params, prompts)
    prefill, programs["prefill"] = ahead_of_time.compile_program(target, lowered, {})
    if prefill is None:
        return programs
    caches = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        jax.eval_shape(decode.prefill, rules, params, prompts),
        prefill.output_shardings,
    )
    numbers, names = _shape((count,)), _shape((count,), np.uint32)
    admission = decode.Admission(numbers, numbers, numbers, names, names, np.uint32(0))
    lowered = decode.admit.lower(rules, state, caches, admission)
    admit, programs["admit"] = ahead_of_time.compile_program(target, lowered, {})
    if admit is None:
        return programs
    table = jax.tree.map(lambda leaf: _shape(leaf.shape, leaf.dtype), job.calculator)
    order = decode.ChunkOrder(
        _shape((count, rules.script_len)),
        _shape((count,), np.bool_),
        np.int32(slots.CHUNK),
        np.int32(count),
    )
    lowered = decode.decode_chunk.lower(rules, params, state, order, pick.draw(), table)
    # A chunk of one step.
    bounds = {DECODE_LOOP: 1}
    _, programs["decode_chunk"] = ahead_of_time.compile_program(target, lowered, bounds)
    return programs


def abstract_params(target: Target, rules: TurnRules) -> dict[str, Any]:
    """{student: shapes, dtypes and shardings} of the parameters as the sampler holds them."""

    def cast(model):
        laid_out = step.abstract_params(target.mesh, model)
        shapes = jax.eval_shape(
            lambda params: sampler.cast_params(model, params, rules.dtype), laid_out
        )
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=place.sharding
            ),
            shapes,
            laid_out,
        )

    return {student: cast(model) for student, model in rules.students.items()}


def _abstract_state(target: Target, job: SamplerJob) -> dialogue_state.DialogueState:
    empty = jax.eval_shape(lambda: dialogue_state.empty_state(job.rules, job.slots, job.window))
    places = sharding.shardings(target.mesh, dialogue_state.layout(empty))
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        empty,
        places,
    )


def _shape(shape: tuple[int, ...], dtype: Any = np.int32) -> Any:
    """An argument from the host; the compiler chooses its layout."""
    return jax.ShapeDtypeStruct(shape, dtype)
