"""Do two commits make the same students? Four tiny runs with each, compared file by file.

    python benchmarks/compare_commits.py START [--keep DIRECTORY]

checks START out into a git worktree, and runs it and this working tree one after the other, on the
same machine, with the same number of cores and the same XLA_FLAGS:

    socratic    two students
    unified     one student for both roles, with packing and dropout
    chain       from the directory in Hugging Face format to which `unified` was exported
    guided      a planner, a decomposer and a solver

It compares every array of the checkpoints, the exported model.safetensors, config.json and
tokenizer.json, and the fields of predictions.jsonl that START writes (new ones may be added).
Hashes of earlier runs are not enough, because the same run differs between one core and two.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = (
    "task_options.train_problems=300",
    "task_options.test_problems=40",
    "train.steps=40",
    "train.batch_size=8",
    "train.save_every=20",
    "train.eval_every=20",
    "data.dev_problems=10",
    "sampling.max_tokens=48",
    "sampling.slots=8",
    "evaluation.problems=12",
    *(f"model.{s}.layers=1" for s in ("planner", "decomposer", "solver")),
    *(f"model.{s}.width=32" for s in ("planner", "decomposer", "solver")),
)
UNIFIED = (
    "students.decomposer=solver",
    "data.packing=True",
    "model.solver.embedding_dropout=0.1",
    "model.solver.attention_dropout=0.1",
    "model.solver.residual_dropout=0.1",
    "sampling.temperature=0.7",
)
EXPORTED = ("model.safetensors", "config.json", "tokenizer.json")
READ_ARRAYS = """
import hashlib, sys
import jax, orbax.checkpoint as ocp
tree = ocp.StandardCheckpointer().restore(sys.argv[1])
for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    print(jax.tree_util.keystr(path), leaf.shape, hashlib.sha256(leaf.tobytes()).hexdigest())
"""


def main(argv: list[str]) -> int:
    """Run both, print what differs; 0 if nothing does."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("start", help="the commit whose results are right")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the runs in this directory")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.keep or pathlib.Path(temporary)
        tree = pathlib.Path(temporary) / "worktree"
        git("worktree", "add", "--detach", tree, arguments.start)
        try:
            start = make_runs(tree, place.resolve() / "start")
        finally:
            git("worktree", "remove", "--force", tree)
        now = make_runs(ROOT, place.resolve() / "now")
    print(f"XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r}, {len(os.sched_getaffinity(0))} cores")
    return report(start, now)


def git(*arguments: object) -> None:
    """Raises CalledProcessError if git fails."""
    subprocess.run(["git", "-C", ROOT, *map(str, arguments)], check=True, capture_output=True)


def make_runs(tree: pathlib.Path, place: pathlib.Path) -> dict[str, str]:
    """Train, evaluate and export all four runs with the code in `tree`: {what: its content}."""
    students = {
        "socratic": ("demo", (), ("decomposer", "solver")),
        "unified": ("demo", UNIFIED, ("solver",)),
        "chain": ("demo", _chain(place), ("solver",)),
        "guided": ("guided_tiny", (), ("planner", "decomposer", "solver")),
    }
    found: dict[str, str] = {}
    for name, (config, keys, trained) in students.items():
        print(f"{place.name}: {name}", flush=True)
        workdir, exported = place / name, place / f"{name}_exported"
        overrides = [f"--config.{key}" for key in (*TINY, *keys)]
        distill(tree, "main", f"--config=configs/{config}.py", f"--workdir={workdir}", *overrides)
        distill(tree, "export", f"--workdir={workdir}", f"--output={exported}")
        for student in trained:
            # A finished student keeps its parameters only.
            array_file = workdir / "checkpoints" / student / "40" / "params"
            done = run(tree, "-c", READ_ARRAYS, array_file)
            found |= {
                f"{name}: {student}: params {line.rpartition(' ')[0]}": line
                for line in done.splitlines()
            }
            for file in EXPORTED:
                content = (exported / student / file).read_bytes()
                found[f"{name}: {student}: {file}"] = hashlib.sha256(content).hexdigest()
        [predictions] = (workdir / "evaluations").glob("*/predictions.jsonl")
        for line in predictions.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found |= {
                f"{name}: prediction {row['id']}: {field}": json.dumps(value)
                for field, value in row.items()
            }
    return found


def _chain(place: pathlib.Path) -> tuple[str, ...]:
    exported = place / "unified_exported" / "solver"
    return (
        "scheme=chain",
        f"model.solver.init_from={exported}",
        f"tokenizer.name={exported}",
        "train.accumulation=2",
    )


def distill(tree: pathlib.Path, module: str, *arguments: str) -> None:
    """Run one command; its log is shown only if it fails."""
    run(tree, "-m", f"distill_jax.{module}", *arguments)


def run(tree: pathlib.Path, *arguments: object) -> str:
    """The output of Python; if it fails, this program ends with its last lines."""
    environment = os.environ | {"PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{tree}: {' '.join(map(str, arguments))}\n{done.stderr[-3000:]}")
    return done.stdout


def report(start: dict[str, str], now: dict[str, str]) -> int:
    """Print the differences; 0 if everything that START made is the same now."""
    different = [what for what, value in start.items() if now.get(what) != value]
    added = sorted({what.rpartition(": ")[2] for what in now if what not in start})
    print(f"{len(start)} arrays, files and fields compared, {len(different)} differ")
    for what in different[:20]:
        print(f"  {what}: {start[what][:60]} was, {now.get(what, 'missing')[:60]} is")
    if added:
        print(f"new: {', '.join(added[:10])}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
