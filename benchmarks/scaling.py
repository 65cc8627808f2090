"""Compile GPT-2's training step for TPU slices that need not be there; write docs/scaling.md.

    python -m benchmarks.scaling [--results docs/scaling.json] [--page docs/scaling.md]

Needs libtpu (`pip install 'distill-jax[tpu]'`) and no TPU. Hours on a small machine: each compiled
step goes to the results as it is done, and a second run compiles what is missing. `--models` and
`--topologies` take a part of the table; `--models=` only writes the page again.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import math
import pathlib
import subprocess
import sys
import time
from typing import Any

from benchmarks import results, scaling_page
from distill_jax.chips import CHIPS, TOPOLOGIES
from distill_jax.model.presets import PRESETS
from distill_jax.workdir import read_json, write_json

MODELS = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
ROWS, TOKENS, VOCABULARY, LOSS_CHUNK = 8, 1024, 50_304, 2048  # rows and chunk per device


@dataclasses.dataclass(frozen=True)
class Option:
    """A way to lay out a training step. `needs` is what it takes per device at the very least."""

    name: str
    data: int
    fsdp: int
    remat: bool
    needs: int


def options(model: str, topology: str) -> list[Option]:
    """What is tried for a model on a slice, the fastest first: plain data parallelism, then remat,
    then parameters and moments split over as many devices as the width divides by.

    Heads are never split: 25 heads divide by nothing, and the others need it nowhere.
    """
    devices, size = device_count(topology), PRESETS[model]
    split = math.gcd(devices, size["width"])
    return [
        Option(
            f"{'fsdp' if fsdp > 1 else 'data'}{'-remat' if remat else ''}",
            devices // fsdp,
            fsdp,
            remat,
            least_memory(size, fsdp, remat),
        )
        for fsdp in (1, split)
        for remat in (False, True)
    ]


def least_memory(size: dict[str, int], fsdp: int, remat: bool) -> int:
    """Bytes per device that no compiler can do without; spares compilations that must fail.

    float32 parameters, gradients and two moments, split over fsdp; and what the backward pass keeps
    in bfloat16 of each token and layer: with remat a block's input (D numbers), else at least that,
    q, k, v, the result of attention, the input of the MLP and its hidden layer (10 D).
    """
    width, layers = size["width"], size["layers"]
    parameters = layers * 12 * width**2 + (VOCABULARY + size["context"]) * width
    kept = (1 if remat else 10) * 2 * width * layers * ROWS * TOKENS
    return 16 * parameters // fsdp + kept


def device_count(topology: str) -> int:
    """Of "v5e:2x4": 8."""
    return math.prod(int(side) for side in topology.partition(":")[2].split("x"))


def compile_one(model: str, topology: str, name: str) -> dict[str, Any]:
    """Compile one option and report on it; the caller is a process of its own."""
    import jax
    import numpy as np

    from distill_jax import dry_run
    from distill_jax.model import flops, gpt2
    from distill_jax.training import batches, optimizer, step

    option = next(option for option in options(model, topology) if option.name == name)
    target = dry_run.topology_target(
        topology, {"data": option.data, "fsdp": option.fsdp, "tensor": 1}
    )
    config = gpt2.GPT2Config(VOCABULARY, **PRESETS[model])
    schedule = optimizer.learning_rate_schedule(
        steps=1000, learning_rate=1e-3, final_learning_rate=0.0, warmup_steps=100
    )
    adamw = optimizer.make_optimizer(
        schedule, b1=0.9, b2=0.98, epsilon=1e-8, weight_decay=0.1, clip_norm=1.0
    )
    computation = step.Computation("bfloat16", "splash", remat=option.remat, loss_chunk=LOSS_CHUNK)
    allowed = np.ones((2, VOCABULARY), bool)  # of two roles
    trainer = step.Trainer(config, adamw, computation, allowed, seed=0)
    rows = ROWS * target.mesh.size
    row = batches.assemble([], batches.RowShape(TOKENS, TOKENS, packed=True))
    batch = {
        name: jax.ShapeDtypeStruct((rows, *np.shape(value)), value.dtype)
        for name, value in row.items()
    }
    # Every slot holds one token of one long problem: the most work that such a batch can be.
    tokens, pairs = rows * TOKENS, rows * flops.causal_pairs(TOKENS)
    again = flops.forward_flops(config, tokens, pairs, 0) if option.remat else 0
    return {
        "parameters": gpt2.parameter_count(config),
        "rows": rows,
        "useful_flops": flops.train_flops(config, tokens, pairs, tokens),
        "recomputed_flops": again,
        **dry_run.measure(target, trainer, batch),
    }


def fill_cell(cell: dict[str, Any], model: str, topology: str) -> bool:
    """Try the next option of a cell that has no answer yet; False where nothing is left to try."""
    memory = CHIPS[topology.partition(":")[0]].memory
    for option in options(model, topology):
        known = cell.get(option.name, {})
        if known.get("fits"):
            return False
        if known and "failed" not in known:
            continue
        layout = {"mesh": {"data": option.data, "fsdp": option.fsdp, "tensor": 1}}
        layout |= {"remat": option.remat}
        if option.needs > memory:
            cell[option.name] = layout | {"fits": False, "least_bytes": option.needs}
            continue
        results.say(f"{time.strftime('%H:%M:%S')} {model} {topology} {option.name}: compiling")
        cell[option.name] = layout | _in_process(model, topology, option.name)
        return "failed" not in cell[option.name]
    return False


def _in_process(model: str, topology: str, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", model, topology, name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().split("\n")
    if done.returncode or not lines[-1].startswith("{"):
        return {"failed": f"exit code {done.returncode}: {lines[-1][:300]}"}
    return json.loads(lines[-1])


def _fill(arguments: argparse.Namespace) -> dict[str, Any]:
    """All cells that are asked for, in order; the results file is whole at any time."""
    path = pathlib.Path(arguments.results)
    table = read_json(path) if path.exists() else {"cells": {}}
    table["machine"] = results.machine()
    for model in filter(None, arguments.models.split(",")):
        for topology in arguments.topologies.split(","):
            cell = table["cells"].setdefault(f"{model} {topology}", {})
            more = True
            while more:
                more = fill_cell(cell, model, topology)
                write_json(path, table)
                scaling_page.write(pathlib.Path(arguments.page), table)
    return table


def main() -> None:
    """Fill the table and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--results", default="docs/scaling.json")
    parser.add_argument("--page", default="docs/scaling.md")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--topologies", default=",".join(TOPOLOGIES))
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "TOPOLOGY", "OPTION"),
                        help="compile one option in this process and print its JSON")  # fmt: skip
    arguments = parser.parse_args()
    for name, known in (("models", MODELS), ("topologies", TOPOLOGIES)):
        for given in filter(None, getattr(arguments, name).split(",")):
            if given not in known:
                parser.error(f"--{name}: {given} is none of {', '.join(known)}")
    if arguments.one:
        version = {"libtpu": importlib.metadata.version("libtpu")}
        print(json.dumps(compile_one(*arguments.one) | version))
        return
    scaling_page.write(pathlib.Path(arguments.page), _fill(arguments))


if __name__ == "__main__":
    main()
