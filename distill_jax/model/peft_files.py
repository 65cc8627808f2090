"""Adapters in the format of PEFT: adapter_config.json and adapter_model.safetensors.

PEFT's A is [rank, in] and its B [out, rank], whatever the layout of the base's matrices.
"""

import pathlib
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util

from distill_jax.errors import UserError
from distill_jax.model.hugging_face_files import open_file, read_json
from distill_jax.model.lora import ROWS, A, Adapter, B
from distill_jax.workdir import write_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TOKENS = ".token_adapter.trainable_tokens_delta"  # whole rows, whatever its name says

# Values that an adapter_config.json may have for keys that change the function.
_COMPUTED = {
    "peft_type": "LORA",
    "use_rslora": False,
    "use_dora": False,
    "bias": "none",
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layers_to_transform": None,
}
# Ways to begin that leave the base as it is; others, such as PiSSA, move a part of it into the
# adapter.
_BESIDE_THE_BASE = ("gaussian", "orthogonal", "eva")


def save(directory: pathlib.Path, adapter: Adapter, adapters: Any, base: str) -> None:
    """Write both files of trained `adapters` (host arrays); `base` names the model beside which
    PEFT is to load them."""
    directory.mkdir(parents=True, exist_ok=True)
    flat = traverse_util.flatten_dict(adapters)
    names = _names(adapter)
    tensors = {
        names[path]: np.ascontiguousarray(_to_file(path, np.asarray(leaf), adapter))
        for path, leaf in flat.items()
    }
    safetensors.numpy.save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    modules = {kernel.name.rpartition(".")[2] for kernel in adapter.kernels().values()}
    tables = {name.rpartition(".")[2]: list(adapter.rows) for name in adapter.tables().values()}
    write_json(
        directory / CONFIG,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": adapter.rank,
            "lora_alpha": adapter.alpha,
            "target_modules": sorted(modules),
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": adapter.model.model_type == "gpt2",
            "trainable_token_indices": tables or None,
            "inference_mode": True,
        },
    )


def load(directory: str, adapter: Adapter, key: str) -> dict[str, Any]:
    """Host arrays of an adapter that PEFT wrote, from which training starts.

    Raises UserError, which begins with `key`, if its rank, alpha or matrices are not those of
    `adapter`, or if it computes something else. Missing rows are left out.
    """
    path, where = pathlib.Path(directory).expanduser(), f"{key}={directory}"
    config = read_json(path / CONFIG, where)
    wrong = [
        f"{name}={config[name]!r}"
        for name, value in _COMPUTED.items()
        if config.get(name, value) not in (value, [] if value is None else value)
    ]
    begun = config.get("init_lora_weights", True)
    if isinstance(begun, str) and begun.lower() not in _BESIDE_THE_BASE:
        wrong.append(f"init_lora_weights={begun!r}")
    if wrong:
        raise UserError(
            f"{where}: {path / CONFIG} has {', '.join(wrong)}, which is not computed here: choose "
            "a plain LoRA adapter"
        )
    for name, ours in (("r", adapter.rank), ("lora_alpha", adapter.alpha)):
        if config.get(name) != ours:
            student, known = key.split(".")[2], {"r": "rank", "lora_alpha": "alpha"}[name]
            raise UserError(
                f"{where}: {path / CONFIG} has {name}={config.get(name)!r}: set "
                f"config.lora.{student}.{known} to it (now {ours})"
            )
    tokens = config.get("trainable_token_indices")
    tables = tokens.values() if isinstance(tokens, dict) else [tokens] if tokens else []
    for given in tables:
        if given != list(adapter.rows):
            raise UserError(
                f"{where}: {path / CONFIG} has the rows of tokens {given}, where those of "
                f"the end marks, {list(adapter.rows)}, are wanted: the adapter is for another "
                "tokenizer"
            )
    names = {name: our_path for our_path, name in _names(adapter).items()}
    shapes: Any = traverse_util.flatten_dict(adapter.shapes())
    found = {}
    with open_file(path / WEIGHTS, where) as file:
        there = set(file.keys())
        wanted = {name for name, our_path in names.items() if our_path[-1] != ROWS}
        if there - set(names) or wanted - there:
            first = min(there - set(names)) if there - set(names) else min(wanted - there)
            state = "has" if first in there else "lacks"
            raise UserError(
                f"{where}: {path / WEIGHTS} {state} {first}: config.lora.<student>.targets must "
                f"be those of the adapter ({config.get('target_modules')})"
            )
        for name in there:
            value, shape = file.get_tensor(name).astype(np.float32), shapes[names[name]].shape
            if value.size != np.prod(shape):
                raise UserError(
                    f"{where}: {name} has shape {value.shape}, where {shape} is wanted: the "
                    "adapter is of another base"
                )
            found[names[name]] = _from_file(names[name], value, shape)
    return traverse_util.unflatten_dict(found)


def _names(adapter: Adapter) -> dict[tuple[str, ...], str]:
    """{path in our tree: name in the file}."""
    prefix = _PREFIX + adapter.model.hugging_face_prefix
    found = {}
    for path, kernel in adapter.kernels().items():
        found[*path, A] = f"{prefix}{kernel.name}.lora_A.weight"
        found[*path, B] = f"{prefix}{kernel.name}.lora_B.weight"
    for path, name in adapter.tables().items():
        found[*path, ROWS] = f"{_PREFIX if name == 'lm_head' else prefix}{name}{_TOKENS}"
    return found


def _to_file(path: tuple[str, ...], value: np.ndarray, adapter: Adapter) -> np.ndarray:
    if path[-1] == A:
        return value.reshape(-1, adapter.rank).T
    return value.reshape(adapter.rank, -1).T if path[-1] == B else value


def _from_file(path: tuple[str, ...], value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return (value if path[-1] == ROWS else value.T).reshape(shape)
