"""The other side of sampling: transformers' `generate`, turn by turn (turn_by_turn.py).

Attention as transformers chooses it (SDPA), a growing cache, the weights in the dtype asked for.
"""

import time
from typing import Any

import torch
import transformers

from benchmarks import turn_by_turn
from benchmarks.sample_job import SampleJob, SampleSetting


class Loop:
    """See `peers.Peer`: `run(job)` for a `SampleJob`."""

    def __init__(self, setting: SampleSetting):
        if setting.device == "gpu" and not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} sees no CUDA here")
        self._cores = setting.cores
        self._device = "cuda" if setting.device == "gpu" else "cpu"
        if self._device == "cuda":
            torch.set_float32_matmul_precision("high")
        transformers.utils.logging.disable_progress_bar()
        self._models = [
            transformers.AutoModelForCausalLM.from_pretrained(
                directory, dtype=getattr(torch, setting.dtype), attn_implementation="sdpa"
            )
            .to(self._device)
            .eval()
            for directory in setting.weights
        ]

    def prepare(self, _: Any) -> dict[str, Any]:
        """Nothing to compile; a first `run` warms up."""
        name = torch.cuda.get_device_name() if self._device == "cuda" else "cpu"
        return {"compile_s": None, "device": name}

    def run(self, job: SampleJob) -> dict[str, Any]:
        """Write every dialogue.

        seconds     from prompts as lists to tokens as lists
        tokens      written, end marks included
        problems    prompts
        ok          forced dialogues came back as they were, and finished; True if none are
        """
        threads = job.threads or self._cores
        if threads:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        self._synchronize()
        start = time.perf_counter()
        dialogues = turn_by_turn.run(
            self._models,
            job.prompts,
            job.caps,
            variant=job.variant,
            batch_size=job.batch_size,
            temperature=job.temperature,
            forced=job.forced,
        )
        self._synchronize()
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "tokens": sum(len(tokens) for tokens, _ in dialogues),
            "problems": len(dialogues),
            "ok": job.forced is None
            or dialogues == [(tokens, "finished") for tokens in job.forced],
        }

    def device_memory(self, _: None) -> float | None:
        """Peak MiB of the accelerator, if that is counted."""
        if self._device == "cpu":
            return None
        return round(torch.cuda.max_memory_allocated() / 2**20)

    def _synchronize(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
