"""What is tried for a model on a slice: layouts, and what each needs by arithmetic."""

import dataclasses
import math

from distill_jax.dry_run.topologies import GPU_TOPOLOGIES, TOPOLOGIES
from distill_jax.model.gpt2 import GPT2Config
from distill_jax.model.llama import LlamaConfig
from distill_jax.model.network import NetworkConfig
from distill_jax.model.presets import PRESETS

GPT2 = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
LLAMA = ("smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b")
MODELS = (*GPT2, *LLAMA)
ALL_TOPOLOGIES = (*TOPOLOGIES, *GPU_TOPOLOGIES)
LLAMA_TOPOLOGIES = ("v5e:2x4", "v5p:4x4x4", "v6e:2x4", "H100:8", "H200:1")
# GPT-2's rows, and the ids that are used; the others keep their published vocabularies.
GPT2_ROWS, GPT2_USED = 50_304, 50_258
# Of a training step; rows and chunk per device.
ROWS, TOKENS, LOSS_CHUNK = 8, 1024, 2048
# For the sampler: slots per device, and fewer if those do not fit.
SLOTS, FEWER = 64, (32, 16, 8)
WINDOW, PROMPT, STUDENTS = 512, 256, ("decomposer", "solver")
GROWING = 1 + 384 / 512  # caches of the window before the longest are held beside those


@dataclasses.dataclass(frozen=True)
class Option:
    """A way to lay out a program. `needs` is what it takes per device at the very least."""

    name: str
    data: int
    fsdp: int
    remat: bool
    needs: int
    slots: int = 0  # of the sampler, per device


def topologies(model: str) -> tuple[str, ...]:
    """Those of the page."""
    return LLAMA_TOPOLOGIES if model in LLAMA else ALL_TOPOLOGIES


def config(model: str) -> NetworkConfig:
    """The size of a model, with the rows of its embedding."""
    size = PRESETS[model]
    return dataclasses.replace(size, vocab_size=GPT2_ROWS) if model in GPT2 else size


def training_options(model: str, topology: str) -> list[Option]:
    """What is tried for a training step, the fastest first: plain data parallelism, then remat,
    then parameters and moments split over as many devices as the width divides by.

    Heads are never split: 25 heads divide by nothing, and the others need it nowhere.
    """
    devices, size = device_count(topology), config(model)
    split = math.gcd(devices, size.width)
    return [
        Option(
            f"{'fsdp' if fsdp > 1 else 'data'}{'-remat' if remat else ''}",
            devices // fsdp,
            fsdp,
            remat,
            least_training_memory(size, fsdp, remat),
        )
        for fsdp in (1, split)
        for remat in (False, True)
    ]


def sampler_options(model: str, topology: str) -> list[Option]:
    """What is tried for the sampler: every device has all parameters, or else a part of them, or
    else fewer slots."""
    devices, size = device_count(topology), config(model)
    split = math.gcd(devices, size.width)
    tried = [("data", 1, SLOTS), ("fsdp", split, SLOTS)]
    tried += [(f"data-{slots}", 1, slots) for slots in FEWER]
    return [
        Option(name, devices // fsdp, fsdp, False, least_sampler_memory(size, fsdp, slots), slots)
        for name, fsdp, slots in tried
    ]


def least_training_memory(size: NetworkConfig, fsdp: int, remat: bool) -> int:
    """Bytes per device that no compiler can do without; spares compilations that must fail.

    float32 parameters, gradients and two moments, split over fsdp; and what the backward pass keeps
    in bfloat16 of each token and layer: with remat a block's input, else at least that, q, k, v,
    the result of attention, the input of the MLP and its hidden layer (in GPT-2 10 times the width;
    a gated MLP has two hidden layers).
    """
    kept = size.width
    if not remat:
        kept += 2 * (size.heads + size.key_value_heads) * size.head_dim + size.width + _hidden(size)
    return 16 * _parameters(size) // fsdp + 2 * kept * size.layers * ROWS * TOKENS


def least_sampler_memory(size: NetworkConfig, fsdp: int, slots: int) -> int:
    """The same of the sampler: bfloat16 parameters of all students, split over fsdp, and the
    caches (k and v of each layer) of the slots, while they grow."""
    caches = slots * WINDOW * 2 * size.layers * size.key_value_heads * size.head_dim
    return round(2 * len(STUDENTS) * (_parameters(size) // fsdp + GROWING * caches))


def device_count(topology: str) -> int:
    """Of "v5e:2x4" and of "H100:8": 8."""
    return math.prod(int(side) for side in topology.partition(":")[2].split("x"))


def _hidden(size: NetworkConfig) -> int:
    if isinstance(size, LlamaConfig):
        return 2 * size.hidden
    assert isinstance(size, GPT2Config)
    return 4 * size.width


def _parameters(size: NetworkConfig) -> int:
    """Of the products and embeddings."""
    return size.block_weights + size.vocab_size * size.width + size.looked_up_weights
