"""How time and memory of sampling grow with problems, slots and context.

    python benchmarks/growth.py --output growth.json

Two students of the demo's size with random weights replay the built-in task's gold dialogues.
Every measurement runs twice in a process of its own: the first time programs are compiled. Those
that --output already has are left out, so the command can be stopped and given again. data.py
measures how reading grows.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks import models, sample_job  # noqa: E402
from benchmarks.peers import Peer  # noqa: E402
from benchmarks.results import Results, say, significant  # noqa: E402
from benchmarks.sample_job import SampleJob, SampleSetting  # noqa: E402


def main(argv: list[str]) -> None:
    """Measure what is missing."""
    arguments = parser().parse_args(argv)
    results = Results(arguments.output, arguments, again=True)
    tokenizer = sample_job.demo_tokenizer()
    data = sample_job.demo_dialogues(
        tokenizer, max([*arguments.problems, arguments.usual_problems])
    )
    job = SampleJob(data.prompts, data.written, data.caps(), batch_size=arguments.usual_slots)
    usual = job.first(arguments.usual_problems)
    for number in arguments.problems:
        _measure(results, "problems", number, job.first(number), models.SIZES["demo"])
    for number in arguments.slots:
        changed = dataclasses.replace(usual, batch_size=number)
        _measure(results, "slots", number, changed, models.SIZES["demo"])
    for number in arguments.context:
        # Prompts as long as the context leaves them: the question again and again.
        room = number - data.caps().max_tokens
        prompts = [(prompt * room)[-room:] for prompt in usual.prompts]
        size: Any = dataclasses.replace(models.SIZES["demo"], context=number)  # a GPT2Config
        _measure(results, "context", number, dataclasses.replace(usual, prompts=prompts), size)
    results.show()


def _measure(results: Results, section: str, number: int, job: SampleJob, size: Any) -> None:
    if results.has(section, str(number)):
        return
    with tempfile.TemporaryDirectory() as directory:
        config = models.plain(size)["config"]
        weights = sample_job.write_students_apart(directory, config, job.caps.vocab_size)
        with Peer("sample_jax", SampleSetting(weights)) as peer:
            first, again = (peer.call("run", job) for _ in range(2))
            memory = peer.call("memory")
    figures = {
        "problems": again["problems"],
        "seconds": significant(again["seconds"]),
        "seconds_the_first_time": significant(first["seconds"]),
        "problems_per_second": significant(again["problems"] / again["seconds"]),
        "utilisation": significant(again["work"]["utilisation"]),
        "longest_cache": again["work"]["window"],
        "peak_memory_mib": memory,
    }
    say(f"{section} {number}: {figures}")
    results.add(section, str(number), figures)


def parser() -> argparse.ArgumentParser:
    """All arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",") if number]

    for name, default, what in (
        ("problems", "100,1000,10000", "that are evaluated; '' = none"),
        ("slots", "1,8,64,256", "dialogues at a time"),
        ("context", "256,512,1024", "tokens"),
    ):
        parser.add_argument(f"--{name}", type=numbers, default=default, help=what)
    parser.add_argument("--usual-problems", type=int, default=256, help="if others vary")
    parser.add_argument("--usual-slots", type=int, default=64, help="if others vary")
    parser.add_argument("--output", default="", help="file for the JSON")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
