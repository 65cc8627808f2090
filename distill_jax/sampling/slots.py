"""How many slots, how long their caches, how prompts are padded: numbers chosen on the host."""

import math
import os
from collections.abc import Mapping
from typing import Any

import jax

from distill_jax.sampling.turn_rules import BLOCK, TurnRules

CHUNK = 64  # most steps between two looks of the host
# More slots than these are not faster on a CPU (docs/log.md); not measured elsewhere yet.
MOST_SLOTS = {"cpu": 64}
MOST_SLOTS_ELSEWHERE = 512
# The share of a device's memory that caches may use. While they grow, old and new caches may exist
# at once, beside the parameters; those of large students use more of a TPU's 16 GiB than of a GPU's
# 80.
MEMORY_SHARE = {"tpu": 0.4}
MEMORY_SHARE_ELSEWHERE = 0.5


def bucket_lengths(longest: int) -> tuple[int, ...]:
    """Lengths that prompts are padded to: 32, 48, 64, 96, 128, 192, ... up to `longest`.

    Each is a half or a third longer than the one before, so at most a third is padding.
    """
    lengths, length = [], 32
    while length < longest:
        lengths.append(length)
        length = length * 3 // 2 if length & (length - 1) == 0 else length * 4 // 3
    return (*lengths, longest)


def window_lengths(rules: TurnRules) -> tuple[int, ...]:
    """Lengths of caches, multiples of BLOCK, up to what the longest context needs."""
    longest = max(view.cache_len(1 << 30) for view in rules.views)
    sizes = (BLOCK * blocks for blocks in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64))
    return (*(size for size in sizes if size < longest), longest)


def window_for(rules: TurnRules, tokens: int) -> int:
    """The shortest window that holds `tokens`, or the longest one."""
    windows = window_lengths(rules)
    return next((window for window in windows if window >= tokens), windows[-1])


def choose_slots(
    rules: TurnRules, wanted: int, dialogues: int, prompt: int, memory: int | None, platform: str
) -> int:
    """How many slots to use for `dialogues`: `wanted`, or if that is 0, as many as are useful and
    fit.

    prompt    tokens of the longest prompt
    memory    bytes of a device, None if nobody knows
    platform  "cpu", "gpu" or "tpu"

    The number is rounded up to a multiple of the devices that slots are spread over (data x fsdp).
    """
    slots, spread = wanted, parts()
    if not slots:
        most = MOST_SLOTS.get(platform, MOST_SLOTS_ELSEWHERE) * spread
        slots = min(most, dialogues)
        if memory is not None:
            tensor = jax.sharding.get_abstract_mesh().shape["tensor"]
            row = rules.cache_bytes(longest_window(rules, prompt)) / tensor
            share = MEMORY_SHARE.get(platform, MEMORY_SHARE_ELSEWHERE)
            slots = min(slots, int(share * memory * spread / row))
        if slots >= 8:
            slots -= slots % 8
    return max(1, math.ceil(slots / spread)) * spread


def longest_window(rules: TurnRules, prompt: int) -> int:
    """Tokens in the longest window that dialogues after prompts of up to `prompt` tokens can need,
    with the room that the host leaves (schedule.py). A student's context may be far longer:
    SmolLM2's caches take 189 MB of float32 for 4,096 tokens, and 29 MB for 640."""
    prompt = min(prompt, rules.context)
    padded = next(length for length in bucket_lengths(rules.context) if length >= prompt)
    return window_for(rules, max(padded, prompt + rules.max_tokens) + CHUNK)


def device_memory() -> int | None:
    """Bytes of memory of one device of this process; the devices of a host share its memory."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return host // jax.local_device_count()
    stats: Mapping[str, Any] = device.memory_stats() or {}
    return stats.get("bytes_limit")


def prefill_rows(slots: int) -> int:
    """How many prompts are read at a time: an eighth of the slots, and at least one for each part
    of the mesh."""
    return max(1, slots // 8 // parts()) * parts()


def parts() -> int:
    """How many places of the current mesh (`jax.set_mesh`) have their own slots: data x fsdp."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape["data"] * mesh.shape["fsdp"]
