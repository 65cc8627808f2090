"""Sampling on a CPU: ours against transformers turn by turn, both in float32 and greedy.

Both have the same students, prompts, limits and forced dialogues, and their output is checked.
transformers first tries its variants, batch sizes and threads on some problems; the fastest is
used.
"""

import dataclasses
import itertools
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import models, sample_job
from benchmarks.peers import Peer, PeerError
from benchmarks.results import Results, say, significant
from benchmarks.sample_job import SampleJob, SampleSetting
from distill_jax.model.network import NetworkConfig

Answer = dict[str, Any]


def main(arguments: Any) -> None:
    """Measure every model; results are written after each."""
    results = Results(arguments.output, arguments)
    say("reading GSM8K")
    data = sample_job.gsm8k_dialogues(arguments.data)
    # The limits of all dialogues, so that they do not depend on how many are measured.
    job = SampleJob(data.prompts, data.written, data.caps(), batch_size=arguments.slots)
    job = job.first(arguments.problems)
    for name, size in models.chosen(arguments).items():
        result = _compare(name, size, job, arguments)
        results.add(name, "sampling", result)
        say(f"{name}: ratio {result['ratio']}")
    results.show()


def _compare(name: str, size: NetworkConfig, job: SampleJob, arguments: Any) -> dict[str, Any]:
    """Both sides take turns, round by round, with the same weights."""
    with tempfile.TemporaryDirectory() as directory:
        weights = sample_job.write_students_apart(
            directory, models.plain(size)["config"], job.caps.vocab_size
        )
        setting = SampleSetting(weights, cores=arguments.cores)
        with Peer("sample_torch", setting) as torch_peer, Peer("sample_jax", setting) as our_peer:
            trials, fastest = _try_ways(name, torch_peer, job, arguments)
            our_peer.call("prepare", job)
            warm = checked(our_peer.call("run", job), "ours")
            say(f"{name}: ours: warm-up {warm['seconds']:.1f} s, compiling {warm['compile_s']} s")
            sides = {"torch": (torch_peer, fastest), "ours": (our_peer, job)}
            answers: dict[str, list[Answer]] = {side: [] for side in sides}
            for number in range(arguments.repeats):
                for side, (peer, work) in sides.items():
                    answers[side].append(checked(peer.call("run", work), side))
                    seconds = answers[side][-1]["seconds"]
                    say(f"{name}: round {number + 1}: {side}: {seconds:.1f} s")
            profile = our_peer.call("profile", job)
            memory = {side: peer.call("memory") for side, (peer, _) in sides.items()}
    ours, theirs = (summary(answers[side], memory[side]) for side in ("ours", "torch"))
    ours |= {
        "slots": job.batch_size,
        "compile_s": warm["compile_s"],
        "warm_up_s": significant(warm["seconds"]),
        "compile_s_of_each_round": [answer["compile_s"] for answer in answers["ours"]],
        **shares(profile),
    }
    theirs |= {key: getattr(fastest, key) for key in ("variant", "batch_size", "threads")}
    theirs["trials_problems_per_second"] = trials
    ratio = significant(ours["problems_per_second"] / theirs["problems_per_second"])
    return {"problems": len(job.prompts), "ours": ours, "torch": theirs, "ratio": ratio}


def _try_ways(
    name: str, peer: Peer, job: SampleJob, arguments: Any
) -> tuple[dict[str, float], SampleJob]:
    """Problems per second of every way on some problems; the fastest's job.

    The first trial also warms up, and is run twice.
    """
    some = job.first(arguments.trial_problems)
    peer.call("prepare", some)
    trials: dict[str, float] = {}
    jobs = {}
    lists = (getattr(arguments, key).split(",") for key in ("variants", "batch", "threads"))
    for variant, batch, threads in itertools.product(*lists):
        way = {"variant": variant, "batch_size": int(batch), "threads": int(threads)}
        trial = dataclasses.replace(some, **way)
        if not trials:
            checked(peer.call("run", trial), "torch")
        answer = checked(peer.call("run", trial), "torch")
        key = f"{variant}, {batch} rows, {threads} threads"
        trials[key] = significant(answer["problems"] / answer["seconds"])
        jobs[key] = dataclasses.replace(job, **way)
        say(f"{name}: torch: {key}: {trials[key]} problems/s")
    return trials, jobs[max(trials, key=trials.__getitem__)]


def checked(answer: Answer, side: str) -> Answer:
    """The answer, if the output is the forced dialogues."""
    if not answer["ok"]:
        raise PeerError(f"{side}: what was written differs from the forced dialogues")
    return answer


def summary(answers: Sequence[Answer], memory: float | None) -> dict[str, Any]:
    """The figures of one side; medians over its runs."""
    seconds = statistics.median(answer["seconds"] for answer in answers)
    return {
        "problems_per_second": significant(answers[0]["problems"] / seconds),
        "tokens_per_second": significant(answers[0]["tokens"] / seconds),
        "tokens": answers[0]["tokens"],
        "seconds": significant(seconds),
        "seconds_of_each_run": [significant(answer["seconds"]) for answer in answers],
        "peak_memory_mib": memory,
        "ok": all(answer["ok"] for answer in answers),
    }


def shares(profile: Mapping[str, Any]) -> dict[str, Any]:
    """How our side spent its time, from a run in which the parts do not overlap."""
    seconds = profile["seconds"]
    return {
        "utilisation": significant(profile["utilisation"]),
        "decode_steps": profile["steps"],
        "longest_cache": profile["window"],
        "prefill_share": significant(profile["prefill_s"] / seconds),
        "decode_share": significant(profile["decode_s"] / seconds),
    }
