"""A process that does nothing but save: what the tests of checkpoints kill."""

import logging
import multiprocessing.connection
import os

import jax
import numpy as np

from distill_jax.training.checkpoint import Checkpoints
from distill_jax.training.step import TrainState

KEEP = 2
IMPROVES_EVERY = 7  # steps; the best checkpoint is older than the newest most of the time


def best_of(step):
    """The best step as of `step`."""
    return step - step % IMPROVES_EVERY


def state_of(step):
    """A train state whose every number says which step it is of."""
    numbers = np.full((64, 64), step, np.float32)
    state = TrainState(
        step=np.int32(step),
        params={"w": numbers},
        opt_state={"mu": -numbers},
        measured_step=np.int32(step),
        best_step=np.int32(best_of(step)),
        best_value=np.float32(-step),
    )
    return jax.device_put(state)  # np, as it compiles nothing


def go_on(directory, progress: multiprocessing.connection.Connection):
    """Go on from the newest checkpoint, and send the number of each that is complete."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    logging.disable()
    jax.config.update("jax_platforms", "cpu")
    checkpoints = Checkpoints(directory, KEEP)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state_of(0)
    )
    found = checkpoints.restore_latest(abstract)
    step = 0
    if found is not None:
        step, state = found
        for left, right in zip(
            jax.tree.leaves(state), jax.tree.leaves(state_of(step)), strict=True
        ):
            assert (np.asarray(left) == np.asarray(right)).all()
    progress.send(step)  # restored as it was saved
    while True:
        checkpoints.save(step + 1, state_of(step + 1), best_of(step + 1))
        progress.send(step)  # `save` waited for the one before
        step += 1
