"""Reads weights in Hugging Face format, from a directory or the Hub, without PyTorch.

`find` reads config.json and the headers of the files; `load_params` reads the weights.
"""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from distill_jax.errors import UserError
from distill_jax.model import families
from distill_jax.model.hugging_face_files import (
    DTYPES,
    HEAD,
    Stored,
    check_tensors,
    open_file,
    read_headers,
    read_json,
    weight_files,
)
from distill_jax.model.network import NetworkConfig
from distill_jax.tracking import progress
from distill_jax.workdir import local_path


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model is, and its size. `model.vocab_size` counts the embedding's rows there."""

    directory: pathlib.Path
    model: NetworkConfig
    dtype: str  # of the embedding in the file: float32, float16 or bfloat16


def find(name: str, key: str) -> Source:
    """The model in directory `name`, or of the Hub id `name`, which is downloaded or cached.

    Reads config.json and the headers of the safetensors files, no weights. Raises UserError, which
    begins with `key` (such as `config.model.solver.init_from`), if there is no model, if
    config.json asks for something that our network does not compute, if there are only pickle
    files, and if a file or tensor is missing, damaged or of another shape.
    """
    where = f"{key}={name}"
    directory = local_path(name, key)
    if not directory.is_dir():
        if name.startswith((".", "/", "~")):
            raise UserError(f"{where}: no such directory")
        directory = _download(name, where)
    path = directory / "config.json"
    model = families.from_hugging_face(read_json(path, where), path, where)
    stored = _stored(directory, model, where)
    embedding = next(iter(model.hugging_face_layout()))
    return Source(directory, model, DTYPES[stored[embedding].dtype])


def load_params(source: Source, padded_vocab: int) -> dict[str, Any]:
    """The parameters as a numpy float32 tree, shaped like `network.init_params` makes it.

    Rows for ids from `source.model.vocab_size` to `padded_vocab` are the mean of the file's rows,
    so a new token starts with an average logit. Raises UserError like `find`, if a tied head
    differs from the embedding, and if `padded_vocab` has no room for the rows.
    """
    where, model = str(source.directory), source.model
    stored = _stored(source.directory, model, where)
    layout = model.hugging_face_layout()
    flat = {}
    with contextlib.ExitStack() as stack:
        files = {
            path: stack.enter_context(open_file(path, where))
            for path in {s.file for s in stored.values()}
        }

        def read(name: str) -> np.ndarray:
            return files[stored[name].file].get_tensor(stored[name].name).astype(np.float32)

        for name, tensor in layout.items():
            flat[tensor.path] = tensor.from_file(read(name))
        if HEAD in stored and HEAD not in layout:
            head = model.head(traverse_util.unflatten_dict(flat))
            if not np.array_equal(read(HEAD), head):
                raise UserError(
                    f"{stored[HEAD].file}: {HEAD} differs from the embedding, to which the head of "
                    "such a student is tied: choose a model whose head is"
                )
    return with_rows(flat, model, padded_vocab, where)


def with_rows(
    flat: dict[tuple[str, ...], np.ndarray], model: NetworkConfig, padded_vocab: int, where: str
) -> dict[str, Any]:
    """The tree of a model's parameters, {path: array}, with an embedding of `padded_vocab` rows.

    A new row is the mean of the others. Raises UserError, which begins with `where`, if the model
    has more.
    """
    if padded_vocab < model.vocab_size:
        raise UserError(
            f"{where}: the embedding has {model.vocab_size} rows, the tokenizer only "
            f"{padded_vocab} ids (rounded up): set config.tokenizer.name to the tokenizer that "
            "belongs to the weights"
        )
    padded = dataclasses.replace(model, vocab_size=padded_vocab).hugging_face_layout()
    for name, tensor in model.hugging_face_layout().items():
        missing = padded[name].shape[0] - tensor.shape[0]
        if missing:
            rows = flat[tensor.path]
            mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
            fresh = np.broadcast_to(mean, (missing, *mean.shape))
            flat[tensor.path] = np.concatenate([rows, fresh])
    return traverse_util.unflatten_dict(flat)


def fit_rows(params: Any, model: NetworkConfig, rows: int) -> Any:
    """The tree of a model's parameters with `rows` rows of embedding: cut, or with zeros for ids
    that no tokenizer has. Models with the same tokenizer may differ in such rows: Qwen2.5-7B has
    152,064, Qwen2.5-0.5B 151,936. Works on numpy arrays, and on JAX's where they are."""
    flat: Any = traverse_util.flatten_dict(params)
    wanted = dataclasses.replace(model, vocab_size=rows).hugging_face_layout()
    for name, tensor in model.hugging_face_layout().items():
        more = wanted[name].shape[0] - tensor.shape[0]
        if more:
            array = flat[tensor.path]
            pad = np.pad if isinstance(array, np.ndarray) else jnp.pad
            flat[tensor.path] = pad(array, ((0, more), (0, 0))) if more > 0 else array[:rows]
    return traverse_util.unflatten_dict(flat)


def _stored(directory: pathlib.Path, model: NetworkConfig, where: str) -> dict[str, Stored]:
    """The tensors in the files; UserError unless they are exactly those of such a model."""
    paths = weight_files(directory, where)
    stored = read_headers(paths, model.hugging_face_prefix, model.hugging_face_ignored, where)
    check_tensors(stored, model.hugging_face_layout(), where)
    return stored


def _download(name: str, where: str) -> pathlib.Path:
    import huggingface_hub

    progress.asks_the_hub(name)
    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
    try:
        return pathlib.Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # its HTTP library depends on the version, and so do the errors
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{where}: no such directory here, and it cannot be fetched from the Hub ({reason}): "
            "give a directory with config.json and model.safetensors, or a Hub id while online"
        ) from None
