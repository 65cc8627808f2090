"""The models that are measured."""

import dataclasses
from typing import Any

from distill_jax.model import network
from distill_jax.model.gpt2 import GPT2Config
from distill_jax.model.network import NetworkConfig
from distill_jax.model.presets import PRESETS

SIZES: dict[str, NetworkConfig] = {
    **PRESETS,
    "gpt2-4-layers": GPT2Config(50_257, context=1024, layers=4, heads=12, width=768),
    "demo": GPT2Config(640, context=192, layers=3, heads=2, width=128),  # configs/demo.py
}


def chosen(arguments: Any) -> dict[str, NetworkConfig]:
    """{name: size} of --models, or of the given size."""
    given = {size: getattr(arguments, size) for size in ("layers", "heads", "width")}
    if any(given.values()):
        usual = {"layers": 12, "heads": 12, "width": 768}
        size = {key: value or usual[key] for key, value in given.items()}
        name = "-".join(f"{value}{key[0]}" for key, value in size.items())
        return {name: GPT2Config(50_257, context=arguments.context, **size)}
    unknown = [name for name in arguments.models.split(",") if name not in SIZES]
    if unknown:
        raise SystemExit(f"error: --models {unknown[0]}: choose from {', '.join(SIZES)}")
    return {name: SIZES[name] for name in arguments.models.split(",")}


def with_ids(size: NetworkConfig, count: int) -> NetworkConfig:
    """The size for `count` ids, padded to a multiple of 128. All models get the ids of the measured
    texts, those of GPT-2's tokenizer, whatever their own vocabulary."""
    assert dataclasses.is_dataclass(size)
    return dataclasses.replace(size, vocab_size=-(-count // 128) * 128)


def plain(size: NetworkConfig) -> dict[str, dict[str, Any]]:
    """What both sides make the model from: our sizes, and config.json of transformers. PyTorch's
    process does without jax, so it can unpickle none of our classes."""
    return {"size": network.to_json(size), "config": size.hugging_face_config()}
