"""A student of the Llama family as one file for llama.cpp: the way back of gguf_import.py."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

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
from distill_jax.text.gguf_tokenizer import pre_tokenizer_name

# A Q8_0 block holds 32 numbers of one row.
_BLOCK = 32
FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}  # gguf.LlamaFileType


class EndIds(NamedTuple):
    """The tokens at which llama.cpp stops: the end of a turn and the end of a text."""

    turn: int
    text: int


def check(config: dict[str, Any], tokenizer_directory: pathlib.Path, file_type: str) -> None:
    """Raise UserError if a model with this config and tokenizer cannot be written as GGUF.

    That is: without the package gguf; for another family or rotary scaling; if llama.cpp has no
    name for the way in which tokenizer.json splits text; and for q8_0 if the rows of a matrix are
    not divisible by 32.
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
            if len(shape) == 2 and shape[1] % _BLOCK:
                raise UserError(
                    f"--gguf: {name} has rows of {shape[1]} numbers, which q8_0 cannot hold (they "
                    f"must be divisible by {_BLOCK}): write f16 instead"
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
    (Hugging Face name, array [out, in] or [out]); `file_type` is one of FILE_TYPES and holds for
    matrices, what has one axis stays float32. `tokenizer_directory` holds tokenizer.json and
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
    _add_tokenizer(writer, tokenizer_directory, config, ends)
    kind = gguf.GGMLQuantizationType[file_type.upper()]
    rope = config["rope_parameters"]
    if rope["rope_type"] == "llama3":
        factors = llama3_factors(rope, rope["rope_theta"], config["head_dim"])
        writer.add_tensor(ROPE_FACTORS, factors)
    for name, weight in weights:
        array = np.asarray(weight, np.float32)
        if heads := rotated_heads(name, config):
            array = join_pairs(array, heads)
        stored = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        if file_type != "f32" and array.ndim == 2 and np.abs(array).max() > np.finfo("f2").max:
            raise UserError(f"--gguf: {name} has numbers too large for {file_type}: write f32")
        writer.add_tensor(_stored_name(name), gguf.quantize(array, stored), raw_dtype=stored)
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


def _add_tokenizer(
    writer: Any, directory: pathlib.Path, config: dict[str, Any], ends: EndIds
) -> None:
    import gguf

    path = directory / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    size = config["vocab_size"]
    # llama.cpp wants a token for every row of the embedding; nothing can write these.
    texts = [f"[PAD{number}]" for number in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for text, number in stored["model"]["vocab"].items():
        texts[number], kinds[number] = text, gguf.TokenType.NORMAL
    for token in stored["added_tokens"]:
        number, special = token["id"], token["special"]
        texts[number] = token["content"]
        kinds[number] = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in stored["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_name(path))
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    if config.get("bos_token_id") is not None:
        writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(ends.text)
    writer.add_eot_token_id(ends.turn)
    writer.add_pad_token_id(ends.text)
    # A student's rows start with their first character, without a mark.
    writer.add_add_bos_token(False)
    if (template := _chat_template(directory)) is not None:
        writer.add_chat_template(template)


def _chat_template(directory: pathlib.Path) -> str | None:
    """From the file that transformers writes today, or from the key that it wrote before."""
    path, old = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    if path.exists():
        return path.read_text(encoding="utf-8")
    return json.loads(old.read_text(encoding="utf-8")).get("chat_template")
