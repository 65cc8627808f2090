"""Files of a model in Hugging Face format: which tensors there are, and in which file.

Only safetensors files are read: a header with names, dtypes and shapes, then the plain bytes.
"""

import contextlib
import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  (with it numpy, and so safetensors, knows bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

from distill_jax.errors import UserError

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # safetensors' names, numpy's
HEAD = "lm_head.weight"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Tensor(NamedTuple):
    """One parameter: its path in our tree, its shape in a file, its shape in our tree.

    `transposed`: a file has [out, in] where our shape is [*in, *out].
    """

    path: tuple[str, ...]
    file_shape: tuple[int, ...]
    shape: tuple[int, ...]
    transposed: bool = False

    def from_file(self, value: np.ndarray) -> np.ndarray:
        """The file's array in our layout."""
        return (value.T if self.transposed else value).reshape(self.shape)

    def to_file(self, value: np.ndarray) -> np.ndarray:
        """Our array in the file's layout; rows that the file does not have are left out."""
        if self.transposed:
            return value.reshape(self.file_shape[::-1]).T
        return value[: self.shape[0]].reshape(self.file_shape)


class Stored(NamedTuple):
    """A tensor as the header of a file announces it; `name` has the prefix that the file gives."""

    file: pathlib.Path
    name: str
    dtype: str
    shape: tuple[int, ...]


def read_json(path: pathlib.Path, where: str) -> dict[str, Any]:
    """The object in somebody else's JSON file; UserError, which begins with `where`, if there is
    none.

    For our own files use `workdir.read_json`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{where}: {path} is missing: give a directory in Hugging Face format"
        ) from None
    except (ValueError, OSError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise UserError(f"{where}: {path} cannot be read ({error}): fetch it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: {path} is not a JSON object: fetch it again")
    return content


def weight_files(directory: pathlib.Path, where: str) -> list[pathlib.Path]:
    """The safetensors files of a model: one, or the shards that its index names."""
    if (directory / SINGLE).is_file():
        return [directory / SINGLE]
    if not (directory / INDEX).is_file():
        raise UserError(
            f"{where}: {directory} has no {SINGLE}; pickle files (pytorch_model.bin) are not read, "
            "as they can run code when loaded: convert one that you trust with `"
            "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT)`, and give OUT"
        )
    weight_map = read_json(directory / INDEX, where).get("weight_map")
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    if not names:
        raise UserError(f"{where}: {directory / INDEX} names no files: fetch it again")
    for name in names:
        # An index from elsewhere must not lead out of its directory.
        if name != pathlib.PurePath(name).name or not (directory / name).is_file():
            raise UserError(
                f"{where}: {directory / INDEX} names {name!r}, which is not there: fetch the "
                "model again, with all its shards"
            )
    return [directory / name for name in names]


@contextlib.contextmanager
def open_file(path: pathlib.Path, where: str):
    """The file as safetensors gives it; UserError if it is damaged or missing."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{where}: {path} is damaged or cut short ({reason}): fetch it again"
        ) from None


def read_headers(
    paths: Iterable[pathlib.Path], prefix: str, ignored: re.Pattern[str], where: str
) -> dict[str, Stored]:
    """{name without prefix: what its file's header says}, for every tensor that is not ignored."""
    stored: dict[str, Stored] = {}
    for path in paths:
        with open_file(path, where) as file:
            for name in file.keys():  # noqa: SIM118  (not a dict)
                plain = name.removeprefix(prefix)
                if ignored.fullmatch(plain):
                    continue
                if plain in stored:
                    raise UserError(f"{where}: {path}: tensor {name} is there twice: remove one")
                part = file.get_slice(name)
                stored[plain] = Stored(path, name, part.get_dtype(), tuple(part.get_shape()))
    return stored


def check_tensors(stored: dict[str, Stored], layout: dict[str, Tensor], where: str) -> None:
    """Raise UserError unless the files have exactly the tensors of the layout; a head may be
    added."""
    remedy = "config.json and the weights must be of the same model"
    for name, tensor in layout.items():
        if name not in stored:
            files = ", ".join(sorted({str(each.file) for each in stored.values()})) or "the file"
            raise UserError(f"{where}: tensor {name} is missing in {files}: {remedy}")
        found = stored[name]
        if found.shape != tensor.file_shape:
            raise UserError(
                f"{where}: {found.file}: tensor {found.name} has shape {found.shape}, not "
                f"{tensor.file_shape}: {remedy}"
            )
    for name, found in stored.items():
        if name not in layout and name != HEAD:
            raise UserError(f"{where}: {found.file}: unexpected tensor {found.name}: {remedy}")
        if found.dtype not in DTYPES:
            raise UserError(
                f"{where}: {found.file}: tensor {found.name} is {found.dtype}: save the model in "
                "float32, float16 or bfloat16"
            )
