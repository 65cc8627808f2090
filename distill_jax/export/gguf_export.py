"""An exported student as one file for llama.cpp, and what is built on it."""

import json
import pathlib

import ml_dtypes  # noqa: F401  (with it safetensors knows bfloat16)
import safetensors.numpy

from distill_jax.errors import UserError
from distill_jax.export import gguf_llama_export
from distill_jax.model import gguf_import
from distill_jax.model.gpt2_hugging_face import PREFIX
from distill_jax.model.hugging_face_files import SINGLE
from distill_jax.model.network import NetworkConfig
from distill_jax.text.gguf_tokenizer_export import EndIds, add_tokenizer, pre_tokenizer_name

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


def check(model: NetworkConfig, tokenizer_directory: pathlib.Path, file_type: str) -> None:
    """Raise UserError if such a student cannot be written as a GGUF file.

    That is: without the package gguf, for a tokenizer that llama.cpp has not, and for q8_0 if the
    rows of a matrix are not divisible by 32.
    """
    if model.model_type in gguf_import.ARCHITECTURES:
        import transformers

        config = transformers.AutoConfig.for_model(**model.hugging_face_config()).to_dict()
        gguf_llama_export.check(config, tokenizer_directory, file_type)
        return
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise UserError("--gguf needs a package: pip install 'distill-jax[gguf]'") from None
    pre_tokenizer_name(tokenizer_directory / "tokenizer.json")
    if file_type == "q8_0" and model.width % gguf_llama_export.BLOCK:
        raise UserError(
            f"--gguf: rows of {model.width} numbers are not divisible by "
            f"{gguf_llama_export.BLOCK}, which q8_0 wants: write f16 instead"
        )


def write_gguf(directory: pathlib.Path, name: str, ends: EndIds, file_type: str) -> pathlib.Path:
    """Write `directory`/`name`.gguf from the other files there; returns its path.

    `file_type` is one of gguf_llama_export.FILE_TYPES. Raises UserError for a weight that it
    cannot hold.
    """
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    path = directory / f"{name}.gguf"
    weights = safetensors.numpy.load_file(directory / SINGLE)
    if config["model_type"] in gguf_import.ARCHITECTURES:
        import transformers

        whole = transformers.AutoConfig.for_model(**config).to_dict()
        gguf_llama_export.write_gguf(path, whole, weights.items(), directory, ends, file_type)
        return path
    import gguf

    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_name(name)
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(gguf.LlamaFileType[gguf_llama_export.FILE_TYPES[file_type]])
    add_tokenizer(writer, directory, config["vocab_size"], ends, bos=ends.text)
    for key, tensor in weights.items():
        # Kernels are [in, out] there, [out, in] here. llama.cpp adds positions in float32.
        table = key.endswith(("wte.weight", "wpe.weight"))
        value = tensor.T if tensor.ndim == 2 and not table else tensor
        kind = "f32" if key.endswith("wpe.weight") else file_type
        gguf_llama_export.add_tensor(writer, _tensor_name(key), value, kind)
    # llama.cpp reads logits from a tensor of their own, or else from the embedding.
    gguf_llama_export.finish(writer)
    return path


def _tensor_name(key: str) -> str:
    name = key.removeprefix(PREFIX)
    for theirs, ours in _TENSORS.items():
        name = name.replace(theirs, ours)
    return name.replace("h.", "blk.", 1) if name.startswith("h.") else name
