"""Weights and sizes of a Llama-family model from a GGUF file, under Hugging Face's names.

The package gguf dequantises the tensors to float32, without PyTorch. For the architecture "llama",
llama.cpp rotates neighbouring pairs, so its converter permutes the rows of q and k
(`LlamaModel.permute` in convert_hf_to_gguf.py); here they get their old order. Qwen is not
permuted.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from distill_jax.errors import UserError
from distill_jax.gguf_file import GGUFFile

ARCHITECTURES = ("llama", "qwen2", "qwen3")
QUANTISATIONS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K")
_CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
# llama.cpp's names for those of Hugging Face; in a layer after "blk.N." and "model.layers.N.".
OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# The factors by which Llama 3.1 and later stretch wavelengths; a table of numbers, not a weight.
ROPE_FACTORS = "rope_freqs.weight"
# All published models of the kind share these; the file holds only the factors made from them.
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_IN_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def read_config(file: GGUFFile) -> dict[str, Any]:
    """The model's config.json as transformers writes it, with both spellings of the rotary keys.

    This checks every tensor's name, shape and quantisation, and reads no weights. `vocab_size`
    counts the rows of the embedding, `head_dim` comes from the shape of q, the embedding is tied if
    there is no tensor for the head. Raises UserError for another architecture, a quantisation or a
    mechanism that is not supported, and for tensors that are missing, left over or of another shape
    than the metadata say.
    """
    architecture = _architecture(file)
    _check_mechanisms(file, architecture)
    config = _config(file, architecture)
    _check_tensors(file, tensor_shapes(config))
    return config


def read_weights(file: GGUFFile, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """(Hugging Face name, float32 array [out, in] or [out]) of every tensor, one at a time.

    `config` is what `read_config` returned. Raises UserError for a tensor that is not finite.
    """
    import gguf

    for stored, tensor in file.tensors.items():
        if stored == ROPE_FACTORS:
            continue
        name = _hugging_face_name(stored)
        # A copy: what gguf returns for float32 is the read-only memory map of the file.
        array = np.array(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if not np.isfinite(array).all():
            raise UserError(
                f"{file.path}: tensor {stored} holds values that are not finite: "
                "download or copy the file again"
            )
        if heads := rotated_heads(name, config):
            array = split_halves(array, heads)
        yield name, array


def rotated_heads(name: str, config: dict[str, Any]) -> int:
    """How many heads the rows of this tensor form if GGUF permutes them, else 0."""
    if config["model_type"] != "llama":
        return 0
    if ".q_proj." in name:
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if ".k_proj." in name else 0


def split_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows [heads * dim, ...] of q or k from llama.cpp's order to Hugging Face's.

    One head of 4 rows: llama.cpp rotates the pairs (0, 1) and (2, 3), Hugging Face (0, 2) and
    (1, 3); so rows a b c d become a c b d.
    """
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """{Hugging Face name: shape} of every parameter of a model with this config."""
    width, hidden = config["hidden_size"], config["intermediate_size"]
    dim = config["head_dim"]
    query = config["num_attention_heads"] * dim
    keys = config["num_key_value_heads"] * dim
    qwen2 = config["model_type"] == "qwen2"
    biased = qwen2 or config["attention_bias"]
    mlp_bias = config.get("mlp_bias", False)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], width),
        "model.norm.weight": (width,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{prefix}{name}.weight"] = (width,)
        if config["model_type"] == "qwen3":
            for name in ("q_norm", "k_norm"):
                shapes[f"{prefix}self_attn.{name}.weight"] = (dim,)
        for name, out, into, bias in (
            ("self_attn.q_proj", query, width, biased),
            ("self_attn.k_proj", keys, width, biased),
            ("self_attn.v_proj", keys, width, biased),
            ("self_attn.o_proj", width, query, biased and not qwen2),
            ("mlp.gate_proj", hidden, width, mlp_bias),
            ("mlp.up_proj", hidden, width, mlp_bias),
            ("mlp.down_proj", width, hidden, mlp_bias),
        ):
            shapes[f"{prefix}{name}.weight"] = (out, into)
            if bias:
                shapes[f"{prefix}{name}.bias"] = (out,)
    return shapes


def llama3_factors(scaling: dict[str, Any], theta: float, dim: int) -> np.ndarray:
    """The factor by which each of the dim / 2 wavelengths is stretched, [dim / 2] float32.

    From `generate_extra_tensors` of LlamaModel in llama.cpp's convert_hf_to_gguf.py.
    """
    factor, low, high = (scaling[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    context = scaling["original_max_position_embeddings"]
    factors = []
    for index in range(0, dim, 2):
        wavelength = 2 * math.pi * theta ** (index / dim)
        smooth = min(max((context / wavelength - low) / (high - low), 0), 1)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


def _architecture(file: GGUFFile) -> str:
    kind = file.value("general.type", str, "model")
    if kind != "model":
        raise UserError(f"{file.path} is not a whole model, but of the type {kind}")
    architecture = file.required("general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{file.path}: the architecture {architecture} is not supported: choose a GGUF file of "
            f"{', '.join(ARCHITECTURES[:-1])} or {ARCHITECTURES[-1]} (SmolLM2 is llama)"
        )
    return architecture


def _check_mechanisms(file: GGUFFile, architecture: str) -> None:
    """Refuse mechanisms that the metadata switch on and the network does not have."""

    def refuse(what: str) -> None:
        raise UserError(f"{file.path}: {what} is not supported: choose another model")

    if file.value(f"{architecture}.expert_count", int, 0):
        refuse("a mixture of experts")
    if file.value(f"{architecture}.attention.sliding_window", int, 0):
        refuse("sliding-window attention")
    scaling = file.value(f"{architecture}.rope.scaling.type", str, "linear")  # llama.cpp's default
    factor = file.value(f"{architecture}.rope.scaling.factor", float, 0.0) or file.value(
        f"{architecture}.rope.scale_linear", float, 0.0
    )
    if scaling not in ("none", "linear") or (scaling == "linear" and factor not in (0.0, 1.0)):
        refuse(f"rotary scaling of the type {scaling}")
    unknown = {tensor.tensor_type.name for tensor in file.tensors.values()} - set(QUANTISATIONS)
    if unknown:
        raise UserError(
            f"{file.path}: the quantisation {', '.join(sorted(unknown))} is not supported: choose "
            f"a file made of {', '.join(QUANTISATIONS)}, such as a Q8_0 or Q4_K_M one"
        )


def _config(file: GGUFFile, architecture: str) -> dict[str, Any]:
    def number(key: str) -> int:
        value = file.required(f"{architecture}.{key}", int)
        if value < 1:
            raise UserError(f"{file.path}: {architecture}.{key} is {value}, not a positive number")
        return value

    heads = number("attention.head_count")
    layers = number("block_count")
    if layers > len(file.tensors):
        raise UserError(f"{file.path} has {layers} layers, but only {len(file.tensors)} tensors")
    query = _rows(file, "blk.0.attn_q.weight")
    dim = query // heads
    if dim < 2 or dim % 2 or query % heads:
        raise UserError(
            f"{file.path}: {query} rows of q do not make {heads} heads of an even size: "
            "convert the model again with llama.cpp"
        )
    for key in ("rope.dimension_count", "attention.key_length"):
        if file.value(f"{architecture}.{key}", int, dim) != dim:
            raise UserError(f"{file.path}: {architecture}.{key} is not {dim}, the size of a head")
    theta = _decimal(file.value(f"{architecture}.rope.freq_base", float, 10000.0))
    rope: dict[str, Any] = {"rope_type": "default"}
    if ROPE_FACTORS in file.tensors:
        rope = _llama3_scaling(file, theta, dim)
    config = {
        "architectures": [_CLASSES[architecture]],
        "model_type": architecture,
        "vocab_size": _rows(file, "token_embd.weight"),
        "hidden_size": number("embedding_length"),
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": file.value(f"{architecture}.attention.head_count_kv", int, heads),
        "head_dim": dim,
        "hidden_act": "silu",
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": _decimal(
            file.required(f"{architecture}.attention.layer_norm_rms_epsilon", float)
        ),
        "rope_parameters": rope | {"rope_theta": theta},
        "rope_theta": theta,
        "rope_scaling": rope if rope["rope_type"] != "default" else None,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_dropout": 0.0,
    }
    if architecture != "qwen2":  # which always has biases of q, k and v
        config["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    if architecture == "llama":
        config["mlp_bias"] = "blk.0.ffn_up.bias" in file.tensors
    for key, stored in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        config[f"{key}_token_id"] = file.value(f"tokenizer.ggml.{stored}_token_id", int)
    return config


def _llama3_scaling(file: GGUFFile, theta: float, dim: int) -> dict[str, Any]:
    stored = np.array(file.tensors[ROPE_FACTORS].data, np.float32)
    scaling = {"rope_type": "llama3", "factor": _decimal(stored.max(initial=1)), **_LLAMA3}
    factors = llama3_factors(scaling, theta, dim)
    if stored.shape != factors.shape or not np.allclose(stored, factors, rtol=1e-5, atol=0):
        raise UserError(
            f"{file.path}: its rotary factors are not those of Llama 3.1 and 3.2 (a context of "
            "8192 stretched between the frequency factors 1 and 4): choose another model"
        )
    return scaling


def _check_tensors(file: GGUFFile, expected: dict[str, tuple[int, ...]]) -> None:
    found = {
        _hugging_face_name(name): _shape(file, name)
        for name in file.tensors
        if name != ROPE_FACTORS
    }
    for what, names in (
        ("lacks the tensor", sorted(expected.keys() - found.keys())),
        ("has a tensor that such a model does not have,", sorted(found.keys() - expected.keys())),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{file.path} {what} {names[0]}{more}: choose another model")
    for name, shape in expected.items():
        if found[name] != shape:
            raise UserError(
                f"{file.path}: {name} has the shape {list(found[name])}, but its metadata make it "
                f"{list(shape)}: convert the model again with llama.cpp"
            )


def _rows(file: GGUFFile, name: str) -> int:
    if name not in file.tensors or len(file.tensors[name].shape) != 2:
        raise UserError(f"{file.path} lacks the matrix {name}: choose another model")
    return _shape(file, name)[0]


def _shape(file: GGUFFile, name: str) -> tuple[int, ...]:
    """The shape as numpy has it."""
    return tuple(int(size) for size in reversed(file.tensors[name].shape))


def _hugging_face_name(stored: str) -> str:
    """llama.cpp's name if it has no other."""
    match = _IN_LAYER.fullmatch(stored)
    if match and match[2] in INSIDE:
        return f"model.layers.{match[1]}.{INSIDE[match[2]]}.{match[3]}"
    return OUTSIDE.get(stored, stored)


def _decimal(value: float) -> float:
    """The shortest decimal of a float32: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
