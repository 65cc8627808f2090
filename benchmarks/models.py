"""The models that are measured."""

from typing import Any

from distill_jax.model.gpt2 import GPT2Config
from distill_jax.model.presets import PRESETS

KEYS = ("layers", "heads", "width", "context")
SIZES = {
    name: {key: getattr(size, key) for key in KEYS}
    for name, size in PRESETS.items()
    if isinstance(size, GPT2Config)
}
SIZES["gpt2-4-layers"] = SIZES["gpt2"] | {"layers": 4}


def chosen(arguments: Any) -> dict[str, dict[str, int]]:
    """{name: layers, heads, width, context} of --models, or of the given size."""
    given = {size: getattr(arguments, size) for size in ("layers", "heads", "width")}
    if any(given.values()):
        size = {key: value or SIZES["gpt2"][key] for key, value in given.items()}
        name = "-".join(f"{value}{key[0]}" for key, value in size.items())
        return {name: size | {"context": arguments.context}}
    unknown = [name for name in arguments.models.split(",") if name not in SIZES]
    if unknown:
        raise SystemExit(f"error: --models {unknown[0]}: choose from {', '.join(SIZES)}")
    return {name: SIZES[name] for name in arguments.models.split(",")}


def config_of(size: dict[str, int], vocab_size: int) -> GPT2Config:
    """Our configuration, for its count of floating point operations."""
    return GPT2Config(vocab_size=-(-vocab_size // 128) * 128, **size)
