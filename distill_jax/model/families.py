"""The families of networks, by their names in Hugging Face's config.json."""

import pathlib
from typing import Any

from distill_jax.errors import UserError
from distill_jax.model.gpt2 import GPT2Config
from distill_jax.model.llama import LlamaConfig
from distill_jax.model.network import NetworkConfig

_FAMILIES: dict[str, type[GPT2Config] | type[LlamaConfig]] = {
    "gpt2": GPT2Config,
    "llama": LlamaConfig,  # and SmolLM2
    "mistral": LlamaConfig,
    "qwen2": LlamaConfig,  # and 2.5
    "qwen3": LlamaConfig,
}


def from_json(stored: dict[str, Any]) -> NetworkConfig:
    """The inverse of `network.to_json`."""
    sizes = dict(stored)
    return _FAMILIES[sizes.pop("model_type")](**sizes)


def from_hugging_face(config: dict[str, Any], path: pathlib.Path, where: str) -> NetworkConfig:
    """The size that a config.json gives; its vocab_size counts the rows in the file.

    Raises UserError, which begins with `where` and names `path`, for an unknown family, and for
    anything that our network of the family does not compute.
    """
    model_type = config.get("model_type")
    if model_type not in _FAMILIES:
        raise UserError(
            f"{where}: {path} has model_type {model_type!r}: students are GPT-2, Llama, SmolLM2, "
            f"Mistral, Qwen 2, 2.5 and 3: choose a model of model_type {', '.join(_FAMILIES)}"
        )
    return _FAMILIES[model_type].from_hugging_face(config, path, where)
