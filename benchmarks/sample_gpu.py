"""Sampling on one GPU in bfloat16: the share of its memory bandwidth, compared with transformers.

Every measurement runs in a separate process with a time limit; failures are recorded with their
reason.

    roofline_share  bytes that decode steps must read, per second spent in decode steps, over the
                    bandwidth of a copy of a large array in the same process. A step must read the
                    parameters of both students and the filled places of the caches of the rows that
                    write. Logits, unused room in caches, and writes do not count
"""

import dataclasses
import tempfile
import time
from typing import Any

from benchmarks import models, sample_job
from benchmarks.peers import Peer, PeerError
from benchmarks.results import Results, say, significant
from benchmarks.sample_cpu import shares, summary
from benchmarks.sample_job import SampleJob, SampleSetting

COPIED = {"gpu": 4 << 30, "cpu": 64 << 20}  # bytes whose copy is timed
SAMPLES, TEMPERATURE = 40, 0.7


@dataclasses.dataclass(frozen=True)
class Plan:
    """One measurement: which side, and its job."""

    name: str
    module: str
    job: SampleJob
    repeats: int


def main(arguments: Any) -> None:
    """Make the chosen measurements; results are written after each."""
    results = Results(arguments.output, arguments)
    gold = bool(arguments.data)
    data = sample_job.gsm8k_dialogues(arguments.data) if gold else sample_job.random_dialogues()
    job = SampleJob(data.prompts, data.written, data.caps(), batch_size=1)
    job = job.first(arguments.problems)
    began = time.monotonic()
    for name, size in models.chosen(arguments).items():
        measured: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as directory:
            weights = sample_job.write_students_apart(
                directory, models.plain(size)["config"], data.vocab_size
            )
            setting = SampleSetting(weights, arguments.device, "bfloat16")
            for plan in _plans(job, arguments):
                if time.monotonic() - began > arguments.total_limit_s:
                    result = {"failed": f"not begun in {arguments.total_limit_s:.0f} s"}
                else:
                    say(f"{name}: {plan.name}")
                    result = _measure(plan, setting, arguments)
                say(f"{name}: {plan.name}: {_in_short(result)}")
                measured[plan.name] = result
                results.add(name, plan.name, result)
            results.add(name, "summary", _compared(measured))
            if name == "gpt2" or arguments.layers:
                forty = _forty(job, setting, measured, arguments)
                results.add(name, f"samples-{SAMPLES}", forty)
                say(f"{name}: {SAMPLES} samples per problem: {forty}")
    results.show()


def _plans(job: SampleJob, arguments: Any) -> list[Plan]:
    """Ours first: they take less time."""
    plans = []
    for slots in map(int, filter(None, arguments.slots.split(","))):
        for attention in arguments.attention.split(","):
            ours = dataclasses.replace(job, batch_size=slots, attention=attention)
            name = f"ours-{attention}-{slots}"
            plans.append(Plan(name, "sample_jax", ours, arguments.repeats))
    some = job.first(arguments.torch_problems)
    for batch in map(int, filter(None, arguments.batch.split(","))):
        for variant in arguments.variants.split(","):
            theirs = dataclasses.replace(some, batch_size=batch, variant=variant)
            plans.append(Plan(f"torch-{variant}-{batch}", "sample_torch", theirs, 1))
    return plans


def _measure(plan: Plan, setting: SampleSetting, arguments: Any) -> dict[str, Any]:
    """The figures, or {"failed": why}."""
    deadline = time.monotonic() + arguments.limit_s

    def left() -> float:
        return max(1.0, deadline - time.monotonic())

    ours = plan.module == "sample_jax"
    # Programs of ours are compiled for every length, so that the warm-up needs the whole job.
    first = plan.job if ours else plan.job.first(plan.job.batch_size)
    try:
        with Peer(plan.module, setting) as peer:
            facts = peer.call("prepare", plan.job, left())
            warm = peer.call("run", first, left())
            answers = [peer.call("run", plan.job, left()) for _ in range(plan.repeats)]
            more: dict[str, Any] = {}
            if ours:
                more = _roofline(
                    peer.call("profile", plan.job, left()),
                    peer.call("bandwidth", COPIED[arguments.device], left()),
                )
                more["compile_s"] = warm["compile_s"]
                more["compile_s_of_each_run"] = [answer["compile_s"] for answer in answers]
                # Kernels that compute the same differ only by rounding.
                more["mean_log_probability"] = warm["mean_log_probability"]
            result = summary(answers, peer.call("device_memory", None, left()))
    except PeerError as error:
        return {"failed": str(error)}
    if not result["ok"]:
        return {"failed": "what was written differs from the forced dialogues"}
    result["peak_device_memory_mib"] = result.pop("peak_memory_mib")
    return result | {
        "problems": len(plan.job.prompts),
        "device": facts["device"],
        "warm_up_s": significant(warm["seconds"]),
        **more,
    }


def _roofline(profile: dict[str, Any], bandwidth: float) -> dict[str, Any]:
    """The bytes that decode steps read per second, and the bandwidth."""
    achieved = profile["decode_bytes"] / profile["decode_s"]
    return {
        **shares(profile),
        "seconds_per_decode_step": significant(profile["decode_s"] / profile["steps"]),
        "profiled_s": significant(profile["seconds"]),
        "decode_s": significant(profile["decode_s"]),
        "prefill_s": significant(profile["prefill_s"]),
        "decode_read_gb": significant(profile["decode_bytes"] / 1e9),
        "decode_gb_per_second": significant(achieved / 1e9),
        "bandwidth_gb_per_second": significant(bandwidth / 1e9),
        "roofline_share": significant(achieved / bandwidth),
    }


def _compared(measured: dict[str, Any]) -> dict[str, Any]:
    """The fastest of either side, and their ratio."""
    best = {side: _best(measured, side) for side in ("ours", "torch")}
    speed = {side: measured[name]["problems_per_second"] for side, name in best.items() if name}
    both = len(speed) == 2
    return {
        "best": best,
        "problems_per_second": speed,
        "ratio": significant(speed["ours"] / speed["torch"]) if both else None,
    }


def _best(measured: dict[str, Any], side: str) -> str | None:
    speed = {
        name: result["problems_per_second"]
        for name, result in measured.items()
        if name.startswith(side) and "failed" not in result
    }
    return max(speed, key=speed.__getitem__, default=None)


def _forty(
    job: SampleJob, setting: SampleSetting, measured: dict[str, Any], arguments: Any
) -> dict[str, Any]:
    """Seconds that many samples of every problem take: measured with --forty, else estimated."""
    best = _best(measured, "ours")
    if best is None:
        return {"failed": "no number of slots ran"}
    tokens = SAMPLES * sum(map(len, job.forced or []))
    if not arguments.forty:
        rate = measured[best]["tokens_per_second"]
        return {
            "estimate_s": significant(tokens / rate),
            "formula": f"{tokens} tokens / ({rate} tokens/s of {best}, greedy, 1 sample)",
        }
    _, attention, slots = best.split("-")
    many = dataclasses.replace(
        job, batch_size=int(slots), samples=SAMPLES, temperature=TEMPERATURE, attention=attention
    )
    say(f"{SAMPLES} samples per problem")
    try:
        with Peer("sample_jax", setting) as peer:
            answer = peer.call("run", many, arguments.limit_s)
    except PeerError as error:
        return {"failed": str(error)}
    return {
        "seconds": significant(answer["seconds"]),
        "compile_s": answer["compile_s"],  # of these seconds
        "dialogues": many.dialogues,
        "tokens_per_second": significant(answer["tokens"] / answer["seconds"]),
        "temperature": TEMPERATURE,
        "slots": many.batch_size,
        "attention": attention,
        "utilisation": significant(answer["work"]["utilisation"]),
        "ok": answer["ok"],
    }


def _in_short(result: dict[str, Any]) -> str:
    if "failed" in result:
        return f"failed: {result['failed']}"
    text = (
        f"{result['problems_per_second']} problems/s, {result['tokens_per_second']:,.0f} tokens/s"
    )
    if "roofline_share" in result:
        text += f", {result['roofline_share']} of the bandwidth while decoding"
    return text
