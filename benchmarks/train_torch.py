"""The other side: a plain PyTorch loop over transformers' models.

It has what costs its user a line: fused AdamW, no cache of keys, attention as transformers chooses
it (SDPA); on a GPU torch.compile and bfloat16 autocast. Dropout is off on both sides.
"""

import contextlib
import pathlib
import time
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks import hyperparameters
from benchmarks.peers import Setting


class Loop:
    """See `peers.Peer`. A batch has input_ids, labels (-100 = no loss), maybe attention_mask."""

    def __init__(self, setting: Setting):
        if setting.cores:
            torch.set_num_threads(setting.cores)
        if setting.device == "gpu" and not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} sees no CUDA here")
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")  # of what autocast leaves in float32
        self._device = "cuda" if setting.device == "gpu" else "cpu"
        self._bfloat16 = setting.dtype == "bfloat16"
        own = {"vocab_size": setting.vocab_size, "bos_token_id": 0, "eos_token_id": 0}
        whole = setting.config | own | {"use_cache": False}
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(**whole)
        )
        if setting.weights:
            pathlib.Path(setting.weights).mkdir(parents=True, exist_ok=True)
            model.save_pretrained(setting.weights)
        if setting.lora_rank:
            import peft

            adapters = peft.LoraConfig(
                r=setting.lora_rank,
                lora_alpha=hyperparameters.LORA_ALPHA,
                lora_dropout=0.0,
                target_modules="all-linear",  # of the blocks: the head is none of them
            )
            model = peft.get_peft_model(model, adapters)
        model = model.to(self._device).train()
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in self._parameters if p.ndim > 1]},
            {"params": [p for p in self._parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            groups,
            lr=hyperparameters.LEARNING_RATE,
            betas=(hyperparameters.B1, hyperparameters.B2),
            eps=hyperparameters.EPSILON,
            weight_decay=hyperparameters.WEIGHT_DECAY,
            fused=True,
        )
        self._model: Any = torch.compile(model) if self._bfloat16 else model

    def prepare(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Nothing to compile yet: that happens in the first step (`run`)."""
        del batch
        name = torch.cuda.get_device_name() if self._device == "cuda" else "cpu"
        return {"compile_s": None, "device": name}

    def run(self, batches: list[dict[str, np.ndarray]]) -> dict[str, Any]:
        """One step per batch; the clock stops when the last one has ended."""
        losses = []
        start = time.perf_counter()
        for batch in batches:
            losses.append(self._step(batch))
        if self._device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "losses": [float(loss) for loss in losses]}

    def _step(self, batch: dict[str, np.ndarray]) -> torch.Tensor:
        tensors = {
            name: torch.from_numpy(array).to(self._device, non_blocking=True)
            for name, array in batch.items()
        }
        autocast = contextlib.nullcontext()
        if self._bfloat16:
            autocast = torch.autocast(self._device, torch.bfloat16)
        with autocast:
            loss = self._model(**tensors).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, hyperparameters.CLIP_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def device_memory(self, _: None) -> float | None:
        """Peak MiB of the accelerator, if that is counted."""
        if self._device == "cpu":
            return None
        return round(torch.cuda.max_memory_allocated() / 2**20)
