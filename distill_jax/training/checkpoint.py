"""Checkpoints of one student: orbax in the background, and a SHA-256 manifest written last.

    <directory>/<step>/params/     the parameters alone: all that sampling and export read
    <directory>/<step>/training/   step, optimizer state, best dev value
    <directory>/<step>/arrays.json   name, shape and dtype of every array
    <directory>/<step>/manifest.json

A step directory without a manifest is not complete and is never restored. Several processes write
one checkpoint together; the first one writes the manifest and deletes.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from distill_jax import distributed
from distill_jax.errors import UserError
from distill_jax.training import manifest, quiet_saves
from distill_jax.training.manifest import MANIFEST, complete_steps

ARRAYS = "arrays.json"
TEMPORARY = ".orbax-checkpoint-tmp"  # orbax writes <step><this> and renames it

log = logging.getLogger(__name__)


class _NewestAndBest:
    """Which checkpoints orbax keeps."""

    def __init__(self, keep: int):
        self._keep, self.best_step = keep, -1

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        steps = sorted(each.step for each in checkpoints)
        kept = {self.best_step, *steps[-self._keep :]}
        return [each.step in kept for each in checkpoints]


class Checkpoints:
    """Saves and restores the train state of one student; `directory` may be local or gs://."""

    def __init__(
        self, directory: Any, keep: int | None, warn: Callable[[str], None] = log.warning
    ):
        """`keep` newest checkpoints stay, None = only to read; `warn` is told which are damaged."""
        import orbax.checkpoint as ocp

        self._directory = epath.Path(directory)
        if "://" not in str(directory):
            self._directory = epath.Path(directory).resolve()
        self._warn, self._ocp = warn, ocp
        self._policy = _NewestAndBest(keep or 1)
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._policy,
                async_options=ocp.options.AsyncOptions(
                    post_finalization_callback=self._write_manifest
                ),
                cleanup_tmp_directories=keep is not None,
                create=keep is not None,
                read_only=keep is None,
            ),
        )
        self._speak: Callable[[], None] = _nothing
        self._damaged: set[int] = set()  # known to be; saved again when training comes by
        if keep is not None:
            incomplete = set(self._manager.all_steps()) - set(self.steps())
            for step in distributed.send(sorted(incomplete)):
                self._manager.delete(step)

    def steps(self) -> list[int]:
        """Steps of complete checkpoints, ascending."""
        return complete_steps(self._directory)

    def save(self, step: int, state: Any, best_step: int = -1) -> None:
        """Copy `state` off the devices and go on; a thread writes it.

        Once it is complete, all checkpoints but the newest `keep` and `best_step` are deleted.
        Waits for the save before. Raises UserError where the disk is full.
        """
        self.wait()
        complete = (self._directory / str(step) / MANIFEST).exists()
        if distributed.send(complete and step not in self._damaged):
            return
        if step in self._manager.all_steps():
            self._manager.delete(step)
        save = self._ocp.args.StandardSave
        params, training = _split(state)
        self._saving = step, _describe({"params": params, "training": training})
        self._policy.best_step = best_step
        # Until the save is complete; after a failure for good, as some errors come much later.
        self._speak = quiet_saves.silence()
        try:
            self._manager.save(
                step,
                args=self._ocp.args.Composite(params=save(params), training=save(training)),
                force=True,
            )
        except Exception as error:
            raise _readable(error, self._directory / str(step)) from error

    def _write_manifest(self) -> None:
        """Called in process 0 when all have written, before orbax renames the directory."""
        step, arrays = self._saving
        target = self._directory / str(step)
        temporary = self._directory / f"{step}{TEMPORARY}"
        target = temporary if temporary.exists() else target  # gs:// is written in place
        (target / ARRAYS).write_text(json.dumps(arrays, indent=2) + "\n")
        manifest.write(target)

    def wait(self) -> None:
        """Return once the last save is complete in this process; raise what went wrong in it."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise _readable(error, self._directory / str(self._saving[0])) from error
        self._speak()
        self._speak = _nothing

    def close(self) -> None:
        """Wait for the last save, and release the threads."""
        self.wait()
        self._manager.close()

    def latest_undamaged(self) -> int | None:
        """The newest step that can be restored, None where there is no checkpoint.

        A damaged one is named by `warn` and the one before is used. Raises UserError where
        there are checkpoints but all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            if not self.damaged(step):
                return step
            self._damaged.add(step)
            self._warn(f"{self._directory / str(step)} is damaged: using the checkpoint before")
        if steps:
            raise UserError(
                f"{self._directory}: every checkpoint is damaged: delete it to start anew"
            )
        return None

    def restore_latest(self, abstract: Any) -> tuple[int, Any] | None:
        """(step, state) of the newest undamaged checkpoint, laid out as `abstract` says, or None.

        Raises UserError where shapes differ from `abstract`.
        """
        step = distributed.send(self.latest_undamaged() if distributed.is_first() else None)
        if step is None:
            return None
        params, training = _split(abstract)
        found = self._restore(step, params=params, training=training)
        return step, abstract.replace(params=found.params, **found.training)

    def restore_params(self, step: int, abstract: Any) -> Any:
        """Only the parameters of `step`; UserError where it is damaged or does not fit."""
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
        return self._manager.restore(step, args=self._ocp.args.Composite(**arguments))

    def damaged(self, step: int) -> bool:
        """Whether any file of `step` is not what it was when the checkpoint was written."""
        return manifest.damaged(self._directory / str(step))


def _describe(parts: dict[str, Any]) -> dict[str, str]:
    """{"params/wte/embedding": "float32[512, 128]", ...} of arrays or of their shapes."""
    leaves = jax.tree_util.tree_leaves_with_path(parts)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}"
        for path, x in leaves
    }


def _check_arrays(source: epath.Path, parts: dict[str, Any]) -> None:
    """Raise UserError naming the arrays of `parts` that the checkpoint has otherwise or not."""
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


def _nothing() -> None:
    pass


def _split(state: Any) -> tuple[Any, dict[str, Any]]:
    training = {
        name: getattr(state, name) for name in state.__dataclass_fields__ if name != "params"
    }
    return state.params, training


def _readable(error: Exception, target: epath.Path) -> Exception:
    """The error itself, or one line where the disk is full."""
    text = str(error)
    if "No space left" in text or "RESOURCE_EXHAUSTED" in text or "ENOSPC" in text:
        return UserError(
            f"no space left on the disk of {target}: free some and run the same command again "
            "(older checkpoints are intact)"
        )
    return error
