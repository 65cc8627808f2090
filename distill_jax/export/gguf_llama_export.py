"""A student of the Llama family as one file for llama.cpp: the inverse of model/gguf_import.py."""

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from distill_jax.errors import UserError
from distill_jax.model.gguf_import import (
    ARCHITECTURES,
    INSIDE,
    OUTSIDE,
    ROPE_FACTORS,
    llama3_factors,
    rotated_heads,
    tensor_shapes,
)
from distill_jax.text.gguf_tokenizer_export import EndIds, add_tokenizer, pre_tokenizer_name

# A Q8_0 block holds 32 numbers of one row.
BLOCK = 32
FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}  # gguf.LlamaFileType


def check(config: dict[str, Any], tokenizer_directory: pathlib.Path, file_type: str) -> None:
    """Raise UserError if a model with this config and tokenizer cannot be written as GGUF.

    This is so if the package gguf is missing; for another family or rotary scaling; if llama.cpp
    does not know how tokenizer.json splits text; and for q8_0 if the rows of a matrix are not
    divisible by 32.
    """
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise UserError("--gguf needs a package: pip install 'distill-jax[gguf]'") from None
    if config["model_type"] not in ARCHITECTURES:
        raise UserError(
            f"--gguf: a {config['model_type']} cannot be written as one of "
            f"{', '.join(ARCHITECTURES)}: leave --gguf out"
        )
    scaling = config["rope_parameters"]["rope_type"]
    if scaling not in ("default", "llama3"):
        raise UserError(f"--gguf: rotary scaling {scaling} cannot be written: leave --gguf out")
    pre_tokenizer_name(tokenizer_directory / "tokenizer.json")
    if file_type == "q8_0":
        for name, shape in tensor_shapes(config).items():
            if len(shape) == 2 and shape[1] % BLOCK:
                raise UserError(
                    f"--gguf: {name} has rows of {shape[1]} numbers, which q8_0 cannot hold (they "
                    f"must be divisible by {BLOCK}): write f16 instead"
                )


def write_gguf(
    path: pathlib.Path,
    config: dict[str, Any],
    weights: Iterable[tuple[str, np.ndarray]],
    tokenizer_directory: pathlib.Path,
    ends: EndIds,
    file_type: str,
) -> None:
    """Write a model as the GGUF file `path`.

    `config` is that of transformers with the keys of `gguf_import.read_config`; `weights` are
    (Hugging Face name, array [out, in] or [out]); `file_type` is one of FILE_TYPES, and is
    used for matrices; vectors stay float32. `tokenizer_directory` holds tokenizer.json and
    tokenizer_config.json.
    Raises UserError as `check` does, and for a weight that float16 cannot hold.
    """
    import gguf

    check(config, tokenizer_directory, file_type)
    architecture = config["model_type"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(path.stem)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[file_type]])
    _add_sizes(writer, config)
    bos = config.get("bos_token_id")
    add_tokenizer(writer, tokenizer_directory, config["vocab_size"], ends, bos)
    rope = config["rope_parameters"]
    if rope["rope_type"] == "llama3":
        factors = llama3_factors(rope, rope["rope_theta"], config["head_dim"])
        writer.add_tensor(ROPE_FACTORS, factors)
    for name, weight in weights:
        heads = rotated_heads(name, config)
        array = join_pairs(weight, heads) if heads else weight
        add_tensor(writer, _stored_name(name), array, file_type)
    finish(writer)


def add_tensor(writer: Any, name: str, weight: np.ndarray, file_type: str) -> None:
    """Add a weight to gguf's `writer`: a matrix as `file_type`, a vector as float32.

    Raises UserError for numbers that `file_type` cannot hold.
    """
    import gguf

    array = np.ascontiguousarray(weight, np.float32)
    kind = gguf.GGMLQuantizationType[file_type.upper() if array.ndim == 2 else "F32"]
    # A block of q8_0 has a scale in float16.
    if kind != gguf.GGMLQuantizationType.F32 and np.abs(array).max() > np.finfo("f2").max:
        raise UserError(f"--gguf: {name} has numbers too large for {file_type}: write f32")
    writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)


def finish(writer: Any) -> None:
    """Write what was added to gguf's `writer`."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def join_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows [heads * dim, ...] of q or k from Hugging Face's order to llama.cpp's.

    The inverse of `gguf_import.split_halves`: rows a c b d of a head of 4 become a b c d.
    """
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def _stored_name(name: str) -> str:
    outside = {theirs: ours for ours, theirs in OUTSIDE.items()}
    if name in outside:
        return outside[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    module, kind = rest.rsplit(".", 1)
    inside = {theirs: ours for ours, theirs in INSIDE.items()}
    return f"blk.{layer}.{inside[module]}.{kind}"


def _add_sizes(writer: Any, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
