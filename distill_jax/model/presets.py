"""The sizes of published models, by name, and the size that a config's own numbers give."""

from distill_jax.errors import UserError
from distill_jax.model.gpt2 import GPT2Config
from distill_jax.model.llama import LlamaConfig
from distill_jax.model.network import NetworkConfig
from distill_jax.model.rope import Llama3Scaling

# GPT-2: https://huggingface.co/openai-community/gpt2 and its siblings. Parameters without and with
# the padding of the vocabulary to 50,304 are within 0.04 % of each other: 124 M, 355 M, 774 M,
# 1,558 M, 82 M.
PRESETS: dict[str, NetworkConfig] = {
    "gpt2": GPT2Config(50_257, context=1024, layers=12, heads=12, width=768),
    "gpt2-medium": GPT2Config(50_257, context=1024, layers=24, heads=16, width=1024),
    "gpt2-large": GPT2Config(50_257, context=1024, layers=36, heads=20, width=1280),
    "gpt2-xl": GPT2Config(50_257, context=1024, layers=48, heads=25, width=1600),
    "distilgpt2": GPT2Config(50_257, context=1024, layers=6, heads=12, width=768),
    # https://huggingface.co/HuggingFaceTB/SmolLM2-135M: 134,515,008 parameters.
    "smollm2-135m": LlamaConfig(
        49_152, positions=8192, layers=30, heads=9, width=576, key_value_heads=3, head_dim=64,
        hidden=1536, rope_theta=1e5, norm_epsilon=1e-5, tied=True,
    ),
    # https://huggingface.co/Qwen/Qwen2.5-0.5B: 494,032,768 parameters.
    "qwen2.5-0.5b": LlamaConfig(
        151_936, positions=32_768, layers=24, heads=14, width=896, key_value_heads=2, head_dim=64,
        hidden=4864, rope_theta=1e6, norm_epsilon=1e-6, tied=True, qkv_bias=True,
    ),
    # https://huggingface.co/Qwen/Qwen3-0.6B: 596,049,920 parameters.
    "qwen3-0.6b": LlamaConfig(
        151_936, positions=40_960, layers=28, heads=16, width=1024, key_value_heads=8, head_dim=128,
        hidden=3072, rope_theta=1e6, norm_epsilon=1e-6, tied=True, qk_norm=True,
    ),
    # https://huggingface.co/meta-llama/Llama-3.2-1B: 1,235,814,400 parameters.
    "llama-3.2-1b": LlamaConfig(
        128_256, positions=131_072, layers=16, heads=32, width=2048, key_value_heads=8, head_dim=64,
        hidden=8192, rope_theta=5e5, rope_scaling=Llama3Scaling(32.0, 1.0, 4.0, 8192),
        norm_epsilon=1e-5, tied=True,
    ),
}  # fmt: skip


def preset_size(name: str, key: str) -> NetworkConfig:
    """The size of a preset, with its own vocabulary; UserError naming `key` if there is none."""
    if name not in PRESETS:
        raise UserError(f"{key}={name!r}: choose {', '.join(PRESETS)}, or leave it empty")
    return PRESETS[name]


def own_size(*, family: str, layers: int, heads: int, width: int, context: int) -> NetworkConfig:
    """The size that config.model.STUDENT's own numbers give, without the vocabulary.

    >>> own_size(family="llama", layers=2, heads=4, width=128, context=256).hidden
    352
    """
    return FAMILIES[family](layers=layers, heads=heads, width=width, context=context)


def _small_gpt2(*, layers: int, heads: int, width: int, context: int) -> NetworkConfig:
    return GPT2Config(1, context, layers, heads, width)


def _small_llama(*, layers: int, heads: int, width: int, context: int) -> NetworkConfig:
    """Llama 2 in small. Its MLP has three matrices: with 8/3 of the width as many parameters as
    GPT-2's two; rounded up to what GGUF's q8_0 can divide."""
    return LlamaConfig(
        1, positions=context, layers=layers, heads=heads, width=width, key_value_heads=heads,
        head_dim=width // heads, hidden=-(-8 * width // 3 // 32) * 32, rope_theta=1e4,
        norm_epsilon=1e-5, tied=True,
    )  # fmt: skip


FAMILIES = {"gpt2": _small_gpt2, "llama": _small_llama}
