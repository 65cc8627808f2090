"""How sure a student is of the tokens of given rows, without training."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from distill_jax.model import sharding
from distill_jax.text.rows import Row
from distill_jax.training import batches, loss, step
from distill_jax.training.step import Trainer


def entropies(
    mesh: Mesh, trainer: Trainer, params: Any, rows: Sequence[Row], batch_size: int
) -> Iterator[np.ndarray]:
    """For each row, the entropies of its loss tokens (`loss.token_entropies`), nats: float32 [K].

    Call it under `jax.set_mesh(mesh)`, in one process; `batch_size` must divide over the mesh.
    Rows are computed separately, not packed, teacher-forced and without dropout.
    """
    source = batches.StudentRows(rows, "scorer", trainer.config.context, 0.0)
    shape = batches.row_shape(source, 0, packed=False)
    computation = dataclasses.replace(trainer.computation, kernel="xla", remat=False)
    trainer = dataclasses.replace(trainer, computation=computation)
    compiled = jax.jit(functools.partial(_entropies, trainer=trainer))
    left = len(rows)
    for batch in batches.dev_batches(source, shape, batch_size, process=0, processes=1):
        found = np.asarray(jax.device_get(compiled(params, sharding.put_batch(mesh, batch))))
        for place in range(min(left, batch_size)):
            yield found[place][batch["writers"][place] >= 0]
        left -= batch_size


def _entropies(params: Any, batch: dict[str, jax.Array], *, trainer: Trainer) -> jax.Array:
    tokens = step.loss_tokens(trainer, params, batch, None)
    head = trainer.config.head(params)
    chunk = trainer.computation.loss_chunk
    return loss.token_entropies(chunk, head, tokens, trainer.allowed)
