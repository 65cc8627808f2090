"""From a file of problems to encoded rows: ours, and datasets with TRL on the same file.

    python benchmarks/data.py --output data.json

makes a JSONL task of problems of 100 words (data_files.py). Then, each time in a process of its own
and in turns,

ours      reads and checks it, looks for leaks, writes annotations.jsonl, and encodes the rows, with
          the functions of a run; the BPE is trained in between and timed apart
peer      `datasets` reads the same file and SFTTrainer of TRL makes its training set: prompt and
          completion, tokenised with the BPE of ours, and the mask of the completion (extra [trl])
encoding  the bare `tokenizers` encodes the same texts at once: what no Python around it can beat

Seconds of the clock are medians; other work on the machine lengthens them, so the processor time of
each part and the load are there too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.arguments import needs  # noqa: E402
from benchmarks.data_files import write_task  # noqa: E402
from benchmarks.results import Results, say, significant  # noqa: E402

GOAL_PER_SECOND, GOAL_MEMORY = 6000, 8.0
MEBIBYTE = 2**20


class Parts:
    """Seconds of the clock and of the processor, this process and its children, of named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor_s: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What the block takes."""
        clock, processor = time.perf_counter(), _processor_s()
        yield
        self.seconds[name] = time.perf_counter() - clock
        self.processor_s[name] = _processor_s() - processor


def _processor_s() -> float:
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _memory_now() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _memory_most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(directory: pathlib.Path, scheme: str) -> dict[str, Any]:
    """What a run does before its first compilation, part by part."""
    import transformers

    from distill_jax.run import from_first, preparation, training_annotations
    from distill_jax.run.run import make_run
    from distill_jax.settings import command_line
    from distill_jax.text.rows import encode_rows
    from distill_jax.tracking.terminal import Terminal
    from distill_jax.training.batches import StudentRows
    from distill_jax.workdir import Workdir

    config = command_line.load_config("configs/jsonl.py")
    overrides = {"task_options.directory": str(directory), "scheme": scheme}
    command_line.apply_overrides(config, overrides)
    terminal, parts = Terminal(quiet=True), Parts()
    workdir = Workdir(directory / f"run-{os.getpid()}")
    run = make_run(config, workdir)
    assert transformers.PreTrainedTokenizerFast and from_first.distributed.is_first()  # started up
    before = _memory_now()
    with preparation.without_cycle_search():
        with parts.part("read_and_check"):
            data = training_annotations.collect(run, terminal)
        with parts.part("write"):
            run = training_annotations.write_annotations(run, data, terminal)
        with parts.part("train_bpe"):
            tokenizer = from_first.tokenizer(run, data.train)
        with parts.part("encode"):
            rows = encode_rows(data.train, run.scheme, run.views, tokenizer)
            students = [StudentRows(made, name, 512, 0.1) for name, made in rows.items()]
    most = _memory_most()
    tokenizer.save(directory / "tokenizer")
    size = (directory / "train.jsonl").stat().st_size
    return {
        "problems": len(data.train) + len(data.dev),
        "dropped": len(data.rejected),
        "overlaps": len(data.overlaps),
        "annotations_mib": significant(workdir.annotations.stat().st_size / MEBIBYTE),
        "tokens_per_row": significant(students[-1].tokens / len(students[-1])),
        "loss_tokens": students[-1].loss_tokens,
        "memory_mib": significant((most - before) / MEBIBYTE),
        "memory_of_file": significant((most - before) / size),
        "seconds": parts.seconds,
        "processor_s": parts.processor_s,
    }


def peer(directory: pathlib.Path, processes: int) -> dict[str, Any]:
    """The training set of TRL's SFTTrainer from the same file."""
    import datasets
    import transformers
    import trl

    datasets.disable_progress_bars()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory / "tokenizer")
    size = transformers.GPT2Config(
        n_layer=1, n_embd=8, n_head=1, vocab_size=len(tokenizer),
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(size)
    arguments = trl.SFTConfig(
        output_dir=str(directory / "trl"), use_cpu=True, bf16=False, report_to="none",
        max_length=512, dataset_num_proc=processes if processes > 1 else None,
    )  # fmt: skip

    def columns(row: dict[str, Any]) -> dict[str, str]:
        steps = "\n".join(step["solution"] for step in row["steps"])
        return {"prompt": row["question"], "completion": f"{steps}\n#### {row['answer']}"}

    parts, before = Parts(), _memory_now()
    with parts.part("read"):
        file = str(directory / "train.jsonl")
        cache = str(directory / f"cache-{processes}")  # what another one made would be taken
        rows = datasets.load_dataset("json", data_files=file, split="train", cache_dir=cache)
    with parts.part("columns"):
        rows = rows.map(
            columns, remove_columns=rows.column_names, num_proc=arguments.dataset_num_proc
        )
    with parts.part("trl"):
        trainer = trl.SFTTrainer(
            model, args=arguments, train_dataset=rows, processing_class=tokenizer
        )
    most = _memory_most()
    made: Any = trainer.train_dataset
    some = made.select(range(0, len(made), 21 if len(made) > 2_100 else 1))  # every 20th is longer
    tokens = [len(row["input_ids"]) for row in some]
    assert all(row["labels"][0] == -100 and row["labels"][-1] != -100 for row in some)
    return {
        "problems": len(made),
        "processes": processes,
        "tokens_per_row": significant(statistics.mean(tokens)),
        "memory_mib": significant((most - before) / MEBIBYTE),
        "seconds": parts.seconds,
        "processor_s": parts.processor_s,
    }


def encoding(directory: pathlib.Path, scheme: str) -> dict[str, Any]:
    """The bare encoding of the texts of annotations.jsonl, in one call of `tokenizers`."""
    from distill_jax.text.tokenizer import load_tokenizer

    [path] = list(directory.glob("run-*/annotations.jsonl"))[:1]
    texts: list[str] = []
    with open(path, encoding="utf-8") as file:
        for row in map(json.loads, file):
            texts.append(row["question"])
            solutions = [step["solution"] for step in row["steps"]]
            solutions[-1] += f"\n#### {row['answer']}"
            if scheme == "chain":
                texts.append("\n".join(solutions))
            else:
                texts += solutions + [step["subquestion"] for step in row["steps"]]
    backend = load_tokenizer(str(directory / "tokenizer"))._backend
    parts = Parts()
    with parts.part("encode"):
        backend.encode_batch_fast(texts, add_special_tokens=False)
    return {"texts": len(texts), "seconds": parts.seconds, "processor_s": parts.processor_s}


MEASURED = {"ours": ours, "peer": peer, "encoding": encoding}


def _measure(name: str, directory: pathlib.Path, argument: Any) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, str(directory), json.dumps(argument)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}
    load = os.getloadavg()[0]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"error: {name}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1]) | {"load_before": significant(load)}
    left_out = {"train_bpe"}
    for kind in ("seconds", "processor_s"):
        result[f"total_{kind}"] = sum(v for k, v in result[kind].items() if k not in left_out)
    say(f"{name} {argument}: {result['total_seconds']:.1f} s, {result['total_processor_s']:.1f} s "
        f"of the processor, load {load:.1f}")  # fmt: skip
    return result


def summary(rounds: list[dict[str, Any]], problems: int) -> dict[str, Any]:
    """Medians of the rounds of one measurement, problems a second among them."""
    first = rounds[0]
    found: dict[str, Any] = {
        key: value for key, value in first.items()
        if not isinstance(value, dict | float) or key == "tokens_per_row"
    }  # fmt: skip
    for key, value in first.items():
        if isinstance(value, dict):
            found[key] = {
                part: significant(statistics.median(each[key][part] for each in rounds))
                for part in value
            }
        elif isinstance(value, float) and key != "tokens_per_row":
            found[key] = significant(statistics.median(each[key] for each in rounds))
    found["problems_per_second"] = significant(problems / found["total_seconds"])
    found["microseconds_of_processor_per_problem"] = significant(
        1e6 * found["total_processor_s"] / problems
    )
    found["seconds_of_each_round"] = [significant(each["total_seconds"]) for each in rounds]
    return found


def parser() -> argparse.ArgumentParser:
    """All arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="", help="a JSON file; it is printed too")
    parser.add_argument("--problems", type=int, default=200_000)
    parser.add_argument("--words", type=int, default=100, help="of a problem, steps included")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--without_peer", action="store_true", help="leave TRL out, which needs not be installed"
    )
    return parser


def main() -> None:
    """Measure in turns, and print."""
    arguments = parser().parse_args()
    if not arguments.without_peer:
        needs({"trl": "trl", "datasets": "trl"}, "; --without_peer measures ours alone")
    results = Results(arguments.output, arguments)
    kinds: list[tuple[str, str, Any]] = [
        ("ours, socratic", "ours", "socratic"),
        ("encoding, socratic", "encoding", "socratic"),
        ("ours, chain", "ours", "chain"),
        ("encoding, chain", "encoding", "chain"),
    ]
    if not arguments.without_peer:
        kinds += [("peer, 1 process", "peer", 1), ("peer, 2 processes", "peer", 2)]
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in kinds}
    with tempfile.TemporaryDirectory() as temporary:
        say("writing the file")
        source = pathlib.Path(temporary)
        write_task(source, arguments.problems, arguments.words)
        size = (source / "train.jsonl").stat().st_size
        results.add("file", "mib", significant(size / MEBIBYTE))
        for number in range(arguments.repeats):
            directory = source / str(number)
            directory.mkdir()
            for split in ("train", "test"):
                (directory / f"{split}.jsonl").symlink_to(source / f"{split}.jsonl")
            for name, measured, argument in kinds:
                rounds[name].append(_measure(measured, directory, argument))
                results.add("data", name, summary(rounds[name], arguments.problems))
    _add_goals(results, rounds)
    results.show()


def _add_goals(results: Results, rounds: dict[str, list[dict[str, Any]]]) -> None:
    data = results.values["data"]
    mine, bare = data["ours, socratic"], data["encoding, socratic"]
    around = mine["processor_s"]["encode"] / bare["processor_s"]["encode"] - 1
    results.add("goals", "problems_per_second", [mine["problems_per_second"], GOAL_PER_SECOND])
    results.add("goals", "memory_of_file", [mine["memory_of_file"], GOAL_MEMORY])
    results.add("goals", "python_around_tokenizers", [significant(around), 1.0])
    if "peer, 1 process" in data:
        best = max(data[name]["problems_per_second"] for name in data if name.startswith("peer"))
        ratio = data["ours, chain"]["problems_per_second"] / best
        results.add("goals", "ours_chain_to_best_peer", significant(ratio))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        chosen, where, told = sys.argv[2:]
        print(json.dumps(MEASURED[chosen](pathlib.Path(where), json.loads(told))))
    else:
        main()
