"""Compile training step and sampler of GPT-2 and the Llama family for TPU slices and GPUs that
need not be there; write docs/scaling.md.

    python -m benchmarks.scaling [--results docs/scaling.json] [--page docs/scaling.md]

Needs libtpu and CUDA's compiler (`pip install 'distill-jax[tpu,cuda]'`), no TPU and no GPU. Hours
on a small machine: each compiled program goes to the results as it is done, and a second run
compiles what is missing. `--part`, `--models` and `--topologies` take a part of the table;
`--models=` only writes the page again.
"""

import argparse
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import time
from typing import Any

from benchmarks import results, scaling_page
from benchmarks.scaling_options import (
    ALL_TOPOLOGIES,
    MODELS,
    sampler_options,
    topologies,
    training_options,
)
from distill_jax.devices import CHIPS
from distill_jax.dry_run.topologies import is_gpu
from distill_jax.workdir import read_json, write_json

OPTIONS = {"train": training_options, "sample": sampler_options}
# Where the cells of a part are in the results.
SECTIONS = {"train": "cells", "sample": "sampler_cells"}


def compile_one(part: str, model: str, topology: str, name: str) -> dict[str, Any]:
    """Compile one option and report on it; the caller is a process of its own."""
    from benchmarks import scaling_programs

    program = {"train": scaling_programs.training_step, "sample": scaling_programs.sampler}[part]
    option = next(option for option in OPTIONS[part](model, topology) if option.name == name)
    return program(model, topology, option)


def fill_cell(cell: dict[str, Any], part: str, model: str, topology: str) -> bool:
    """Try the next option of a cell that has no answer yet; False if nothing is left to try."""
    memory = CHIPS[topology.partition(":")[0]].memory
    for option in OPTIONS[part](model, topology):
        known = cell.get(option.name, {})
        if known.get("fits"):
            return False
        if known and "failed" not in known:
            continue
        layout = {"mesh": {"data": option.data, "fsdp": option.fsdp, "tensor": 1}}
        layout |= {"remat": option.remat}
        layout |= {"slots_per_device": option.slots} if option.slots else {}
        if option.needs > memory:
            cell[option.name] = layout | {"fits": False, "least_bytes": option.needs}
            continue
        now = time.strftime("%H:%M:%S")
        results.say(f"{now} {part} {model} {topology} {option.name}: compiling")
        cell[option.name] = layout | _in_process(part, model, topology, option.name)
        return "failed" not in cell[option.name]
    return False


def _in_process(*one: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", *one]
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
    asked = arguments.topologies.split(",") if arguments.topologies else ()
    chosen = [
        (part, model, topology)
        for part in filter(None, arguments.part.split(","))
        for model in filter(None, arguments.models.split(","))
        for topology in asked or topologies(model)
    ]
    for part, model, topology in chosen:
        cell = table.setdefault(SECTIONS[part], {}).setdefault(f"{model} {topology}", {})
        more = True
        while more:
            more = fill_cell(cell, part, model, topology)
            write_json(path, table)
            scaling_page.write(pathlib.Path(arguments.page), table)
    return table


def main() -> None:
    """Fill the table and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=" ".join((__doc__ or "").split("\n\n")[0].split()),
    )
    parser.add_argument("--results", default="docs/scaling.json")
    parser.add_argument("--page", default="docs/scaling.md")
    parser.add_argument("--part", default=",".join(OPTIONS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--topologies", default="", help="default: those of the page")
    parser.add_argument("--one", nargs=4, metavar=("PART", "MODEL", "TOPOLOGY", "OPTION"),
                        help="compile one option in this process and print its JSON")  # fmt: skip
    arguments = parser.parse_args()
    for name, known in (("part", OPTIONS), ("models", MODELS), ("topologies", ALL_TOPOLOGIES)):
        for given in filter(None, getattr(arguments, name).split(",")):
            if given not in known:
                parser.error(f"--{name}: {given} is none of {', '.join(known)}")
    if arguments.one:
        package = "jax-cuda12-pjrt" if is_gpu(arguments.one[2]) else "libtpu"
        compiler = {"compiler": f"{package} {importlib.metadata.version(package)}"}
        print(json.dumps(compile_one(*arguments.one) | compiler))
        return
    scaling_page.write(pathlib.Path(arguments.page), _fill(arguments))


if __name__ == "__main__":
    main()
