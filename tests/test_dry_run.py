"""Dry runs of a tiny student, for this machine, for a TPU slice and for GPUs."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import types
from typing import Any

import cuda_compiler
import jax
import jax.numpy as jnp
import pytest
from experiment_runs import TINY, one_error_line, run

from distill_jax import devices
from distill_jax.dry_run import ahead_of_time, sampler_programs, table, topologies, whole_run
from distill_jax.dry_run.sampler_programs import SamplerJob
from distill_jax.errors import UserError
from distill_jax.model import gpt2, sharding
from distill_jax.run import from_first, training_annotations
from distill_jax.run.run import make_run
from distill_jax.sampling import slots
from distill_jax.sampling.turn_rules import TurnRules, ViewRules
from distill_jax.settings import command_line
from distill_jax.text import rows as text_rows
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import chunks, step
from distill_jax.workdir import Workdir


def test_warnings_of_the_compiler_are_counted_and_the_rest_goes_on(capfd):
    with ahead_of_time.watched_stderr() as found:
        os.write(2, b"E0101 spmd.cc:1] [SPMD] Involuntary full rematerialization. The compiler\n")
        os.write(2, b"W0101 llo.h:2] a warning of libtpu\nsomething else\n")
    assert len(found) == 1
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "something else\nafter\n"


@pytest.mark.parametrize(("rows", "slots", "chunk"), [(16, 20, 64), (4, 7, 1), (8, 64, 4096)])
def test_bound_of_the_loss_loop(rows, slots, chunk):
    mesh = jax.make_mesh((2, 1, 1), sharding.AXES, devices=jax.devices()[:2])
    model: Any = None  # not looked at
    trainer = step.Trainer(model, model, step.Computation(loss_chunk=chunk), None, 0, model)
    numbers = [jnp.zeros((rows // 2, slots), jnp.int32)] * 3
    part = chunks.LossTokens(jnp.zeros((rows // 2, 30, 3)), *numbers)
    made = jax.eval_shape(lambda tokens: chunks.compact(chunk, tokens), part)
    batch = {"targets": jnp.zeros((rows, slots))}
    assert whole_run.loss_loop_trips(mesh, trainer, batch) == made.targets.shape[0]


def test_chips_by_device_kind():
    kinds = {"TPU v5 lite": "v5e", "TPU v5": "v5p", "TPU v6 lite": "v6e", "NVIDIA H200": "H200"}
    for kind, name in kinds.items():
        assert devices.chip_of(types.SimpleNamespace(device_kind=kind)) is devices.CHIPS[name]
    assert devices.chip_of(jax.devices()[0]) is None


CONFIG = """
from distill_jax.configs.base import get_config as base_config

def get_config():
    config = base_config()
    config.scheme = "answer_only"
    config.task_options.train_problems = 60
    config.tokenizer.vocab_size = 300
    config.train.steps = 10
    for student in config.model:
        config.model[student].layers = 1
        config.model[student].heads = 2
        config.model[student].width = 128
    return config
"""
MESH = ("--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2")
LIBTPU = importlib.util.find_spec("libtpu") is not None


def command(
    tmp_path: pathlib.Path, *arguments: str, before: str = "", **variables: str
) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a dry run of CONFIG in a process of its own."""
    (tmp_path / "tiny.py").write_text(CONFIG)
    code = f"import sys\n{before}\nfrom distill_jax import errors, main\n"
    code += "errors.leave(errors.run_command(main.main, sys.argv[1:]))"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "COLUMNS": "200",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", "tiny.py", "--dry_run", *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def state_bytes(vocabulary: int, width: int, context: int) -> int:
    """Per device of a 2 x 2 x 2 mesh: three float32 numbers per parameter, and six counters."""
    half = width // 2
    embeddings = vocabulary // 2 * half + context * half
    attention = half * 3 * half + 3 * half + half * half + width  # c_attn, c_proj
    mlp = half * 2 * width + 2 * width + 2 * width * half + width  # c_fc, c_proj
    norms = 3 * 2 * width
    return 3 * 4 * (embeddings + attention + mlp + norms) + 6 * 4


def test_a_real_dry_run_on_eight_devices(tmp_path):
    code, out, err = command(tmp_path, *MESH, "--config.train.loss_chunk=8")
    assert code == 0, err
    report = json.loads(out.rstrip("\n").split("\n")[-1])
    assert (report["target"], report["devices"]) == ("cpu", 8)
    student = report["students"]["solver"]

    config = command_line.load_config(str(tmp_path / "tiny.py"))
    inputs = make_run(config, Workdir(tmp_path / "nothing"))
    annotations = training_annotations.collect(inputs, Terminal()).train
    tokenizer = from_first.tokenizer(inputs, annotations)
    (rows,) = text_rows.encode_rows(annotations, inputs.scheme, inputs.views, tokenizer).values()
    lengths = [len(row.tokens) - 1 for row in rows]
    learned = [sum(writer != text_rows.NO_LOSS for writer in row.writers) for row in rows]
    vocabulary, width, batch = 384, 128, 16

    multiplications = 12 * width**2 * sum(lengths) + 2 * width * sum(
        n * (n + 1) / 2 for n in lengths
    )
    multiplications += vocabulary * width * sum(learned)
    assert student["useful_flops"] == pytest.approx(
        6 * multiplications * batch / len(rows), rel=2e-3
    )

    tokens = -(-max(lengths) // 8) * 8
    slots = -(-max(learned) // 4) * 4
    assert (student["seq_len"], student["rows"]) == (tokens, batch)
    state = state_bytes(vocabulary, width, context=256)
    memory = student["memory"]
    assert memory["aliased"] == state
    assert memory["arguments"] == state + 4 * (batch // 4) * (tokens + 4 * slots)
    assert student["fits"] is True and memory["peak"] > memory["arguments"]

    kinds = student["collective_totals"]["kinds"]
    # The head's gradient is scattered over fsdp and then summed over data.
    assert kinds["reduce-scatter"]["bytes"] == 4 * vocabulary // 2 * width
    assert kinds["all-reduce"]["count"] > 0 and kinds["all-gather"]["count"] > 0
    inside = [group for group in student["collectives"] if group["loop"]]
    assert inside and all(group["trips"] is None for group in inside)
    assert [loop["most_trips"] for loop in student["loops"]] == [-(-batch // 4 * slots // 8)]
    assert "all-gather" in out and "counts each loop body once" in out
    check_sampler(report, vocabulary, out)


def check_sampler(report: dict[str, Any], vocabulary: int, out: str) -> None:
    """What is known of the sampler of CONFIG on a 2 x 2 x 2 mesh: one view of width 128."""
    sampler, width, window = report["sampler"], 128, 256
    itemsize = {"float32": 4, "bfloat16": 2}[sampler["dtype"]]
    assert sampler["slots"] % 4 == 0 and sampler["window"] == window
    assert sampler["prompts"][0] == sampler["slots"] // 8 // 4 * 4
    cache = 2 * width * window * itemsize  # k and v of one layer
    assert sampler["cache_bytes_per_slot"] == cache
    # Two devices share a slot's heads; TPU arrays take somewhat more.
    here = cache * sampler["slots"] // 8
    memory = sampler["programs"]["decode_chunk"]["memory"]
    assert here < memory["aliased"] < 1.2 * here
    assert sampler["peaks"]["grow"] > 1.7 * here  # the window before is 3/4 as long
    assert sampler["fits"] is True and sampler["peak"] == max(sampler["peaks"].values())

    needs, slots = sampler["step"], sampler["slots"]
    products = 12 * width**2 + 2 * width * window // 2 + vocabulary * width
    assert needs["flops"] == 2 * products * slots
    norms_and_biases = 3 * 2 * width + 9 * width
    weights = itemsize * (12 * width**2 + norms_and_biases + vocabulary * width)
    assert (needs["weight_bytes"], needs["cache_bytes"]) == (weights // 2, here // 2)
    # Attention and MLP are summed over tensor.
    assert needs["collectives"]["all-reduce"]["count"] >= 2
    assert ("roofline_ms" in needs) == (report["target"] != "cpu")
    assert "per decode step" in out and "communication of a decode step" in out


def test_a_sampler_on_copies_moves_no_parameters():
    """On a mesh with data alone devices tell each other a few numbers per slot and step."""
    target = ahead_of_time.machine_target({"data": 8, "fsdp": 1, "tensor": 1})
    model = gpt2.GPT2Config(vocab_size=384, context=256, layers=1, heads=2, width=128)
    views = tuple(ViewRules(student, model, (True, True)) for student in ("asker", "answerer"))
    caps = {"max_turns": 4, "max_turn_tokens": 32, "max_tokens": 64}
    rules = TurnRules(
        views, ((0,), (1,)), (1, 0), (True, True), (True, False), 10, 11, vocab_size=300, **caps
    )
    sampler = sampler_programs.measure(target, SamplerJob(rules, slots=64, prompt=64, window=256))
    moved = sampler["step"]["collectives"]
    assert sum(kind["bytes"] for kind in moved.values()) < 64 * 100
    # Prompts are read where the slots are that they go to.
    for program in ("prefill", "admit"):
        assert sampler["programs"][program]["collectives"] == []
    # A device reads both students and the caches of its 8 slots.
    assert sampler["step"]["weight_bytes"] == 4 * (sampler["parameters"] - 2 * 256 * 128)
    assert sampler["step"]["cache_bytes"] == 8 * 128 * 2 * 128 * 4 * 2


def test_a_sampler_that_does_not_fit_is_shown(capsys):
    failed = {"fits": False, "needed_bytes": 24 << 30, "message": "RESOURCE_EXHAUSTED"}
    took = {"rematerialisations": 0, "compile_seconds": 3.0}
    sampler = {
        "slots": 64, "window": 512, "prompts": [8, 256], "dtype": "bfloat16", "kernel": "xla",
        "parameters": 10,
        "cache_bytes_per_slot": 1 << 20, "programs": {"prefill": failed}, **failed, **took,
    }  # fmt: skip
    report = {"target": "v5e:2x4", "devices": 8, "mesh": {"data": 8}, "students": {}}
    table.show(report | {"memory_per_device": 16 << 30, "sampler": sampler})
    out = capsys.readouterr().out
    assert "needed per device" in out and "24 GiB" in out and "NO (device has 16 GiB)" in out


def test_slots_follow_the_target_and_not_this_machine():
    model = gpt2.GPT2Config(vocab_size=384, context=1024, layers=48, heads=25, width=1600)
    rules = TurnRules(
        (ViewRules("solver", model, (True,)),),
        ((0,),),
        (0,),
        (False,),
        (True,),
        10,
        11,
        300,
        4,
        32,
        64,
    )
    with jax.set_mesh(ahead_of_time.machine_target({"data": 8, "fsdp": 1, "tensor": 1}).mesh):
        assert slots.choose_slots(rules, 0, 10_000, 1024, None, "cpu") == 8 * 64
        assert slots.choose_slots(rules, 0, 10_000, 1024, None, "tpu") == 8 * 512
        row = 2 * 48 * 1600 * 1024 * 4
        few = slots.choose_slots(rules, 0, 10_000, 1024, 16 << 30, "tpu")
        assert few == int(0.4 * (16 << 30) * 8 / row) // 8 * 8


def test_topology_without_libtpu_is_one_line(tmp_path):
    blocked = "sys.modules['libtpu'] = None"
    code, out, err = command(tmp_path, "--topology=v5e:2x4", before=blocked)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: --topology=v5e:2x4") and "distill-jax[tpu]" in err


@pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed (pip install 'distill-jax[tpu]')")
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--topology=v5e:3x5",), "known are v5e:2x4"),
        (("--topology=v5e:2x4", "--config.mesh.data=3"), "config.mesh data=3"),
        (("--topology=v5e:2x4", *MESH, "--config.train.batch_size=6"), "does not divide by 4"),
    ],
)
def test_mistakes_about_a_topology_are_one_line(tmp_path, arguments, part):
    code, _, err = command(tmp_path, *arguments)
    assert (code, err.count("\n")) == (2, 1) and part in err


@pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed (pip install 'distill-jax[tpu]')")
def test_a_real_dry_run_for_a_topology(tmp_path):
    packed = ("--config.data.packing=true", "--config.data.seq_len=256")
    code, out, err = command(
        tmp_path,
        "--topology=v5e:2x4",
        *MESH,
        *packed,
        "--config.train.dtype=bfloat16",
        "--config.sampling.dtype=bfloat16",
    )
    assert code == 0, err
    report = json.loads(out.rstrip("\n").split("\n")[-1])
    student = report["students"]["solver"]
    assert (report["target"], report["devices"], student["kernel"]) == ("v5e:2x4", 8, "splash")
    assert report["memory_per_device"] == 16 << 30 and student["fits"] is True
    # TPU memory is handed out in tiles, so arrays take somewhat more than their numbers.
    assert student["memory"]["aliased"] >= state_bytes(384, 128, context=256)
    assert {"all-reduce", "all-gather"} <= set(student["collective_totals"]["kinds"])
    check_sampler(report, 384, out)


def test_gpus_without_cudas_compiler_are_one_line(tmp_path):
    blocked = "sys.modules['jax_plugins'] = None"
    code, out, err = command(tmp_path, "--topology=H100:8", before=blocked)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: --topology=H100:8 needs CUDA's") and "distill-jax[cuda]" in err


@pytest.mark.parametrize("name", ["H100", "H100:", "A100:0", "H200:2x", "H100:2x4x8", "H100:a"])
def test_shapes_that_gpus_do_not_have(name):
    kind = name.partition(":")[0]
    said = f"--topology={name}: {kind}:8 is one host of eight, {kind}:4x8 are four such hosts"
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        topologies.gpu_devices(name)


def test_of_a_gpu_the_share_counts_that_jax_takes(monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert topologies.usable_memory(80 * 10**9) == 60 * 10**9
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", ".9")
    assert topologies.usable_memory(80 * 10**9) == 72 * 10**9
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "most")
    with pytest.raises(UserError, match="MEM_FRACTION=most: a number like "):
        topologies.usable_memory(80 * 10**9)


@pytest.mark.parametrize("name", ["B200:8", "h100:8", "L4", ""])
def test_what_is_neither_tpu_nor_gpu(name, monkeypatch):
    # libtpu's settings are for this test alone: programs that others start would log more.
    monkeypatch.setattr(topologies.os, "environ", os.environ.copy())
    with pytest.raises(UserError, match=f"^--topology={name} is neither .* v5e:2x4, .*, H100:8, "):
        topologies.topology_devices(name)


@cuda_compiler.needed
def test_a_real_dry_run_for_gpus(tmp_path):
    # What cuDNN does needs cuDNN, and its compiler alone is not that.
    kernels = ("--config.train.attention=triton", "--config.sampling.attention=triton")
    code, out, err = command(
        tmp_path, "--topology=H100:2x4", *MESH, *kernels,
        "--config.data.packing=true", "--config.data.seq_len=256",
        "--config.train.dtype=bfloat16", "--config.sampling.dtype=bfloat16",
        **cuda_compiler.environment(),
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(out.rstrip("\n").split("\n")[-1])
    student = report["students"]["solver"]
    assert (report["target"], report["devices"], student["kernel"]) == ("H100:2x4", 8, "triton")
    assert report["memory_per_device"] == 60 * 10**9 and student["fits"] is True
    assert student["memory"]["aliased"] == state_bytes(384, 128, context=256)
    assert {"all-reduce", "all-gather"} <= set(student["collective_totals"]["kinds"])
    check_sampler(report, 384, out)


def test_topology_needs_dry_run():
    with pytest.raises(SystemExit) as caught:
        from distill_jax import main

        main.main(["--config", "configs/demo.py", "--workdir", "x", "--topology=v5e:2x4"])
    assert caught.value.code == 2


def test_mesh_that_does_not_fit_a_machine():
    with pytest.raises(UserError, match="does not fit 8"):
        ahead_of_time.machine_target({"data": 3, "fsdp": 1, "tensor": 1})


def test_other_values_for_a_run_that_exists_are_tried_with_a_warning(tiny_run, monkeypatch):
    """What they need is still told; a package that is missing here is a mistake."""
    said = []
    monkeypatch.setattr(Terminal, "say", lambda self, line: said.append(line))
    monkeypatch.setattr(whole_run, "prepare", lambda *_: sys.exit(3))  # far enough
    config = command_line.chosen_config(None, str(tiny_run[0]))
    with pytest.raises(SystemExit):
        whole_run.run(config, str(tiny_run[0]), None)
    assert said == []
    config.train.batch_size = 16
    with pytest.raises(SystemExit):
        whole_run.run(config, str(tiny_run[0]), None)
    (line,) = said
    assert line.startswith("warning: a run would not begin: ") and "train.batch_size" in line
    config.tracking = ("wandb",)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="wandb, which is not installed"):
        whole_run.run(config, str(tiny_run[0]), None)


def test_it_refuses_what_the_run_would_refuse(tmp_path):
    arguments = [*TINY, "--config.train.best_by=accuracy", "--config.train.dev_dialogues=2"]
    line = one_error_line(run("main", *arguments, "--dry_run"))
    assert "student 'decomposer' is trained before solver" in line
    assert one_error_line(run("main", *arguments, "--workdir", tmp_path / "w")) == line
