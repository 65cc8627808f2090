"""A GGUF file opened: its metadata and where its tensors lie, without loading a weight.

The format is llama.cpp's: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import contextlib
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

from distill_jax.errors import UserError

# What the package raises when counts, lengths, types or texts in a file make no sense.
_DAMAGE = (ValueError, KeyError, IndexError, OverflowError, TypeError, RecursionError)


class GGUFFile:
    """Metadata and tensors of one GGUF file.

    `tensors` is {name in the file: gguf's ReaderTensor}; its data is a memory map, and its shape
    lists the fastest axis first, the other way round than numpy's.
    """

    def __init__(self, path: pathlib.Path | str) -> None:
        """Read the header of `path`.

        Raises UserError if the package gguf is missing, if the file cannot be read, is not a GGUF
        file, is truncated or damaged, was written for big-endian machines, or is one of several.
        """
        try:
            import gguf
        except ImportError:
            raise UserError(
                f"{path}: GGUF files need a package: pip install 'distill-jax[gguf]'"
            ) from None
        self.path = pathlib.Path(path)
        try:
            with self.path.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise UserError(f"{path}: cannot read it: {error.strerror}") from None
        if magic != b"GGUF":
            raise UserError(f"{path} is not a GGUF file: it does not start with the letters GGUF")
        with self._damage():
            self._reader = gguf.GGUFReader(self.path)
        if self._reader.byte_order == "S":
            raise UserError(f"{path} was written for big-endian machines: convert it again")
        self.tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        parts = self.value("split.count", int, 1)
        if parts > 1:
            raise UserError(
                f"{path} is one of {parts} parts: join them with `llama-gguf-split --merge`"
            )

    def value(self, key: str, kind: type, default: Any = None) -> Any:
        """The metadata of `key`, of the Python type `kind` (float also takes integers).

        Without the key: `default`. Raises UserError if the value has another type.
        """
        field = self._reader.get_field(key)
        if field is None:
            return default
        with self._damage():
            value = field.contents()
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise UserError(
                f"{self.path}: {key} should be of type {kind.__name__}, "
                f"but is of type {type(value).__name__}"
            )
        return value

    def required(self, key: str, kind: type) -> Any:
        """As `value`, but UserError without the key."""
        value = self.value(key, kind)
        if value is None:
            raise UserError(f"{self.path} has no {key}: convert the model again with llama.cpp")
        return value

    def items(self, key: str, kind: type) -> list[Any]:
        """The metadata list of `key`, every item of type `kind`; UserError without the key."""
        values = self.required(key, list)
        if not all(type(value) is kind for value in values):
            raise UserError(f"{self.path}: {key} should be a list of {kind.__name__}")
        return values

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise UserError(
                f"{self.path} is truncated or damaged ({reason}): download or copy it again"
            ) from None


def opened(path: pathlib.Path | str) -> GGUFFile:
    """The file at `path`, as `GGUFFile`, which is kept: a vocabulary takes seconds to read."""
    path = pathlib.Path(path)
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot read it: {error.strerror}") from None
    return _opened(path.absolute(), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=2)
def _opened(path: pathlib.Path, modified: int, size: int) -> GGUFFile:
    return GGUFFile(path)
