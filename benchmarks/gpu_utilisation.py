"""Training on one GPU: the share of its peak, and the speed compared with PyTorch, in bfloat16.

Every measurement runs in a separate process with a time limit; failures are recorded with their
reason. There are three shares of the peak (model FLOP/s utilisation, MFU); none counts padding or
repeated computations:

    mfu           blocks for every token, attention for the pairs at or before the query in the
                  whole packed row, the head for loss tokens only
    mfu_segments  as mfu, attention only for pairs within one segment of a packed row
    mfu_palm      6 N + 12 layers x width x T per token, T the row's length and N all parameters
                  (PaLM, https://arxiv.org/abs/2204.02311, appendix B): the head for every token
"""

import dataclasses
import time
from typing import Any

from benchmarks import models, rows
from benchmarks.peers import Peer, PeerError, Setting
from benchmarks.results import Results, say, significant
from distill_jax.model import flops, network
from distill_jax.model.network import NetworkConfig

# Dense bfloat16 TFLOP/s of NVIDIA's data sheets; the first name found in the device's counts.
PEAKS = {"H100 PCIe": 756.0, "H100": 989.4, "H200": 989.4, "A100": 312.0}
GOALS = {"gpt2": 0.45, "gpt2-medium": 0.50, "gpt2-large": 0.55}
RATIO_GOAL = 1.2
PACKED_KERNELS = ("cudnn", "triton", "xla")
DETERMINISTIC = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
TORCH_VOCABULARY = 50304  # a round number too: 50,257 would slow its head down


@dataclasses.dataclass(frozen=True)
class Plan:
    """One measurement: which side, on which rows; `batches` are tried until one fits."""

    module: str
    setting: Setting
    rows: str  # packed, no_segments, torch
    batches: list[int]


def main(arguments: Any) -> None:
    """Make the chosen measurements; results are written after each."""
    results = Results(arguments.output, arguments)
    data = rows.gsm8k_rows(arguments.data) if arguments.data else rows.random_rows()
    if data.longest > arguments.row_length:
        raise SystemExit(f"error: --row-length must be at least {data.longest}")
    bins = data.bins(arguments.row_length)
    began = time.monotonic()
    for name, size in models.chosen(arguments).items():
        measured: dict[str, Any] = {}
        for measurement in arguments.measurements.split(","):
            if time.monotonic() - began > arguments.total_limit_s:
                measured[measurement] = {"failed": f"not begun in {arguments.total_limit_s:.0f} s"}
            else:
                say(f"{name}: {measurement}")
                plan = _plan(measurement, size, data, measured, arguments)
                measured[measurement] = _measure(plan, data, bins, size, arguments)
            say(f"{name}: {measurement}: {_in_short(measured[measurement])}")
            results.add(name, measurement, measured[measurement])
        results.add(name, "summary", _compared(name, measured))
    results.show()


def _plan(
    measurement: str, size: NetworkConfig, data: rows.Rows, measured: dict[str, Any], arguments
) -> Plan:
    """The measurement of a name; the last two vary the best kernel so far."""
    batches = [int(number) for number in arguments.batches.split(",")]
    setting = Setting(
        **models.plain(size), vocab_size=data.vocab_size, device=arguments.device, dtype="bfloat16",
        loss_chunk=arguments.loss_chunk,
    )  # fmt: skip
    if measurement == "torch":
        vocabulary = max(TORCH_VOCABULARY, data.vocab_size)
        setting = dataclasses.replace(setting, vocab_size=vocabulary)
        return Plan("train_torch", setting, "torch", batches)
    if measurement == "cudnn_no_segments":
        setting = dataclasses.replace(setting, kernel="cudnn")
        return Plan("train_jax", setting, "no_segments", batches)
    if measurement in PACKED_KERNELS:
        setting = dataclasses.replace(setting, kernel=measurement)
        return Plan("train_jax", setting, "packed", batches)
    best = _best(measured)
    setting = dataclasses.replace(setting, kernel=best or "xla")
    if measurement == "remat":
        setting = dataclasses.replace(setting, remat=True)
        return Plan("train_jax", setting, "packed", batches)
    if measurement == "deterministic":
        setting = dataclasses.replace(setting, environment=DETERMINISTIC)
        same = [measured[best]["rows_per_step"]] if best else batches
        return Plan("train_jax", setting, "packed", same)
    raise SystemExit(f"error: --measurements {measurement}: unknown")


def _best(measured: dict[str, Any]) -> str | None:
    """The fastest kernel on packed rows so far."""
    speed = {k: measured[k].get("tokens_per_second", 0) for k in PACKED_KERNELS if k in measured}
    best = max(speed, key=speed.__getitem__, default=None)
    return best if best and speed[best] else None


def _measure(plan: Plan, data: rows.Rows, bins, size, arguments: Any) -> dict[str, Any]:
    """The figures at the first batch size that fits, or {"failed": why}."""
    deadline = time.monotonic() + arguments.limit_s
    reason = "no batch size to try"
    for number in plan.batches:
        halves = [[bins[(k * number + i) % len(bins)] for i in range(number)] for k in range(2)]
        batches = [_batch(plan.rows, data, half, arguments.row_length) for half in halves]
        try:
            return _run(plan, batches, size, arguments, deadline)
        except PeerError as error:
            reason = f"{number} rows: {error}"
            if not error.out_of_memory:
                break
            say(f"{number} rows do not fit")
    return {"failed": reason, "kernel": plan.setting.kernel}


def _batch(kind: str, data: rows.Rows, bins, length: int) -> rows.Batch:
    batch = data.packed(bins, length)
    if kind == "torch":
        return rows.torch_of_packed(batch)
    return rows.without_segments(batch) if kind == "no_segments" else batch


def _run(plan: Plan, batches: list[rows.Batch], size, arguments, deadline: float) -> dict[str, Any]:
    """One process: compile, warm up, measure."""

    def left() -> float:
        return max(1.0, deadline - time.monotonic())

    with Peer(plan.module, plan.setting) as peer:
        facts = peer.call("prepare", batches[0].arrays, left())
        cycle = [batches[i % 2] for i in range(max(arguments.warmup, arguments.steps))]
        first = [batch.arrays for batch in cycle[: arguments.warmup]]
        warm = peer.call("run", first, left())
        timed = cycle[: arguments.steps]
        answer = peer.call("run", [batch.arrays for batch in timed], left())
        memory = peer.call("device_memory", None, left())
    seconds = answer["seconds"]
    tokens = sum(batch.tokens for batch in timed)
    return {
        "rows_per_step": len(next(iter(batches[0].arrays.values()))),
        "useful_share": significant(tokens / sum(batch.fed for batch in timed)),
        "seconds_per_step": significant(seconds / len(timed)),
        "tokens_per_second": significant(tokens / seconds),
        **_utilisation(plan, timed, seconds, size, arguments.row_length, facts["device"]),
        "kernel": plan.setting.kernel if plan.module == "train_jax" else "sdpa",
        "remat": plan.setting.remat,
        "device": facts["device"],
        "device_peak_memory_mib": memory,
        "compile_s": facts["compile_s"],
        "warm_up_s": significant(warm["seconds"]),
        "first_loss": warm["losses"][0] if warm["losses"] else None,
    }


def _utilisation(plan, timed, seconds, size, length: int, device: str) -> dict[str, Any]:
    """Model TFLOP/s by the three counts, and their shares if the device's peak is known."""
    config = models.with_ids(size, plan.setting.vocab_size)
    tokens, loss_tokens, pairs, fed = (
        sum(getattr(batch, key) for batch in timed)
        for key in ("tokens", "loss_tokens", "pairs", "fed")
    )
    row_pairs = flops.causal_pairs(length) * fed // length
    width = config.heads * config.head_dim
    palm = 6 * network.parameter_count(config) + 12 * config.layers * width * length
    rates = {
        "": flops.train_flops(config, tokens, row_pairs, loss_tokens) / seconds / 1e12,
        "_segments": flops.train_flops(config, tokens, pairs, loss_tokens) / seconds / 1e12,
        "_palm": palm * tokens / seconds / 1e12,
    }
    peak = next((peak for name, peak in PEAKS.items() if name in device), None)
    values: dict[str, Any] = {f"tflops{key}": significant(rate) for key, rate in rates.items()}
    for key, rate in rates.items():
        values[f"mfu{key}"] = significant(rate / peak) if peak else None
    return values


def _compared(name: str, measured: dict[str, Any]) -> dict[str, Any]:
    """The figures of the goals: the best share, and the ratios."""
    best = _best(measured)
    if best is None:
        return {"failed": "no kernel ran on packed rows"}
    speed = {key: value.get("tokens_per_second") for key, value in measured.items()}
    ratios = {
        f"ratio_to_{other}": significant(speed[best] / speed[other]) if speed.get(other) else None
        for other in ("torch", "deterministic", "remat", "cudnn_no_segments")
    }
    if not speed.get("torch"):
        ratios["torch_not_measured"] = measured.get("torch", {}).get("failed", "not asked for")
    mfu, goal = measured[best]["mfu"], GOALS.get(name)
    return {
        "best_kernel": best,
        "mfu": mfu,
        "mfu_goal": goal,
        "mfu_reached": mfu >= goal if mfu and goal else None,
        **ratios,
        "ratio_to_torch_goal": RATIO_GOAL,
    }


def _in_short(result: dict[str, Any]) -> str:
    if "failed" in result:
        return f"failed: {result['failed']}"
    return (
        f"{result['rows_per_step']} rows, {result['seconds_per_step']} s a step, "
        f"{result['tokens_per_second']:,.0f} tokens/s, {result['tflops']} TFLOP/s, "
        f"MFU {result['mfu']}"
    )
