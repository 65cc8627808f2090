"""How the tests run the commands: tiny arguments, real processes, what is left behind."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
TINY = [
    "--config=configs/demo.py",
    "--config.task_options.train_problems=300",
    "--config.task_options.test_problems=40",
    "--config.train.steps=60",
    "--config.train.batch_size=8",
    "--config.train.log_every=5",
    "--config.train.save_every=20",
    "--config.train.eval_every=30",
    "--config.data.dev_problems=10",
    "--config.sampling.max_tokens=48",
    "--config.sampling.slots=8",
    "--config.evaluation.problems=12",
] + [f"--config.model.{s}.{k}" for s in ("decomposer", "solver") for k in ("layers=1", "width=32")]


# Compiling is most of what a tiny run does: half of it goes without the last optimisations.
QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def environment(flags=QUICK_COMPILATION):
    """For a process of a test; `flags` are XLA's."""
    fixed = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    fixed["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=0"  # no command begins anew: devices.py
    return {**os.environ, **fixed, "XLA_FLAGS": flags}


def command(module, *arguments):
    return [sys.executable, "-m", f"distill_jax.{module}", *map(str, arguments)]


def run(module, *arguments, cwd=ROOT, flags=QUICK_COMPILATION):
    return subprocess.run(
        command(module, *arguments), cwd=cwd, env=environment(flags), capture_output=True, text=True
    )


def one_error_line(finished):
    """The message of a run that must have failed because of the user, with nothing else said."""
    assert finished.returncode == 2, finished.stdout + finished.stderr
    lines = finished.stderr.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("error: "), finished.stderr
    return lines[0]


def contents(workdir):
    """A hash per file, without the lock and the log of what was said."""
    return {
        str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(workdir.rglob("*"))
        if path.is_file() and path.name not in (".lock", "log.jsonl")
    }


def states(workdir, step=60, students=("decomposer", "solver")):
    """Every parameter of the last checkpoints as a hash of its bytes, read by orbax."""
    script = (
        "import sys, hashlib, jax, orbax.checkpoint as ocp\n"
        "for path in sys.argv[1:]:\n"
        "    tree = ocp.StandardCheckpointer().restore(path)\n"
        "    for name, leaf in jax.tree_util.tree_leaves_with_path(tree):\n"
        "        print(name, leaf.shape, hashlib.sha256(leaf.tobytes()).hexdigest())\n"
    )
    paths = [str(workdir / "checkpoints" / student / str(step) / "params") for student in students]
    return subprocess.run(
        [sys.executable, "-c", script, *paths], env=environment(), capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip


def curve(workdir, name):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return [(row["step"], row[name]) for row in rows if name in row]
