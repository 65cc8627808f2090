"""An exported student as one file for llama.cpp, and what is built on it."""

import json
import pathlib

import ml_dtypes  # noqa: F401  (with it safetensors knows bfloat16)
import numpy as np
import safetensors.numpy

from distill_jax.errors import UserError
from distill_jax.model.gpt2_hugging_face import PREFIX
from distill_jax.model.hugging_face_files import SINGLE
from distill_jax.text.gguf_tokenizer_export import EndIds, add_tokenizer, pre_tokenizer_name
from distill_jax.text.tokenizer import END_OF_TEXT, END_OF_TURN

# Names of llama.cpp for those of GPT-2 in Hugging Face format, {} being the number of a layer.
_TENSORS = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "ln_f.": "output_norm.",
    ".ln_1.": ".attn_norm.",
    ".attn.c_attn.": ".attn_qkv.",
    ".attn.c_proj.": ".attn_output.",
    ".ln_2.": ".ffn_norm.",
    ".mlp.c_fc.": ".ffn_up.",
    ".mlp.c_proj.": ".ffn_down.",
}


def check(tokenizer_directory: pathlib.Path) -> None:
    """Raise UserError without the package gguf, and for a tokenizer that llama.cpp has not."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise UserError("--gguf needs a package: pip install 'distill-jax[gguf]'") from None
    pre_tokenizer_name(tokenizer_directory / "tokenizer.json")


def write_gguf(directory: pathlib.Path, name: str) -> pathlib.Path:
    """Write `directory`/`name`.gguf, float32, from the other files there; returns its path."""
    import gguf

    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    path = directory / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_name(name)
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    stored = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    marks = {token["content"]: token["id"] for token in stored["added_tokens"]}
    ends = EndIds(turn=marks[END_OF_TURN], text=marks[END_OF_TEXT])
    add_tokenizer(writer, directory, config["vocab_size"], ends, bos=ends.text)
    for key, tensor in safetensors.numpy.load_file(directory / SINGLE).items():
        value = tensor.astype(np.float32)
        # Kernels are [in, out] there, [out, in] here.
        kernel = value.ndim == 2 and not key.endswith(("wte.weight", "wpe.weight"))
        writer.add_tensor(_tensor_name(key), np.ascontiguousarray(value.T) if kernel else value)
    # llama.cpp reads logits from a tensor of their own, or else from the embedding.
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensor_name(key: str) -> str:
    name = key.removeprefix(PREFIX)
    for theirs, ours in _TENSORS.items():
        name = name.replace(theirs, ours)
    return name.replace("h.", "blk.", 1) if name.startswith("h.") else name
