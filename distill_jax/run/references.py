"""The log-probabilities that pairs had before training, next to the checkpoints of a run."""

import io
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from distill_jax import distributed
from distill_jax.errors import UserError
from distill_jax.run.run import Run
from distill_jax.run.student_setup import StudentSetup
from distill_jax.training import preference
from distill_jax.training.pairs import PairRows


def settle(run: Run, setup: StudentSetup, params: Any, mesh: jax.sharding.Mesh) -> None:
    """Give the pairs of a student their reference: it is computed with the whole `params` that
    training begins with, and kept for a run that continues. All processes must call this."""
    train = run.config.train
    size = train.batch_size // train.accumulation
    for part, pairs in setup.pairs.items():
        shape = pairs.shape(run.config.data.seq_len)
        values = preference.references(mesh, setup.trainer, params, pairs, shape, size)
        keep(run, setup.student, part, pairs, values)


def keep(run: Run, student: str, part: str, pairs: PairRows, values: np.ndarray) -> None:
    """Give the pairs of a part these values, and write them for `restore`. All processes must call
    this."""
    pairs.set_reference(values)
    if distributed.is_first():
        _write(_path(run, student, part), values)
    distributed.wait_for_all(f"the reference of {student} is written")


def restore(run: Run, student: str, parts: Mapping[str, PairRows]) -> None:
    """Give the pairs of a student that has begun to train the reference that was kept.

    Raises UserError if it is missing, or of other pairs.
    """
    for part, pairs in parts.items():
        path = _path(run, student, part)
        try:
            pairs.set_reference(_read(path))
        except (FileNotFoundError, ValueError, EOFError, UserError) as error:
            raise UserError(
                f"{path}, with which student {student!r} began to train, cannot be used ({error}): "
                f"put back a copy, or delete {run.checkpoint_directory(student)} to train it anew"
            ) from None


def _read(path: epath.Path) -> np.ndarray:
    values = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise ValueError("it holds more than one array")
    return values


def _path(run: Run, student: str, part: str) -> epath.Path:
    return run.checkpoints / "references" / f"{student}.{part}.npy"


def _write(path: epath.Path, values: np.ndarray) -> None:
    """So that a reader sees the whole file or none."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.tmp"
    beside.write_bytes(buffer.getvalue())
    beside.replace(path)
