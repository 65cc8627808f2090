"""The published sizes of GPT-2 (https://huggingface.co/openai-community/gpt2 and its siblings)."""

from distill_jax.errors import UserError

# Parameters without and with the padding of the vocabulary to 50,304 are within 0.04 % of each
# other: 124 M, 355 M, 774 M, 1,558 M, 82 M.
PRESETS = {
    "gpt2": {"layers": 12, "heads": 12, "width": 768, "context": 1024},
    "gpt2-medium": {"layers": 24, "heads": 16, "width": 1024, "context": 1024},
    "gpt2-large": {"layers": 36, "heads": 20, "width": 1280, "context": 1024},
    "gpt2-xl": {"layers": 48, "heads": 25, "width": 1600, "context": 1024},
    "distilgpt2": {"layers": 6, "heads": 12, "width": 768, "context": 1024},
}


def preset_size(name: str, key: str) -> dict[str, int]:
    """{layers, heads, width, context} of a preset; UserError naming `key` where there is none."""
    if name not in PRESETS:
        raise UserError(f"{key}={name!r}: choose {', '.join(PRESETS)}, or leave it empty")
    return PRESETS[name]
