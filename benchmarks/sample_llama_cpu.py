"""Sampling on a CPU: ours in --dtype against llama.cpp in float32 and float16, both greedy.

llama.cpp first tries its types, numbers of threads and ways on some problems; the fastest is used.
A measurement is a model and a number of dialogues at a time. Those that --output already has are
left out, so the command can be stopped and given again.
"""

import dataclasses
import itertools
import json
import pathlib
import shutil
import tempfile
import time
from typing import Any

import tokenizers

from benchmarks import models, sample_cpu, sample_job
from benchmarks.peers import Peer
from benchmarks.results import Results, say, significant
from benchmarks.sample_job import GivenDialogues, SampleJob, SampleSetting
from distill_jax.export import gguf_export
from distill_jax.model.network import NetworkConfig
from distill_jax.text import gguf_tokenizer
from distill_jax.text.gguf_tokenizer_export import EndIds
from distill_jax.text.tokenizer import Tokenizer, load_tokenizer

NOTE = "the wheel of xllamacpp is compiled for AVX2 only; see `device` of its figures"


def main(arguments: Any) -> None:
    """Measure what is missing, until the time is over."""
    results = Results(arguments.output, arguments, again=True)
    began = time.monotonic()
    for name, size in models.chosen(arguments).items():
        for at_once in arguments.at_once.split(","):
            measurement = f"{at_once} at a time"
            if arguments.dtype != "float32":
                measurement += f", ours in {arguments.dtype}"
            if results.has(name, measurement):
                say(f"{name}: {measurement}: measured before")
            elif time.monotonic() - began > arguments.limit_s:
                say(f"{name}: {measurement}: not begun in {arguments.limit_s:.0f} s")
            else:
                result = _compare(name, size, int(at_once), arguments)
                results.add(name, measurement, result)
                say(f"{name}: {measurement}: ratio {result['ratio']}")
    results.show()


def _given(name: str, arguments: Any) -> tuple[GivenDialogues, Tokenizer]:
    """Dialogues and their tokenizer: the demo's own, or else GSM8K's."""
    if name == "demo":
        tokenizer = sample_job.demo_tokenizer()
        return sample_job.demo_dialogues(tokenizer), tokenizer
    tokenizer = load_tokenizer(str(pathlib.Path(arguments.data, "gpt2_tokenizer")))
    return sample_job.gsm8k_dialogues(arguments.data), tokenizer


def _compare(name: str, size: NetworkConfig, at_once: int, arguments: Any) -> dict[str, Any]:
    data, tokenizer = _given(name, arguments)
    job = SampleJob(data.prompts, data.written, data.caps(), batch_size=at_once)
    job = job.first(arguments.problems)
    types, cores = arguments.types.split(","), arguments.cores
    with tempfile.TemporaryDirectory() as directory:
        config = models.plain(size)["config"]
        weights = sample_job.write_students_apart(directory, config, data.vocab_size)
        files = {kind: _gguf_files(weights, tokenizer, kind) for kind in types}
        trials, fastest, kind = _try_ways(name, files, job, arguments)
        with (
            Peer("sample_llama", SampleSetting(files[kind], dtype=kind, cores=cores)) as llama_peer,
            Peer(
                "sample_jax", SampleSetting(weights, dtype=arguments.dtype, cores=cores)
            ) as our_peer,
        ):
            sides = {"llama.cpp": (llama_peer, fastest), "ours": (our_peer, job)}
            facts = {side: peer.call("prepare", work) for side, (peer, work) in sides.items()}
            for side, (peer, work) in sides.items():  # ours is compiled for every length
                first = work if side == "ours" else work.first(arguments.trial_problems)
                sample_cpu.checked(peer.call("run", first), side)
            answers: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
            for number in range(arguments.repeats):
                for side, (peer, work) in sides.items():
                    answers[side].append(sample_cpu.checked(peer.call("run", work), side))
                    say(f"{name}: round {number + 1}: {side}: {answers[side][-1]['seconds']:.1f} s")
            memory = {side: peer.call("memory") for side, (peer, _) in sides.items()}
    ours, theirs = (sample_cpu.summary(answers[s], memory[s]) for s in ("ours", "llama.cpp"))
    theirs |= {"type": kind, "way": fastest.variant, "threads": fastest.threads, "note": NOTE}
    theirs |= facts["llama.cpp"] | {"reread": answers["llama.cpp"][0]["reread"]}
    theirs["trials_problems_per_second"] = trials
    ratio = significant(ours["problems_per_second"] / theirs["problems_per_second"])
    return {"problems": len(job.prompts), "ours": ours, "llama.cpp": theirs, "ratio": ratio}


def _gguf_files(weights: tuple[str, str], tokenizer: Tokenizer, kind: str) -> tuple[str, str]:
    """The two students as GGUF files beside their weights."""
    ends = EndIds(tokenizer.end_of_turn, tokenizer.end_of_text)
    splitting = tokenizers.Tokenizer(tokenizers.models.BPE())
    splitting.pre_tokenizer = gguf_tokenizer.pre_tokenizer("gpt-2")
    rule = json.loads(splitting.to_str())["pre_tokenizer"]
    paths = []
    for directory in map(pathlib.Path, weights):
        with tempfile.TemporaryDirectory() as saved:
            tokenizer.save(pathlib.Path(saved))
            # Only ids are sent, so any way to split text will do; llama.cpp does not know ours.
            stored = pathlib.Path(saved, "tokenizer.json")
            changed = json.loads(stored.read_text(encoding="utf-8")) | {"pre_tokenizer": rule}
            stored.write_text(json.dumps(changed), encoding="utf-8")
            shutil.copytree(saved, directory, dirs_exist_ok=True)
        paths.append(str(gguf_export.write_gguf(directory, kind, ends, kind)))
    return paths[0], paths[1]


def _try_ways(
    name: str, files: dict[str, tuple[str, str]], job: SampleJob, arguments: Any
) -> tuple[dict[str, float], SampleJob, str]:
    """Problems per second of every way on some problems; the fastest's job and type."""
    some = job.first(max(arguments.trial_problems, job.batch_size))
    trials: dict[str, float] = {}
    chosen = {}
    for kind, threads in itertools.product(files, map(int, arguments.threads.split(","))):
        setting = SampleSetting(files[kind], dtype=kind, cores=arguments.cores)
        with Peer("sample_llama", setting) as peer:
            for way in arguments.ways.split(","):
                trial = dataclasses.replace(some, threads=threads, variant=way)
                answer = sample_cpu.checked(peer.call("run", trial), "llama.cpp")
                key = f"{kind}, {threads} threads, {way}"
                trials[key] = significant(answer["problems"] / answer["seconds"])
                chosen[key] = dataclasses.replace(job, threads=threads, variant=way), kind
                say(f"{name}: llama.cpp: {key}: {trials[key]} problems/s")
    return trials, *chosen[max(trials, key=trials.__getitem__)]
