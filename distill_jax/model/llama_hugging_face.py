"""The Llama family in Hugging Face format: config.json, and the names of tensors.

Names and layouts are those of transformers' `modeling_llama.py`, which Mistral, Qwen 2 and Qwen 3
share: weights are [out, in], ours [in, out].
"""

import math
import pathlib
import re
from typing import TYPE_CHECKING, Any

from distill_jax.errors import UserError
from distill_jax.model.hugging_face_files import HEAD, Tensor
from distill_jax.model.rope import Llama3Scaling

if TYPE_CHECKING:
    from distill_jax.model.llama import LlamaConfig

PREFIX = "model."
FREQUENCIES = re.compile(r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")  # in old files

# What config.json may say about the function; these are also transformers' defaults for keys that
# it leaves out.
_COMPUTED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "quantization_config": None,
}
_SIZES = (
    "vocab_size",
    "max_position_embeddings",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "intermediate_size",
)


def tensor_layout(size: "LlamaConfig") -> dict[str, Tensor]:
    """{name in a file, without prefix: Tensor} of every parameter of such a network."""
    words = (size.vocab_size, size.width)
    layout = {"embed_tokens.weight": Tensor(("embed_tokens", "embedding"), words, words)}

    def norm(name: str, size: int, *path: str) -> None:
        layout[f"{name}.weight"] = Tensor((*path, "scale"), (size,), (size,))

    def kernel(name: str, path: tuple[str, ...], inside: tuple[int, ...], out: tuple[int, ...]):
        shape = (math.prod(out), math.prod(inside))
        layout[f"{name}.weight"] = Tensor((*path, "kernel"), shape, (*inside, *out), True)

    for i in range(size.layers):
        name, block = f"layers.{i}", f"layers_{i}"
        norm(f"{name}.input_layernorm", size.width, block, "input_layernorm")
        for part, count in (
            ("q", size.heads),
            ("k", size.key_value_heads),
            ("v", size.key_value_heads),
        ):
            path, out = (block, "self_attn", f"{part}_proj"), (count, size.head_dim)
            kernel(f"{name}.self_attn.{part}_proj", path, (size.width,), out)
            if size.qkv_bias:
                bias = Tensor((*path, "bias"), (count * size.head_dim,), out)
                layout[f"{name}.self_attn.{part}_proj.bias"] = bias
            if size.qk_norm and part != "v":
                norm(
                    f"{name}.self_attn.{part}_norm",
                    size.head_dim,
                    block,
                    "self_attn",
                    f"{part}_norm",
                )
        path = (block, "self_attn", "o_proj")
        kernel(f"{name}.self_attn.o_proj", path, (size.heads, size.head_dim), (size.width,))
        norm(f"{name}.post_attention_layernorm", size.width, block, "post_attention_layernorm")
        for part in ("gate_proj", "up_proj"):
            kernel(f"{name}.mlp.{part}", (block, "mlp", part), (size.width,), (size.hidden,))
        kernel(f"{name}.mlp.down_proj", (block, "mlp", "down_proj"), (size.hidden,), (size.width,))
    norm("norm", size.width, "norm")
    if not size.tied:
        layout[HEAD] = Tensor(("lm_head", "embedding"), words, words)
    return layout


def read_sizes(config: dict[str, Any], path: pathlib.Path, where: str) -> dict[str, Any]:
    """Fields of LlamaConfig that config.json gives; UserError if we would compute otherwise."""
    family, wrong = config["model_type"], {}
    for key in _SIZES:
        value = config.get(key)
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{where}: {path} has {key}={value!r}: it must be a number above 0")
    vocab_size, positions, layers, heads, width, hidden = (config[key] for key in _SIZES)
    key_value_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or (128 if family == "qwen3" else width // heads)
    for key, value in (("num_key_value_heads", key_value_heads), ("head_dim", head_dim)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{where}: {path} has {key}={value!r}: it must be a number above 0")
    if heads % key_value_heads:
        wrong["num_key_value_heads"] = key_value_heads
    if head_dim % 2:
        wrong["head_dim"] = head_dim
    wrong |= {
        key: config[key] for key in _COMPUTED if config.get(key, _COMPUTED[key]) != _COMPUTED[key]
    }
    # transformers assumes a window of 4,096 for Mistral; Qwen's windows are off by default.
    if family == "mistral" and config.get("sliding_window", 4096) is not None:
        wrong["sliding_window"] = config.get("sliding_window", 4096)
    if any(kind != "full_attention" for kind in config.get("layer_types") or ()):
        wrong["layer_types"] = sorted(set(config["layer_types"]))
    epsilon = config.get("rms_norm_eps", 1e-6)
    if not isinstance(epsilon, float) or epsilon <= 0:
        wrong["rms_norm_eps"] = epsilon
    theta, scaling, unknown = _rope(config)
    wrong |= unknown
    if wrong:
        listed = ", ".join(f"{key}={value!r}" for key, value in wrong.items())
        raise UserError(
            f"{where}: {path} has {listed}, which our networks do not compute: choose a plain "
            "Llama, SmolLM2, Mistral without a sliding window, Qwen 2, 2.5 or 3, not quantised"
        )
    return {
        "vocab_size": vocab_size,
        "positions": positions,
        "layers": layers,
        "heads": heads,
        "width": width,
        "key_value_heads": key_value_heads,
        "head_dim": head_dim,
        "hidden": hidden,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "norm_epsilon": epsilon,
        "tied": config.get("tie_word_embeddings", False),
        "qkv_bias": family == "qwen2",
        "qk_norm": family == "qwen3",
    }


def _rope(config: dict[str, Any]) -> tuple[float, Llama3Scaling | None, dict[str, Any]]:
    """(theta, scaling, unknown keys) from `rope_parameters`, or from the keys of older files."""
    key = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    given = config.get(key) or {}
    theta = given.get("rope_theta", config.get("rope_theta", 10_000.0))
    kind = given.get("rope_type", given.get("type", "default"))
    unknown = {key: given}
    if not isinstance(theta, int | float) or theta <= 0:
        return 0.0, None, {"rope_theta": theta}
    if kind == "default" and given.get("partial_rotary_factor", 1.0) == 1.0:
        return float(theta), None, {}
    if kind != "llama3":
        return float(theta), None, unknown
    values: list[Any] = [given.get(name) for name in _SCALING]
    if not all(isinstance(value, int | float) and value > 0 for value in values):
        return float(theta), None, unknown
    factor, low, high, original = values
    return float(theta), Llama3Scaling(float(factor), float(low), float(high), int(original)), {}


# Llama3Scaling's fields in config.json.
_SCALING = (
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
)


def config_json(family: str, sizes: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """config.json as transformers writes it, with the keys of older versions for RoPE as well.

    `sizes` are the fields of a LlamaConfig, `more` keyword arguments for tokens and dtype.
    """
    import transformers

    kind, architecture = {
        "llama": (transformers.LlamaConfig, "LlamaForCausalLM"),
        "qwen2": (transformers.Qwen2Config, "Qwen2ForCausalLM"),
        "qwen3": (transformers.Qwen3Config, "Qwen3ForCausalLM"),
    }[family]
    scaling = sizes["rope_scaling"]
    scaled = None
    if scaling is not None:
        scaled = {"rope_type": "llama3", **dict(zip(_SCALING, scaling.values(), strict=True))}
    config = kind(
        architectures=[architecture],
        vocab_size=sizes["vocab_size"],
        max_position_embeddings=sizes["positions"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        num_key_value_heads=sizes["key_value_heads"],
        head_dim=sizes["head_dim"],
        hidden_size=sizes["width"],
        intermediate_size=sizes["hidden"],
        rms_norm_eps=sizes["norm_epsilon"],
        tie_word_embeddings=sizes["tied"],
        attention_dropout=sizes["attention_dropout"],
        rope_parameters={"rope_theta": sizes["rope_theta"], **(scaled or {"rope_type": "default"})},
        **more,
    )
    return config.to_diff_dict() | {"rope_theta": sizes["rope_theta"], "rope_scaling": scaled}
