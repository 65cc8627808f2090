"""What is tried for a GPT-2 size on a slice: layouts, and what each needs by arithmetic."""

import dataclasses
import math

from benchmarks.models import SIZES

MODELS = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
VOCABULARY = 50_304
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


def training_options(model: str, topology: str) -> list[Option]:
    """What is tried for a training step, the fastest first: plain data parallelism, then remat,
    then parameters and moments split over as many devices as the width divides by.

    Heads are never split: 25 heads divide by nothing, and the others need it nowhere.
    """
    devices, size = device_count(topology), SIZES[model]
    split = math.gcd(devices, size["width"])
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
    devices, size = device_count(topology), SIZES[model]
    split = math.gcd(devices, size["width"])
    tried = [("data", 1, SLOTS), ("fsdp", split, SLOTS)]
    tried += [(f"data-{slots}", 1, slots) for slots in FEWER]
    return [
        Option(name, devices // fsdp, fsdp, False, least_sampler_memory(size, fsdp, slots), slots)
        for name, fsdp, slots in tried
    ]


def least_training_memory(size: dict[str, int], fsdp: int, remat: bool) -> int:
    """Bytes per device that no compiler can do without; spares compilations that must fail.

    float32 parameters, gradients and two moments, split over fsdp; and what the backward pass keeps
    in bfloat16 of each token and layer: with remat a block's input (D numbers), else at least that,
    q, k, v, the result of attention, the input of the MLP and its hidden layer (10 D).
    """
    width, layers = size["width"], size["layers"]
    kept = (1 if remat else 10) * 2 * width * layers * ROWS * TOKENS
    return 16 * _parameters(size) // fsdp + kept


def least_sampler_memory(size: dict[str, int], fsdp: int, slots: int) -> int:
    """The same of the sampler: bfloat16 parameters of all students, split over fsdp, and the
    caches (k and v of each layer) of the slots, while they grow."""
    caches = slots * WINDOW * 2 * size["layers"] * size["width"]
    return round(2 * len(STUDENTS) * (_parameters(size) // fsdp + GROWING * caches))


def device_count(topology: str) -> int:
    """Of "v5e:2x4" and of "H100:8": 8."""
    return math.prod(int(side) for side in topology.partition(":")[2].split("x"))


def _parameters(size: dict[str, int]) -> int:
    """Of the products and embeddings."""
    width = size["width"]
    return size["layers"] * 12 * width**2 + (VOCABULARY + size["context"]) * width
