"""All figures of docs/speed.md on this machine, in parts of at most an hour on two cores.

    python benchmarks/bench_all.py --data DIR --output results/

runs one part after another. A part that has ended is not run again, so the command can be stopped
and given again; `--most 1` runs one part. `--table` runs nothing and prints the tables of what is
there. Give it a quiet machine. DIR has gsm8k/ and gpt2_tokenizer/.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
STUDENTS = ("gpt2-4-layers", "gpt2", "smollm2-135m")


@dataclasses.dataclass(frozen=True)
class Part:
    """A command with its arguments; {data} stands for --data."""

    name: str
    command: tuple[str, ...]

    def line(self, data: str) -> list[str]:
        """The command as typed, without --output."""
        return ["python", *(word.format(data=data) for word in self.command)]


def parts() -> list[Part]:
    """All parts, the shortest first."""
    few = ("--data={data}", "--repeats=2")
    found = [
        Part("startup", ("benchmarks/train.py", "startup")),
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


def _against_llama(student: str, at_once: int, settings: tuple[str, ...], ending: str = "") -> Part:
    """Beyond the demo's size `settings` leave some ways of llama.cpp out: all would take hours."""
    return Part(f"sample-llama-{student}-{at_once}{ending}", (
        "benchmarks/sample.py", "llama", *settings, f"--models={student}", f"--at-once={at_once}",
    ))  # fmt: skip


def main(argv: list[str]) -> None:
    """Run the parts that are missing, or print the tables."""
    arguments = parser().parse_args(argv)
    directory = pathlib.Path(arguments.output)
    chosen = [part for part in parts() if arguments.only in part.name]
    if not chosen:
        raise SystemExit(f"error: --only={arguments.only}: {', '.join(p.name for p in parts())}")
    if arguments.table:
        print(tables(directory, chosen, arguments.data))
        return
    directory.mkdir(parents=True, exist_ok=True)
    missing = [part for part in chosen if not (directory / f"{part.name}.json").exists()]
    for number, part in enumerate(missing):
        if arguments.most and number == arguments.most:
            print(f"# {len(missing) - number} parts are left", flush=True)
            return
        _run(part, directory, arguments.data)
    print(tables(directory, chosen, arguments.data))


def _run(part: Part, directory: pathlib.Path, data: str) -> None:
    """Its file gets its own name when all of it is there."""
    unfinished = directory / f"{part.name}.unfinished.json"
    line = part.line(data)
    print(f"# {part.name}: {' '.join(line)}", flush=True)
    done = subprocess.run([sys.executable, *line[1:], f"--output={unfinished}"], cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"error: {part.name} ended with code {done.returncode}: run this again")
    unfinished.rename(directory / f"{part.name}.json")


def tables(directory: pathlib.Path, chosen: list[Part], data: str) -> str:
    """Markdown: ratios to peers, and how time and memory grow; only what was measured."""
    ratios = ["| what | ours | peer | ratio | machine | command |", "|---|---|---|---|---|---|"]
    growth = ["| what grows | to | seconds | peak memory, MiB |", "|---|---|---|---|"]
    for part in chosen:
        path = directory / f"{part.name}.json"
        if not path.exists():
            continue
        stored = json.loads(path.read_text(encoding="utf-8"))
        machine = f"{stored['machine']['processor']}, {stored['machine']['cores']} cores"
        command = f"`{' '.join(part.line(data))}`"
        for row in _ratios(stored):
            ratios.append(f"| {' | '.join([*row, machine, command])} |")
        growth += [f"| {' | '.join(row)} |" for row in _growth(stored)]
    return "\n".join([*ratios, "", *growth])


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
    parser.add_argument("--data", required=True, help="directory with gsm8k/ and gpt2_tokenizer/")
    parser.add_argument("--output", required=True, help="directory for the JSON of each part")
    parser.add_argument("--only", default="", help="parts whose name has this in it")
    parser.add_argument("--most", type=int, default=0, help="parts to run now; 0 = all")
    parser.add_argument("--table", action="store_true", help="print the tables, run nothing")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
