"""Checkpoints of one student: orbax, and a SHA-256 manifest that is written last.

Orbax does not notice flipped bits; the manifest does. A step directory without a manifest is not
complete and is never restored.
"""

import hashlib
import logging
import pathlib
import shutil
from typing import Any

from distill_jax import workdir
from distill_jax.errors import UserError

MANIFEST = "manifest.json"

log = logging.getLogger(__name__)


class Checkpoints:
    """Saves and restores the train state of one student under `directory/<step>/`."""

    def __init__(self, directory: pathlib.Path, keep: int):
        import orbax.checkpoint as ocp

        self._directory = directory.absolute()
        self._keep = keep
        self._checkpointer = ocp.StandardCheckpointer()

    def steps(self) -> list[int]:
        """Steps of complete checkpoints, ascending."""
        return complete_steps(self._directory)

    def save(self, step: int, state: Any) -> None:
        """Write the state of `step` and wait for it; then delete all but the newest `keep`."""
        target = self._directory / str(step)
        if (target / MANIFEST).exists():
            return
        self._checkpointer.save(target / "state", state, force=True)
        self._checkpointer.wait_until_finished()
        workdir.write_json(target / MANIFEST, _hashes(target))
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self._directory / str(old))

    def restore_latest(self, abstract: Any) -> tuple[int, Any] | None:
        """(step, state) of the newest undamaged checkpoint, or None where there is none.

        A damaged one is named in a warning and the one before is used. Raises UserError where
        checkpoints exist but none is undamaged, or where shapes differ from `abstract`.
        """
        steps = self.steps()
        for step in reversed(steps):
            if self.damaged(step):
                log.warning(
                    "%s is damaged: using the checkpoint before", self._directory / str(step)
                )
                continue
            return step, self.restore(step, abstract)
        if steps:
            raise UserError(
                f"{self._directory}: every checkpoint is damaged: delete it to start anew"
            )
        return None

    def restore(self, step: int, abstract: Any) -> Any:
        """The state of `step`, laid out as `abstract` says; UserError where it does not fit."""
        source = self._directory / str(step) / "state"
        try:
            return self._checkpointer.restore(source, abstract)
        except (ValueError, KeyError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"{source} does not fit this config ({reason})") from error

    def damaged(self, step: int) -> bool:
        """Whether any file of `step` is not what it was when the checkpoint was written."""
        directory = self._directory / str(step)
        return workdir.read_json(directory / MANIFEST) != _hashes(directory)


def complete_steps(directory: pathlib.Path) -> list[int]:
    """Steps under `directory` that have a manifest, ascending."""
    if not directory.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in directory.iterdir()
        if path.name.isdigit() and (path / MANIFEST).exists()
    )


def _hashes(directory: pathlib.Path) -> dict[str, str]:
    """SHA-256 of every file under `directory` but the manifest, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != MANIFEST
    }
