"""Our side: the training step of `distill_jax`, as the real command compiles and calls it."""

# Before jax is imported, as in the real command.
from distill_jax import devices

devices.keep_freed_memory()

import time  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import hyperparameters  # noqa: E402
from benchmarks.peers import Setting  # noqa: E402
from distill_jax.model import (  # noqa: E402
    attention,
    families,
    hugging_face,
    lora,
    sharding,
)
from distill_jax.training import optimizer, step  # noqa: E402
from distill_jax.training.objective import Likelihood  # noqa: E402


class Loop:
    """See `peers.Peer`. A batch is what `distill_jax.training.batches` makes."""

    def __init__(self, setting: Setting):
        if setting.device == "cpu":
            jax.config.update("jax_platforms", "cpu")
        elif jax.default_backend() != "gpu":
            raise RuntimeError(f"jax has no GPU here, only {jax.default_backend()}")
        padded = -(-setting.vocab_size // 128) * 128
        self._setting = setting
        self._config = families.from_json(setting.size | {"vocab_size": padded})
        self._mesh = sharding.make_mesh(data=-1, fsdp=1, tensor=1)
        adamw = optimizer.make_optimizer(
            hyperparameters.LEARNING_RATE,
            b1=hyperparameters.B1,
            b2=hyperparameters.B2,
            epsilon=hyperparameters.EPSILON,
            weight_decay=hyperparameters.WEIGHT_DECAY,
            clip_norm=hyperparameters.CLIP_NORM,
        )
        # As in PyTorch, every role may write every id of the tokenizer.
        allowed = np.broadcast_to(np.arange(padded) < setting.vocab_size, (2, padded)).copy()
        computation = step.Computation(
            setting.dtype, setting.kernel, setting.remat, loss_chunk=setting.loss_chunk
        )
        adapter = None
        if setting.lora_rank:
            adapter = lora.Adapter(self._config, setting.lora_rank, hyperparameters.LORA_ALPHA)
        self._trainer = step.Trainer(
            self._config, adamw, computation, allowed, 0, Likelihood(), adapter=adapter
        )
        self._state: Any = None
        self._frozen: dict[str, Any] = {}
        self._compiled: Any = None

    def prepare(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Make the first state and compile the step for batches shaped like this one."""
        attention.choose_kernel(
            self._setting.kernel,
            jax.default_backend(),
            dtype=self._setting.dtype,
            seq_len=batch["inputs"].shape[1],
            head_dim=self._config.head_dim,
            dropout=0.0,
        )
        adamw, adapter = self._trainer.optimizer, self._trainer.adapter
        with jax.set_mesh(self._mesh):
            abstract = step.abstract_state(self._mesh, self._config, adamw, adapter)
            if self._setting.weights:
                source = hugging_face.find(self._setting.weights, "benchmark")
                params = hugging_face.load_params(source, self._config.vocab_size)
                if adapter is not None:
                    base = step.abstract_base(self._mesh, adapter)
                    self._frozen = {lora.BASE: step.placed(base, adapter.hold(params))}
                    params = adapter.init(params, 0)
                self._state = step.state_from_params(abstract, adamw, params)
            else:
                self._state = step.random_state(abstract, self._config, adamw, jax.random.key(0))
            jax.block_until_ready(self._state)
            start = time.perf_counter()
            lowered = step.lower_step(self._mesh, abstract, batch, self._frozen, self._trainer)
            self._compiled = lowered.compile()
            seconds = time.perf_counter() - start
        return {"compile_s": round(seconds, 2), "device": jax.devices()[0].device_kind}

    def run(self, batches: list[dict[str, np.ndarray]]) -> dict[str, Any]:
        """One step per batch; the clock stops when the last one has ended."""
        losses = []
        with jax.set_mesh(self._mesh):
            start = time.perf_counter()
            for batch in batches:
                placed = sharding.put_batch(self._mesh, batch)
                self._state, metrics = self._compiled(self._state, placed, self._frozen)
                losses.append(metrics["loss"])
            jax.block_until_ready((self._state, losses))
            seconds = time.perf_counter() - start
        return {"seconds": seconds, "losses": [float(loss) for loss in losses]}

    def device_memory(self, _: None) -> float | None:
        """Peak MiB of the accelerator, if that is counted."""
        stats = jax.devices()[0].memory_stats() or {}
        peak = stats.get("peak_bytes_in_use")
        return None if peak is None else round(peak / 2**20)
