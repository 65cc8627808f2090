"""The disk that the checkpoints of a run need, before it starts."""

import math
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from etils import epath

from distill_jax import devices, distributed
from distill_jax.errors import UserError
from distill_jax.run.run import Run
from distill_jax.run.student_setup import StudentSetup
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import step

SURELY = 0.8  # of its arrays: checkpoints are compressed, but float32 hardly shrinks


class Needs(NamedTuple):
    """Bytes on disk of one student's checkpoints."""

    one: int  # with the optimizer's state
    training: (
        int  # the most at a time while it trains: a new one is written before an old one is deleted
    )
    finished: int  # when only parameters are left
    certain: int  # of `training`, whatever dev says
    certain_finished: int


def needs(run: Run, setup: StudentSetup, mesh: jax.sharding.Mesh) -> Needs:
    """The needs of a student, including the parameters of its best checkpoint on dev, as if that
    were not among the newest."""
    trainer, train = setup.trainer, run.config.train
    state = step.abstract_state(mesh, trainer.config, trainer.optimizer, trainer.adapter)
    one, params = _bytes(state), _bytes(state.params)
    saves = math.ceil(setup.facts["steps"] / train.save_every)
    certain = min(saves, train.keep + 1) * one
    best = params if train.eval_every and setup.dev else 0
    kept = min(saves, train.keep) * params
    return Needs(one, certain + best, kept + best, certain, kept)


def say_and_check(
    run: Run, setups: Sequence[StudentSetup], mesh: jax.sharding.Mesh, terminal: Terminal
) -> None:
    """Say how much disk the checkpoints of these students need; they are trained in this order.

    Raises UserError if the disk clearly has too little; a bucket (gs://) has enough.
    """
    each = {setup.student: needs(run, setup, mesh) for setup in setups}
    if not each:
        return
    most = _peak([(n.training, n.finished) for n in each.values()])
    least = SURELY * _peak([(n.certain, n.certain_finished) for n in each.values()])
    ones = ", ".join(f"{student} {devices.size(n.one)}" for student, n in each.items())
    end = sum(n.finished for n in each.values())
    place = run.checkpoint_directory(setups[0].student).parent
    free = distributed.from_first(lambda: _free(place))
    terminal.say(
        f"disk: up to {devices.size(most)} for checkpoints (one of {ones}), {devices.size(end)} "
        "after training" + ("" if free is None else f"; {devices.size(free)} are free")
    )
    there = distributed.from_first(
        lambda: sum(_bytes_of_files(run.checkpoint_directory(student)) for student in each)
    )
    if free is not None and free + there < least:
        raise UserError(
            f"{place}: checkpoints need at least {devices.size(round(least))}, and "
            f"{devices.size(free + there)} are free: free some, choose another "
            "config.checkpoint_dir, or lower config.train.keep"
        )


def _peak(students: Sequence[tuple[int, int]]) -> int:
    """The most bytes at a time, from (while it trains, when it is finished) per student."""
    peak = finished = 0
    for training, after in students:
        peak = max(peak, finished + training)
        finished += after
    return peak


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _free(place: epath.Path) -> int | None:
    """Bytes; None for a place that has no size."""
    if "://" in str(place):
        return None
    place = place.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _bytes_of_files(directory: epath.Path) -> int:
    paths = [] if "://" in str(directory) else pathlib.Path(directory).rglob("*")
    return sum(path.stat().st_size for path in paths if path.is_file())
