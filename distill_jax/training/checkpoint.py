"""Checkpoints of one student: orbax in the background, and a SHA-256 manifest written last.

    <directory>/<step>/params/     the parameters, which are all that sampling and export read
    <directory>/<step>/training/   step, optimizer state, best dev value
    <directory>/<step>/arrays.json   name, shape and dtype of every array
    <directory>/<step>/manifest.json

A step directory without a manifest is not complete and is never restored. Several processes write
one checkpoint together; the first one writes the manifest, and deletes old checkpoints.

Training can continue only from a checkpoint that has `training/`. The best one loses it as soon as
it is not among the newest, and all lose it when the student is finished, because with Adam's two
moments it is two thirds of the whole.
"""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from distill_jax import distributed
from distill_jax.errors import UserError, of_the_system
from distill_jax.training import manifest, quiet_saves
from distill_jax.training.manifest import MANIFEST, complete_steps

ARRAYS = "arrays.json"
TRAINING = "training"
TEMPORARY = ".orbax-checkpoint-tmp"  # orbax writes <step><this> and renames it

log = logging.getLogger(__name__)


class Checkpoints:
    """Saves and restores the train state of one student; `directory` may be local or gs://."""

    def __init__(self, directory: Any, keep: int, warn: Callable[[str], None] = log.warning):
        """Keeps the `keep` newest checkpoints; calls `warn` with the damaged ones."""
        import orbax.checkpoint as ocp

        self._directory = epath.Path(directory)
        if "://" not in str(directory):
            self._directory = epath.Path(directory).resolve()
        self._keep, self._warn = keep, warn
        self._ocp = ocp
        self._checkpointer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._finishing: threading.Thread | None = None
        self._failure: Exception | None = None
        self._damaged: set[int] = set()  # known to be; saved again when training comes by

    def steps(self) -> list[int]:
        """Steps of complete checkpoints, ascending."""
        return complete_steps(self._directory)

    def save(self, step: int, state: Any, best_step: int = -1) -> None:
        """Copy `state` from the devices and return; a thread writes it.

        When it is complete, all checkpoints except the newest `keep` are deleted; the parameters
        of `best_step` are kept.
        Waits for the previous save. Raises UserError if the disk is full.
        """
        self.wait()
        target = self._directory / str(step)
        if distributed.send((target / MANIFEST).exists() and step not in self._damaged):
            return
        save = self._ocp.args.StandardSave
        params, training = _split(state)
        quiet_saves.begin()
        try:
            self._checkpointer.save(
                target,
                args=self._ocp.args.Composite(params=save(params), training=save(training)),
                force=True,
            )
        except Exception as error:
            raise self._failed(error, target) from error
        arrays = _describe({"params": params, "training": training})
        self._finishing = threading.Thread(target=self._finish, args=(target, arrays, best_step))
        self._finishing.start()

    def wait(self) -> None:
        """Return when the last save is complete in this process; raise its error, if any."""
        if self._finishing is not None:
            self._finishing.join()
            self._finishing = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        """Wait for the last save, and release the threads, even if that save has failed."""
        try:
            self.wait()
        finally:
            self._checkpointer.close()

    def _finish(self, target: epath.Path, arrays: dict[str, str], best_step: int) -> None:
        try:
            self._checkpointer.wait_until_finished()
            if jax.process_index() == 0:
                (target / ARRAYS).write_text(json.dumps(arrays, indent=2) + "\n")
                manifest.write(target)
                self._delete_old(best_step)
            quiet_saves.end(disk_full=False)
        except Exception as error:
            self._failure = self._failed(error, target)

    def _failed(self, error: Exception, target: epath.Path) -> Exception:
        """The error to raise for a save that failed with `error`."""
        finished = False
        while not finished:  # orbax would raise the other errors of this save at the next one
            try:
                self._checkpointer.wait_until_finished()
                finished = True
            except Exception as other:
                log.debug("%s: %s", target, other)
        readable = _readable(error, target)
        quiet_saves.end(disk_full=isinstance(readable, UserError))
        return readable

    def _delete_old(self, best_step: int) -> None:
        *_, newest = steps = self.steps()
        for old in steps[: -self._keep]:
            if old == best_step:
                manifest.drop(self._directory / str(old), TRAINING)
            else:
                # The manifest first, so that a half-deleted checkpoint does not look complete.
                (self._directory / str(old) / MANIFEST).unlink()
        # This also deletes what `kill -9` left of an earlier deletion or save.
        for path in self._directory.iterdir():
            number = path.name.removesuffix(TEMPORARY)
            if number.isdigit() and int(number) < newest and not (path / MANIFEST).exists():
                path.rmtree()

    def latest_undamaged(self) -> int | None:
        """The newest step from which training can continue; None if there is no checkpoint.

        A damaged one is named by `warn` and the one before is used. Raises UserError if
        there are checkpoints but all are damaged, or have only parameters.
        """
        steps = self.steps()
        for step in reversed(steps):
            if self.damaged(step):
                self._damaged.add(step)
                self._warn(f"{self._directory / str(step)} is damaged: using the checkpoint before")
            elif self.resumable(step):
                return step
        if steps:
            those = [str(step) for step in steps if step not in self._damaged]
            state = f" or holds parameters only ({', '.join(those)})" if those else ""
            raise UserError(
                f"{self._directory}: every checkpoint is damaged{state}: delete it to start anew"
            )
        return None

    def resumable(self, step: int) -> bool:
        """Whether `step` has more than parameters, so that training can continue from it."""
        return manifest.has(self._directory / str(step), TRAINING)

    def restore_latest(self, abstract: Any) -> tuple[int, Any] | None:
        """(step, state) of the newest undamaged checkpoint, laid out as `abstract` says, or None.

        Raises UserError if shapes differ from `abstract`.
        """
        step = distributed.send(self.latest_undamaged() if distributed.is_first() else None)
        if step is None:
            return None
        params, training = _split(abstract)
        found = self._restore(step, params=params, training=training)
        return step, abstract.replace(params=found.params, **found.training)

    def restore_params(self, step: int, abstract: Any) -> Any:
        """Only the parameters of `step`; UserError if it is damaged or does not fit."""
        if distributed.send(distributed.is_first() and self.damaged(step)):
            raise UserError(
                f"{self._directory / str(step)} is damaged: delete it and run "
                "`python -m distill_jax.main` again"
            )
        return self._restore(step, params=abstract).params

    def _restore(self, step: int, **parts: Any) -> Any:
        source = self._directory / str(step)
        _check_arrays(source, parts)
        restore = self._ocp.args.StandardRestore
        arguments = {name: restore(abstract) for name, abstract in parts.items()}
        return self._checkpointer.restore(source, args=self._ocp.args.Composite(**arguments))

    def damaged(self, step: int) -> bool:
        """Whether any file of `step` has changed since the checkpoint was written."""
        return manifest.damaged(self._directory / str(step))


def keep_parameters(directory: Any) -> None:
    """Delete the part that only training needs from all checkpoints of a finished student. It may
    be called again after an interruption; only one process calls it."""
    directory = epath.Path(directory)
    for step in complete_steps(directory):
        manifest.drop(directory / str(step), TRAINING)


def _describe(parts: dict[str, Any]) -> dict[str, str]:
    """{"params/wte/embedding": "float32[512, 128]", ...} of arrays or of their shapes."""
    leaves = jax.tree_util.tree_leaves_with_path(parts)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}"
        for path, x in leaves
    }


def _check_arrays(source: epath.Path, parts: dict[str, Any]) -> None:
    """Raise UserError, which names the arrays of `parts` that the checkpoint lacks or has
    differently."""
    stored = json.loads((source / ARRAYS).read_text())
    stored = {name: kind for name, kind in stored.items() if name.split("/")[0] in parts}
    wanted = _describe(parts)
    names = [name for name in stored | wanted if stored.get(name) != wanted.get(name)]
    if names:
        first = "; ".join(
            f"{name} is {stored.get(name, 'missing')}, now {wanted.get(name, 'missing')}"
            for name in names[:3]
        )
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise UserError(
            f"{source} does not fit this config ({first}{more}): choose another --workdir, or the "
            "sizes that it was trained with"
        )


def _split(state: Any) -> tuple[Any, dict[str, Any]]:
    training = {
        name: getattr(state, name) for name in state.__dataclass_fields__ if name != "params"
    }
    return state.params, training


def _readable(error: Exception, target: epath.Path) -> Exception:
    """The error itself, or one line if the user can mend it."""
    if quiet_saves.says_disk_full(str(error)):
        return UserError(
            f"no space left on the disk of {target}: free some and run the same command again "
            "(older checkpoints are intact)"
        )
    mended = of_the_system(error, str(target)) if isinstance(error, OSError) else None
    return mended or error
