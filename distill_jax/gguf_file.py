"""An open GGUF file: its metadata and the places of its tensors, without loading weights.

The format is llama.cpp's: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import contextlib
import functools
import mmap
import pathlib
from collections.abc import Iterator
from typing import Any

from distill_jax.errors import UserError

# What the package raises if counts, lengths, types or texts in a file are impossible.
_DAMAGE = (ValueError, KeyError, IndexError, OverflowError, TypeError, RecursionError)


class GGUFFile:
    """Metadata and tensors of one GGUF file.

    `tensors` is {name in the file: gguf's ReaderTensor}; its data is a memory map, and its shape
    lists the fastest axis first, in the reverse order of numpy's.
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
            # First, because the package reads past the end of a file for as long as a length says.
            if _is_big_endian(self.path):
                raise UserError(f"{path} was written for big-endian machines: convert it again")
            self._reader = gguf.GGUFReader(self.path)
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


# Bytes of the scalar types, by their numbers in a file: integers, floats and bool.
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9


class _Header:
    """Walks through the header of a file and refuses lengths that lead outside it."""

    def __init__(self, data: mmap.mmap):
        self._data, self._at = data, 4  # after the magic letters

    def number(self, size: int) -> int:
        """The next unsigned integer of `size` bytes."""
        start = self.skip(size)
        return int.from_bytes(self._data[start : start + size], "little")

    def skip(self, size: int) -> int:
        """The place where the next `size` bytes begin. Raises ValueError if the file ends before
        they do."""
        start = self._at
        self._at += size
        if self._at > len(self._data):
            raise ValueError("a length leads out of the file")
        return start

    def value(self, kind: int) -> None:
        """Skip a value of this type."""
        if kind == _STRING:
            self.skip(self.number(8))
        elif kind == _ARRAY:
            kind, count = self.number(4), self.number(8)
            if kind in _SCALARS:
                self.skip(_SCALARS[kind] * count)
            else:
                for _ in range(count):
                    self.value(kind)
        else:
            self.skip(_SCALARS[kind])


def _is_big_endian(path: pathlib.Path) -> bool:
    """Whether the file is big-endian; walks through the whole header of other files.

    Raises ValueError or KeyError if a length or a type in it is impossible.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = _Header(data)
        if not header.number(4) & 0xFFFF:  # the version
            return True
        tensors, keys = header.number(8), header.number(8)
        for _ in range(keys):
            header.value(_STRING)
            header.value(header.number(4))
        for _ in range(tensors):
            header.value(_STRING)
            header.skip(8 * header.number(4))  # its axes
            header.skip(4 + 8)  # type and place
    return False


def opened(path: pathlib.Path | str) -> GGUFFile:
    """The `GGUFFile` at `path`. It is kept, because a vocabulary takes seconds to read."""
    path = pathlib.Path(path)
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot read it: {error.strerror}") from None
    return _opened(path.absolute(), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=2)
def _opened(path: pathlib.Path, modified: int, size: int) -> GGUFFile:
    return GGUFFile(path)
