"""All figures of docs/speed.md on this machine, in parts of at most an hour on two cores.

    python benchmarks/bench_all.py --data DIR --output results/

runs one part after another. A part that has ended is not run again, so the command can be stopped
and given again; `--most 1` runs one part. `--list` prints the parts with their commands, `--table`
the tables of what is there; neither runs anything. Give it a quiet machine.

    python benchmarks/bench_all.py --gpu --output results/

measures one GPU instead, in at most 12 minutes: training, sampling, forty samples a problem, and a
study. It writes gpu.json, too, with all of them.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # so that it runs if the package is not installed
    sys.path.insert(0, str(ROOT))

from benchmarks.arguments import DATA_HELP, check_device, data_directory, finished_run  # noqa: E402

STUDENTS = ("gpt2-4-layers", "gpt2", "smollm2-135m")


@dataclasses.dataclass(frozen=True)
class Part:
    """A command with its arguments; {data} and {run} stand for --data and --run."""

    name: str
    command: tuple[str, ...]

    def line(self, data: str, run: str = "") -> list[str]:
        """The command as typed, without --output."""
        return ["python", *(word.format(data=data, run=run) for word in self.command)]

    def takes(self, name: str) -> bool:
        """Whether {name} is in the command."""
        return any(f"{{{name}}}" in word for word in self.command)


def gpu_parts() -> list[Part]:
    """Those for a GPU. The limits add up to 12 minutes: the last measurement of a part may begin
    just before its total limit."""
    limits = ("--limit-s=80", "--total-limit-s=140")
    return [
        Part("gpu-train", (
            "benchmarks/train.py", "gpu", "--data={data}", "--models=gpt2", *limits,
            "--measurements=cudnn,torch,xla,triton",
        )),
        Part("gpu-sample", (
            "benchmarks/sample.py", "gpu", "--data={data}", "--models=gpt2", *limits, "--forty",
            "--slots=512,256", "--batch=256", "--variants=carry", "--repeats=2",
        )),
        Part("gpu-study", (
            "benchmarks/study.py", "--arms=made_coins-chain,made_coins-iterative", "--limit-s=200",
        )),
    ]  # fmt: skip


def parts() -> list[Part]:
    """Those for a CPU, the shortest first."""
    few = ("--data={data}", "--repeats=2")
    found = [
        _startup("startup"),
        _startup("startup-answers", "--run={run}"),
        Part("growth", ("benchmarks/growth.py",)),
        Part("data", ("benchmarks/data.py", "--problems=200000", "--repeats=2")),
        Part("rounds", ("benchmarks/rounds.py",)),
    ]
    found += [
        Part(f"data-{count}", (
            "benchmarks/data.py", f"--problems={count}", "--repeats=1", "--without_peer",
        ))
        for count in (1_000, 10_000, 100_000, 1_000_000)
    ]  # fmt: skip
    for student in STUDENTS:
        found += [
            Part(f"train-{kind}-{student}", (
                "benchmarks/train.py", "cpu", *few, f"--models={student}", f"--parts={kind}",
                "--steps=1", "--packed-rows=8", "--loss-chunk=256",
            ))
            for kind in ("padded", "packed")
        ]  # fmt: skip
    found.append(Part("train-lora-smollm2-135m", (
        "benchmarks/train.py", "cpu", "--data={data}", "--repeats=1", "--models=smollm2-135m",
        "--parts=packed", "--steps=1", "--loss-chunk=256", "--lora-rank=16",
    )))  # fmt: skip
    for student in STUDENTS:
        found.append(Part(f"sample-transformers-{student}", (
            "benchmarks/sample.py", "cpu", *few, f"--models={student}", "--problems=128",
            "--threads=2", "--variants=carry", "--trial-problems=16",
        )))  # fmt: skip
    found += [_against_llama("demo", at_once, few) for at_once in (64, 8, 1)]
    for student in STUDENTS:
        ways = "free,locked" if student == "gpt2-4-layers" else "free"
        once = "--data={data}", "--repeats=1", "--threads=2", f"--ways={ways}"
        for at_once, problems, trial in ((64, 256, 16), (8, 48, 8), (1, 16, 4)):
            counts = f"--problems={problems}", f"--trial-problems={trial}"
            found.append(_against_llama(student, at_once, (*once, *counts)))
            if at_once > 1 and "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text():
                settings = (*once, *counts, "--dtype=bfloat16")
                found.append(_against_llama(student, at_once, settings, "-bfloat16"))
    return found


def _startup(name: str, *more: str) -> Part:
    few = "--override=task_options.train_problems=2000"
    return Part(name, ("benchmarks/train.py", "startup", few, *more))


def _against_llama(student: str, at_once: int, settings: tuple[str, ...], ending: str = "") -> Part:
    """Beyond the demo's size `settings` leave some ways of llama.cpp out: all would take hours."""
    return Part(f"sample-llama-{student}-{at_once}{ending}", (
        "benchmarks/sample.py", "llama", *settings, f"--models={student}", f"--at-once={at_once}",
    ))  # fmt: skip


def main(argv: list[str]) -> None:
    """Run the parts that are missing, or print the parts or the tables."""
    arguments = parser().parse_args(argv)
    every = gpu_parts() if arguments.gpu else parts()
    chosen = [part for part in every if arguments.only in part.name]
    if not chosen:
        raise SystemExit(
            f"error: --only={arguments.only}: no part has this in its name; --list shows them"
        )
    data = arguments.data or ("" if arguments.gpu else "DIR")
    if arguments.list:
        for part in chosen:
            print(f"{part.name}: {' '.join(part.line(data, arguments.run))}")
        return
    directory = pathlib.Path(arguments.output)
    if not arguments.table:
        _run_missing(chosen, directory, arguments)
    print(tables(directory, chosen, data, arguments.run))


def _run_missing(chosen: list[Part], directory: pathlib.Path, arguments: Any) -> None:
    """Raises SystemExit for what is wrong before anything is measured, and at the end if a part
    failed."""
    missing = [part for part in chosen if not (directory / f"{part.name}.json").exists()]
    if not arguments.run:
        missing = [part for part in missing if not part.takes("run")]
    if not arguments.data and not arguments.gpu and any(p.takes("data") for p in missing):
        raise SystemExit("error: --data is missing: give the directory that --help describes")
    try:
        data, run = data_directory(arguments.data) if missing else "", finished_run(arguments.run)
    except argparse.ArgumentTypeError as error:
        raise SystemExit(f"error: {error}") from None
    if missing and arguments.gpu:
        check_device("gpu")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"error: --output={directory}: {error.strerror}") from None
    failed = []
    for number, part in enumerate(missing):
        if arguments.most and number == arguments.most:
            print(f"# {len(missing) - number} parts are left", flush=True)
            break
        if code := _run(part, directory, data, run):
            failed.append(f"{part.name} ended with code {code}")
    if arguments.gpu:
        done = [directory / f"{part.name}.json" for part in gpu_parts()]
        together = {
            path.stem: json.loads(path.read_text("utf-8")) for path in done if path.exists()
        }
        (directory / "gpu.json").write_text(json.dumps(together, indent=1) + "\n", "utf-8")
    if failed:
        raise SystemExit(f"error: {', '.join(failed)}: run this again")


def _run(part: Part, directory: pathlib.Path, data: str, run: str) -> int:
    """The exit code. The file of a part gets its own name when all of it is there."""
    unfinished = directory / f"{part.name}.unfinished.json"
    line = part.line(data, run)
    print(f"# {part.name}: {' '.join(line)}", flush=True)
    done = subprocess.run([sys.executable, *line[1:], f"--output={unfinished}"], cwd=ROOT)
    if not done.returncode:
        unfinished.rename(directory / f"{part.name}.json")
    return done.returncode


def tables(directory: pathlib.Path, chosen: list[Part], data: str, run: str) -> str:
    """Markdown: ratios to peers, how time and memory grow, and times; only what was measured."""
    ratios = ["| what | ours | peer | ratio | machine | command |", "|---|---|---|---|---|---|"]
    growth = ["| what grows | to | seconds | peak memory, MiB |", "|---|---|---|---|"]
    times = ["| what | figure | value |", "|---|---|---|"]
    found = []
    for part in chosen:
        path = directory / f"{part.name}.json"
        if not path.exists():
            continue
        found.append(part.name)
        stored = json.loads(path.read_text(encoding="utf-8"))
        machine = f"{stored['machine']['processor']}, {stored['machine']['cores']} cores"
        command = f"`{' '.join(part.line(data, run))}`"
        for row in _ratios(stored):
            ratios.append(f"| {' | '.join([*row, machine, command])} |")
        growth += [f"| {' | '.join(row)} |" for row in _growth(stored)]
        if part.name.startswith(("startup", "gpu-")):
            times += [f"| {part.name}, {' | '.join(row)} |" for row in _figures(stored)]
    if not found:
        return f"# nothing was measured yet: {directory} has no file of these parts"
    shown = [table for table in (ratios, growth, times) if len(table) > 2]
    return "\n\n".join("\n".join(table) for table in shown)


def _figures(stored: dict[str, Any]) -> list[list[str]]:
    """(what, figure, value) of all that was measured."""
    return [
        [f"{section}, {name}", figure, str(value)]
        for section, measured in stored.items()
        if section not in ("arguments", "machine")
        for name, figures in measured.items()
        for figure, value in (figures if isinstance(figures, dict) else {"": figures}).items()
    ]


def _ratios(stored: dict[str, Any]) -> list[list[str]]:
    """(what, ours, peer, ratio) of every comparison in a file; higher ratios are better."""
    found = []
    for section, measured in stored.items():
        for name, values in measured.items() if isinstance(measured, dict) else ():
            if not (isinstance(values, dict) and "ratio" in values):
                continue
            peer = next(side for side in ("llama.cpp", "torch", "TRL") if side in values)
            speeds = []
            for side in ("ours", peer):
                key, unit = next((key, unit) for key, unit in SPEEDS.items() if key in values[side])
                speeds.append(f"{values[side][key]:g} {unit}")
            speeds[1] = f"{peer}: {speeds[1]}"
            found.append([f"{section}, {name}", *speeds, f"{values['ratio']:.2f}"])
    return found


SPEEDS = {
    "useful_tokens_per_second": "useful tokens/s",
    "problems_per_second": "problems/s",
    "rounds_per_minute": "rounds/min",
}


def _growth(stored: dict[str, Any]) -> list[list[str]]:
    """(what grows, to, seconds, memory) of growth.py, and of data.py without a peer."""
    found = []
    for section in ("problems", "slots", "context"):
        for number, values in stored.get(section, {}).items():
            row = [f"evaluating: {section}", number, values["seconds"], values["peak_memory_mib"]]
            found.append([str(value) for value in row])
    if stored["arguments"].get("without_peer"):
        number = f"{stored['arguments']['problems']:,}"
        for name, values in stored["data"].items():
            if name.startswith("ours"):
                row = [f"reading, {name}: problems", number]
                row += [values["total_seconds"], values["memory_mib"]]
                found.append([str(value) for value in row])
    return found


def parser() -> argparse.ArgumentParser:
    """All arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="", help=DATA_HELP)
    parser.add_argument(
        "--output", default="bench_results", help="directory for the JSON of each part"
    )
    parser.add_argument("--gpu", action="store_true", help="measure one GPU, in 12 minutes")
    parser.add_argument(
        "--run", default="", help="a finished run: how long ask and evaluate take, too"
    )
    parser.add_argument("--only", default="", help="parts whose name has this in it")
    parser.add_argument("--most", type=int, default=0, help="parts to run now; 0 = all")
    parser.add_argument("--list", action="store_true", help="print the parts, run nothing")
    parser.add_argument("--table", action="store_true", help="print the tables, run nothing")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
