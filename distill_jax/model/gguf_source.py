"""Reads the weights of a Llama-family model from a GGUF file, without PyTorch.

`find` reads the metadata and the list of tensors; `load_params` reads the weights.
"""

import dataclasses
import pathlib
from typing import Any

from distill_jax import gguf_file
from distill_jax.model import families, gguf_import, hugging_face
from distill_jax.model.network import NetworkConfig
from distill_jax.workdir import local_path


@dataclasses.dataclass(frozen=True)
class Source:
    """A model in a GGUF file, and its size. `model.vocab_size` counts the embedding's rows there.

    `config` is its config.json, as gguf_import.read_config makes it.
    """

    file: gguf_file.GGUFFile
    config: dict[str, Any]
    model: NetworkConfig


def find(path: str, key: str) -> Source:
    """The model in the file at `path`; reads no weights.

    Raises UserError for a file that cannot be read, and for a model that our networks do not
    compute; the message names `key`, such as `config.model.solver.init_from`.
    """
    file = gguf_file.opened(local_path(path, key))
    config = gguf_import.read_config(file)
    model = families.from_hugging_face(config, pathlib.Path(path), f"{key}={path}")
    return Source(file, config, model)


def load_params(source: Source, padded_vocab: int) -> dict[str, Any]:
    """The parameters as a numpy float32 tree, shaped like `network.init_params` makes it.

    Quantised tensors become float32. Rows up to `padded_vocab` are as in
    hugging_face.load_params, and so are the errors.
    """
    layout = source.model.hugging_face_layout()
    flat = {}
    for name, array in gguf_import.read_weights(source.file, source.config):
        tensor = layout[name.removeprefix(source.model.hugging_face_prefix)]
        flat[tensor.path] = tensor.from_file(array)
    return hugging_face.with_rows(flat, source.model, padded_vocab, str(source.file.path))
