"""Ours against a plain PyTorch loop over transformers' models on a CPU, both in float32.

padded  the same rows padded to the same length: the speed of the same work
packed  ours packs rows, PyTorch pads a batch to its longest row: the speed of learning the same
        rows; a step of either has about as many non-padding tokens

With --lora-rank both train adapters beside the same frozen weights, PyTorch with PEFT.
"""

import itertools
import pathlib
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import hyperparameters, models, rows
from benchmarks.peers import Peer, PeerError, Setting
from benchmarks.results import Results, say, significant
from distill_jax.model import flops
from distill_jax.model.lora import Adapter
from distill_jax.model.network import NetworkConfig

GOALS = {"padded": 1.0, "packed": 2.0}
LOSS_TOLERANCE = 1e-4


def main(arguments: Any) -> None:
    """Measure every model; results are written after each comparison."""
    results = Results(arguments.output, arguments)
    say("reading GSM8K")
    data = rows.gsm8k_rows(arguments.data)
    for name, size in models.chosen(arguments).items():
        if arguments.lora_rank:
            name = f"{name}, LoRA of rank {arguments.lora_rank}"
        for part in arguments.parts.split(","):
            say(f"{name}, {part}")
            make = {"padded": _padded_batches, "packed": _packed_batches}[part]
            ours, theirs = make(data, arguments)
            result = _compare(arguments, size, data.vocab_size, ours, theirs, part)
            results.add(name, part, result)
            say(f"{name}, {part}: ratio {result['ratio']} (goal {result['goal']})")
    results.show()


def _padded_batches(data: rows.Rows, arguments: Any) -> tuple[list, list]:
    length = -(-(data.longest + 1) // 8) * 8
    ours, theirs = [], []
    for number in range(_batches_needed(arguments)):
        members = data.take(number * arguments.padded_rows, arguments.padded_rows)
        ours.append(data.padded(members, length))
        theirs.append(data.torch(members, length))
    return ours, theirs


def _packed_batches(data: rows.Rows, arguments: Any) -> tuple[list, list]:
    length = max(arguments.row_length, data.longest)
    bins = data.bins(length)
    per_bin = sum(len(bin_) for bin_ in bins) / len(bins)
    their_rows = max(1, round(per_bin * arguments.packed_rows))
    ours, theirs = [], []
    for number in range(_batches_needed(arguments)):
        first = number * arguments.packed_rows
        chosen = [bins[i % len(bins)] for i in range(first, first + arguments.packed_rows)]
        ours.append(data.packed(chosen, length))
        theirs.append(data.torch(data.take(number * their_rows, their_rows)))
    return ours, theirs


def _batches_needed(arguments: Any) -> int:
    """Each round has its own batches, because their padding differs."""
    return arguments.warmup + arguments.steps * arguments.repeats


def _compare(
    arguments: Any,
    size: NetworkConfig,
    vocab_size: int,
    ours: Sequence[rows.Batch],
    theirs: Sequence[rows.Batch],
    part: str,
) -> dict[str, Any]:
    """Both sides start from the same weights and take turns, round by round."""
    batches = {"torch": theirs, "ours": ours}
    seconds: dict[str, list[float]] = {side: [] for side in batches}
    losses: dict[str, list[float]] = {side: [] for side in batches}
    with tempfile.TemporaryDirectory() as directory:
        weights = str(pathlib.Path(directory, "weights"))
        setting = Setting(
            **models.plain(size),
            vocab_size=vocab_size,
            weights=weights,
            lora_rank=arguments.lora_rank,
            cores=arguments.cores,
            loss_chunk=arguments.loss_chunk,
        )
        with Peer("train_torch", setting) as torch_peer, Peer("train_jax", setting) as our_peer:
            sides = {"torch": torch_peer, "ours": our_peer}
            facts = {s: peer.call("prepare", batches[s][0].arrays) for s, peer in sides.items()}
            for first, last in _rounds(arguments):
                for side, peer in sides.items():
                    arrays = [batch.arrays for batch in batches[side][first:last]]
                    answer = peer.call("run", arrays)
                    losses[side] += answer["losses"]
                    seconds[side].append(answer["seconds"])
                if first == 0 and part == "padded":
                    _check_losses(losses)
            memory = {side: peer.call("memory") for side, peer in sides.items()}
    config = models.with_ids(size, vocab_size)
    result: dict[str, Any] = {
        side: _summary(config, batches[side], seconds[side], arguments)
        | {"peak_memory_mib": memory[side], "compile_s": facts[side]["compile_s"]}
        for side in ("ours", "torch")
    }
    speed = [result[side]["useful_tokens_per_second"] for side in ("ours", "torch")]
    ratio = significant(speed[0] / speed[1])
    result |= {"ratio": ratio, "goal": GOALS[part], "reached": ratio >= GOALS[part]}
    if part == "padded":
        pairs = list(zip(losses["ours"], losses["torch"], strict=True))
        result["first_loss"] = dict(zip(("ours", "torch"), pairs[0], strict=True))
        result["largest_loss_difference"] = max(abs(a - b) for a, b in pairs)
    return result


def _rounds(arguments: Any) -> list[tuple[int, int]]:
    """(first, last) batch of each round; the warm-up is the first."""
    starts = [arguments.warmup + i * arguments.steps for i in range(arguments.repeats + 1)]
    return [(0, arguments.warmup), *itertools.pairwise(starts)]


def _check_losses(losses: dict[str, list[float]]) -> None:
    """With the same weights the same rows must have the same loss; otherwise different work is
    timed."""
    ours, theirs = losses["ours"][0], losses["torch"][0]
    if not abs(ours - theirs) <= LOSS_TOLERANCE:
        raise PeerError(f"the first losses differ: ours {ours}, PyTorch's {theirs}")


def _summary(
    config: Any, batches: Sequence[rows.Batch], seconds: list[float], arguments: Any
) -> dict[str, Any]:
    """The figures of one side: medians over the rounds, without the warm-up."""
    speeds, rates = [], []
    timed = batches[arguments.warmup :]
    for number, spent in enumerate(seconds[1:]):
        part = timed[number * arguments.steps : (number + 1) * arguments.steps]
        tokens = sum(batch.tokens for batch in part)
        pairs = sum(batch.pairs for batch in part)
        loss_tokens = sum(batch.loss_tokens for batch in part)
        speeds.append(tokens / spent)
        if rank := arguments.lora_rank:
            trained = Adapter(config, rank, hyperparameters.LORA_ALPHA).count()
            work = flops.adapter_flops(config, tokens, pairs, loss_tokens, trained)
        else:
            work = flops.train_flops(config, tokens, pairs, loss_tokens)
        rates.append(work / spent)
    useful, fed = (sum(getattr(b, key) for b in timed) for key in ("tokens", "fed"))
    first = next(iter(batches[0].arrays.values()))
    return {
        "rows_per_step": first.shape[0],
        "row_length": first.shape[1] if len({b.fed for b in batches}) == 1 else "longest",
        "useful_tokens_per_step": significant(useful / len(timed)),
        "fed_tokens_per_step": significant(fed / len(timed)),
        "useful_share": significant(useful / fed),
        "seconds_per_step": significant(statistics.median(seconds[1:]) / arguments.steps),
        "useful_tokens_per_second": significant(statistics.median(speeds)),
        "of_each_round": [significant(speed) for speed in speeds],
        "model_gflops_per_second": significant(statistics.median(rates) / 1e9),
    }
