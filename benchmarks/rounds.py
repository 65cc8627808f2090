"""A round of learning from own samples against TRL's GRPOTrainer, on a CPU, both in float32.

    python benchmarks/rounds.py --output rounds.json

First trains the demo's solver for a while, unless WORKDIR/base is there. Then both sides learn from
it: a round is `--problems` questions with `--samples` answers each, a reward, and two updates over
all answers, by GRPO's token-level loss. Both get the same questions in the same order, the same
limit of tokens, learning rate and threads. Ours is the command that a user gives, so writing
rollouts and metrics is part of it. Sides take turns, `--repeats` times; the first round of each
process, which compiles, is left out. TRL in bfloat16 is measured, too. Needs EXTRAS=trl.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.arguments import needs  # noqa: E402
from benchmarks.results import Results, say, significant  # noqa: E402

GOAL = 2.0
CHAIN = ("--config=configs/demo.py", "--config.scheme=chain", "--config.data.dev_problems=0")
SHORT = ("--config.evaluation.problems=50", "--config.train.eval_every=0")


def main(argv: list[str]) -> None:
    """Measure both sides by turns."""
    arguments = parser().parse_args(argv)
    needs({"torch": "trl", "trl": "trl"})
    results = Results(arguments.output, arguments)
    directory = pathlib.Path(arguments.workdir).resolve()
    if not (directory / "base" / "report.json").exists():
        say("training the student that both begin with")
        budget = f"--config.train.token_budget={arguments.budget}"
        _command("main", *CHAIN, *SHORT, budget, f"--workdir={directory / 'base'}")
    if not (directory / "exported").exists():
        _command("export", f"--workdir={directory / 'base'}", f"--output={directory / 'exported'}")
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "TRL": [], "TRL in bfloat16": []}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory(dir=directory) as temporary:
            workdir = pathlib.Path(temporary) / "rounds"
            rounds["ours"].append(_ours(workdir, directory / "base", arguments))
            _write_questions(directory, workdir)
        say(f"ours: {rounds['ours'][-1]}")
        for name, dtype in (("TRL", "float32"), ("TRL in bfloat16", "bfloat16")):
            rounds[name].append(_trl(directory, dtype, arguments))
            say(f"{name}: {rounds[name][-1]}")
    result: dict[str, Any] = {"rounds": rounds, "goal": GOAL}
    for side, some in rounds.items():
        seconds = statistics.median(each["seconds"] for each in some)
        result[side] = {"rounds_per_minute": significant(60 / seconds)}
    ours = result["ours"]["rounds_per_minute"]
    result["ratio"] = significant(ours / result["TRL"]["rounds_per_minute"])
    result["ratio_to_bfloat16"] = significant(ours / result["TRL in bfloat16"]["rounds_per_minute"])
    results.add("rounds", "demo", result)
    results.show()


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--workdir", default="runs/bench_rounds", help="for the students")
    found.add_argument("--output", default="", help="a JSON file")
    found.add_argument("--budget", type=int, default=1_500_000, help="tokens of the first student")
    found.add_argument("--rounds", type=int, default=6)
    found.add_argument("--problems", type=int, default=32)
    found.add_argument("--samples", type=int, default=8)
    found.add_argument("--max_tokens", type=int, default=96)
    found.add_argument("--threads", type=int, default=2, help="of TRL; ours uses all cores")
    found.add_argument("--repeats", type=int, default=2)
    return found


def _ours(workdir: pathlib.Path, base: pathlib.Path, arguments: Any) -> dict[str, float]:
    """The median round: a round's file is written when all answers are graded, so the time from one
    file to the next is that of two updates and of sampling."""
    answers = arguments.problems * arguments.samples
    _command(
        "main", *CHAIN, *SHORT, f"--workdir={workdir}",
        f"--config.tokenizer.name={base}/tokenizer",
        f"--config.model.solver.init_from={base}/checkpoints/solver",
        "--config.optimizer.solver.learning_rate=1e-5",
        "--config.optimizer.solver.final_learning_rate=1e-5",
        "--config.optimizer.solver.warmup_steps=0",
        "--config.loss.policy=1.0", "--config.loss.likelihood=0.0",
        f"--config.rollouts.rounds={arguments.rounds}", "--config.rollouts.advantage=grpo",
        f"--config.rollouts.problems={arguments.problems}",
        f"--config.rollouts.samples={arguments.samples}",
        f"--config.rollouts.max_tokens={arguments.max_tokens}",
        f"--config.rollouts.max_turn_tokens={arguments.max_tokens}",
        "--config.rollouts.updates=2", f"--config.train.batch_size={answers // 2}",
    )  # fmt: skip
    files = [workdir / f"rollouts/solver/{number}.jsonl" for number in range(arguments.rounds)]
    times = [file.stat().st_mtime for file in files]
    rounds = [after - before for before, after in itertools.pairwise(times)]
    rows = [json.loads(line) for file in files[1:] for line in file.read_text().splitlines()]
    return {
        "seconds": significant(statistics.median(rounds[1:])),
        "tokens": significant(statistics.fmean(len(row["tokens"]) for row in rows)),
    }


def _write_questions(directory: pathlib.Path, workdir: pathlib.Path) -> None:
    """questions.json: the ids and the answer of every question that ours asked, in order."""
    lines = (workdir / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {each["id"]: each["answer"] for each in map(json.loads, lines)}
    found = []
    for file in sorted((workdir / "rollouts/solver").iterdir(), key=lambda path: int(path.stem)):
        rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        found += [
            {"prompt": row["prompt"], "answer": answers[row["id"]]}
            for row in rows
            if row["sample"] == 0
        ]
    (directory / "questions.json").write_text(json.dumps(found), encoding="utf-8")


def _trl(directory: pathlib.Path, dtype: str, arguments: Any) -> dict[str, float]:
    output = directory / "trl.json"
    command = [
        sys.executable, str(ROOT / "benchmarks/rounds_trl.py"), f"--model={directory / 'exported'}",
        f"--questions={directory / 'questions.json'}", f"--output={output}", f"--dtype={dtype}",
        *(f"--{name}={getattr(arguments, name)}" for name in (
            "problems", "samples", "max_tokens", "threads",
        )),
    ]  # fmt: skip
    _run(command)
    return json.loads(output.read_text(encoding="utf-8"))


def _command(module: str, *given: str) -> None:
    _run([sys.executable, "-m", f"distill_jax.{module}", *given])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"JAX_PLATFORMS": "cpu", **os.environ},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = f"{done.stdout[-1000:]}{done.stderr[-2000:]}"
        raise SystemExit(f"error: {' '.join(command[:4])} ended with {done.returncode}: {said}")


if __name__ == "__main__":
    main(sys.argv[1:])
