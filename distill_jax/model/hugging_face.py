"""Weights in: GPT-2 in Hugging Face format, from a directory or the Hub, without PyTorch.

`find` looks at config.json and at what the files announce, `load_params` reads the weights.
"""

import contextlib
import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import traverse_util

from distill_jax.errors import UserError
from distill_jax.model.gpt2 import LAYER_NORM_EPSILON
from distill_jax.model.hugging_face_files import (
    DTYPES,
    HEAD,
    check_tensors,
    open_file,
    read_headers,
    read_json,
    tensor_layout,
    weight_files,
)

# What config.json may say about the function, where it says anything. transformers' defaults for
# what it leaves out are these too. `reorder_and_upcast_attn` only decides where float32 is used.
_COMPUTED = {
    "activation_function": "gelu_new",
    "layer_norm_epsilon": LAYER_NORM_EPSILON,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
# transformers' defaults for the sizes.
_SIZES = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}


@dataclass(frozen=True)
class Source:
    """Where a GPT-2 lies, and its size. `vocab_size` counts the rows of wte in the file."""

    directory: pathlib.Path
    layers: int
    heads: int
    width: int
    context: int
    vocab_size: int
    dtype: str  # of wte in the file: float32, float16 or bfloat16


def find(name: str, key: str) -> Source:
    """The GPT-2 in directory `name`, or of the Hub id `name`, which is downloaded or cached.

    Reads config.json and the headers of the safetensors files, no weights. Raises UserError, which
    begins with `key` (such as `config.model.solver.init_from`), where there is none, where
    config.json asks for something that our network does not compute, where there are only pickle
    files, and where a file or tensor is missing, damaged or of another shape.
    """
    where = f"{key}={name}"
    directory = pathlib.Path(name).expanduser()
    if not directory.is_dir():
        if name.startswith((".", "/", "~")):
            raise UserError(f"{where}: no such directory")
        directory = _download(name, where)
    sizes = _read_sizes(directory, where)
    stored = read_headers(weight_files(directory, where), where)
    check_tensors(stored, sizes, where)
    return Source(directory, **sizes, dtype=DTYPES[stored["wte.weight"].dtype])


def load_params(source: Source, padded_vocab: int) -> dict[str, Any]:
    """The parameters as a numpy float32 tree, shaped like `gpt2.init_params` makes it.

    Rows of wte from `source.vocab_size` to `padded_vocab` are the mean of the file's rows: a token
    that the file does not know then starts with an average logit. Raises UserError like `find`,
    where the head of the file is not wte, and where `padded_vocab` has no room for its rows.
    """
    where = str(source.directory)
    if padded_vocab < source.vocab_size:
        raise UserError(
            f"{where}: wte has {source.vocab_size} rows, the tokenizer only {padded_vocab} ids "
            "(rounded up): set config.tokenizer.name to the tokenizer that belongs to the weights"
        )
    sizes = {name: getattr(source, name) for name in ("layers", "heads", "width", "context")}
    sizes["vocab_size"] = source.vocab_size
    stored = read_headers(weight_files(source.directory, where), where)
    check_tensors(stored, sizes, where)
    flat = {}
    with contextlib.ExitStack() as stack:
        files = {
            path: stack.enter_context(open_file(path, where))
            for path in {s.file for s in stored.values()}
        }

        def read(name: str) -> np.ndarray:
            return files[stored[name].file].get_tensor(stored[name].name).astype(np.float32)

        for name, tensor in tensor_layout(**sizes).items():
            flat[tensor.path] = read(name).reshape(tensor.shape)
        embedding = flat["wte", "embedding"]
        if HEAD in stored and not np.array_equal(read(HEAD), embedding):
            raise UserError(
                f"{stored[HEAD].file}: {HEAD} differs from wte.weight: the head of a student is "
                "tied to its embedding: choose a model whose head is"
            )
    mean = embedding.mean(axis=0, dtype=np.float64).astype(np.float32)
    fresh = np.broadcast_to(mean, (padded_vocab - source.vocab_size, source.width))
    flat["wte", "embedding"] = np.concatenate([embedding, fresh])
    return traverse_util.unflatten_dict(flat)


def _download(name: str, where: str) -> pathlib.Path:
    import huggingface_hub

    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
    try:
        return pathlib.Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # its HTTP library differs by version, and so do the errors of it
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{where}: no such directory here, and not to be had from the Hub ({reason}): give a "
            "directory with config.json and model.safetensors, or a Hub id while online"
        ) from None


def _read_sizes(directory: pathlib.Path, where: str) -> dict[str, int]:
    """The sizes that config.json gives; UserError where our network would compute otherwise."""
    path = directory / "config.json"
    config = read_json(path, where)
    if config.get("model_type") != "gpt2":
        raise UserError(
            f"{where}: {path} has model_type {config.get('model_type')!r}: students are GPT-2: "
            "choose a model of model_type 'gpt2'"
        )
    sizes = {key: config.get(key, default) for key, default in _SIZES.items()}
    for key, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{where}: {path} has {key}={value!r}: it must be a number above 0")
    wrong = {
        key: config[key] for key in _COMPUTED if config.get(key, _COMPUTED[key]) != _COMPUTED[key]
    }
    if config.get("n_inner") not in (None, 4 * sizes["n_embd"]):
        wrong["n_inner"] = config["n_inner"]
    if sizes["n_embd"] % sizes["n_head"]:
        wrong["n_head"] = sizes["n_head"]
    if wrong:
        listed = ", ".join(f"{key}={value!r}" for key, value in wrong.items())
        raise UserError(
            f"{where}: {path} has {listed}, which this GPT-2 does not compute: choose a model that "
            "is a plain GPT-2"
        )
    names = ("layers", "heads", "width", "context", "vocab_size")
    return dict(zip(names, sizes.values(), strict=True))
