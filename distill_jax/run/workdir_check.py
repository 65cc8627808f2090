"""Whether a run may use a working directory: which run it belongs to, and whether its files
changed."""

from typing import Any

from etils import epath

from distill_jax.errors import UserError
from distill_jax.training import checkpoint_place
from distill_jax.training.manifest import complete_steps
from distill_jax.workdir import Workdir, read_facts


def check_workdir(workdir: Workdir, identity: dict[str, Any], *, may_take_over: bool) -> bool:
    """Whether `workdir` holds another run that this one is to replace.

    Only with `may_take_over`, and if no student of the other run has a complete checkpoint, so that
    nothing is lost. Raises UserError if the other run must stay, if there are checkpoints without
    config.json, and if a file that students are trained on has changed.
    """
    if not workdir.config.exists():
        if workdir.training_data.exists() or _any_checkpoint(workdir.checkpoints):
            raise UserError(
                f"--workdir={workdir.path} holds a run without its config.json: put the file back, "
                "or choose another --workdir"
            )
        return False
    if may_take_over and workdir.differences(identity) and _nothing_trained(workdir):
        return True
    workdir.check_identity(identity)
    _check_files(workdir)
    return False


def _nothing_trained(workdir: Workdir) -> bool:
    base = checkpoint_place.whole(workdir.stored_config()["checkpoint_dir"])
    # A disk that is not mounted looks like a run without checkpoints.
    if base and not epath.Path(base).exists():
        return False
    finished = any("finished_at" in facts for facts in _facts(workdir).values())
    if finished or workdir.evaluations.exists():
        return False
    return not _any_checkpoint(base or workdir.checkpoints)


def _any_checkpoint(base: Any) -> bool:
    base = epath.Path(base)
    return base.exists() and any(complete_steps(path) for path in base.iterdir() if path.is_dir())


def _check_files(workdir: Workdir) -> None:
    """Raise UserError if the SHA-256 of a file that students are trained on has changed."""
    now = workdir.hashes()
    for student, facts in _facts(workdir).items():
        # Older runs have no hashes.
        for name, digest in facts.get("sha256", {}).items():
            if now.get(name) != digest:
                state = "is not what it was" if name in now else "is missing, but was there"
                raise UserError(
                    f"{workdir.path / name} {state} when student {student!r} began to train: put "
                    "the old file back, or start a new --workdir"
                )


def _facts(workdir: Workdir) -> dict[str, Any]:
    return read_facts(workdir.training_data) if workdir.training_data.exists() else {}
