"""Sweeps of tiny runs by real processes, for the tests that kill them."""

import json
import subprocess
import time

from experiment_runs import ROOT, TINY, command, environment

from distill_jax.settings import command_line

# The tiny run of the other tests, shorter.
_, OVERRIDES = command_line.split_overrides(TINY)
OVERRIDES |= {"train.steps": "20", "train.save_every": "10", "train.eval_every": "10"}


def write_sweep(path, arms, seeds=(0,), **fields):
    """A sweep file; `fields` are others of Sweep."""
    fields = {"config": "configs/demo.py", "arms": arms, "seeds": seeds, **fields}
    path.write_text(
        "from distill_jax.sweep.definition import Ask, Make, Run, Sweep\n"
        f"def get_sweep():\n    return Sweep(**{fields!r})\n"
    )
    return path


def outcomes(directory):
    return json.loads((directory / "sweep.json").read_text())["runs"]


def begin(file, directory, *overrides):
    env = {k: v for k, v in environment().items() if k != "JAX_COMPILATION_CACHE_DIR"}
    return subprocess.Popen(
        command("sweep", "--config", file, "--workdir", directory, *overrides),
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_until(happened, process, limit_s=300):
    deadline = time.monotonic() + limit_s
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
