"""Checks that a run can write to all its places, before anything is paid for or trained."""

import pathlib
import uuid

from etils import epath

from distill_jax import distributed
from distill_jax.errors import UserError
from distill_jax.run.run import Run
from distill_jax.workdir import Workdir


def check_outputs(run: Run) -> None:
    """Raise UserError in every process if one of them cannot write to a place of the run.

    The attempt leaves nothing behind. All processes must call it.
    """
    places = {
        run.checkpoint_directory(student): "config.checkpoint_dir" for student in run.students
    }
    workdir = run.workdir
    if distributed.is_first():
        directories = (workdir.path, workdir.evaluations, workdir.tensorboard, workdir.profile)
        places |= {epath.Path(path): "--workdir" for path in directories}
    mine = [found for place, key in places.items() if (found := _refusal(place, key))]
    if distributed.is_first():
        mine += _refused_files(workdir)
    everyones = [found for each in distributed.gather(mine) for found in each]
    if everyones:
        raise UserError("; ".join(dict.fromkeys(everyones)))


def _refusal(place: epath.Path, key: str) -> str:
    """Why no file can be written to a directory, which may not exist yet; "" if one can."""
    try:
        probe = (place if "://" in str(place) else _nearest(place)) / f".probe-{uuid.uuid4().hex}"
        probe.write_text("")
        probe.unlink()
    except Exception as error:  # a bucket's client has its own errors
        reason = (
            getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        )
        return f"{place} cannot be written to ({reason}): choose another {key}"
    return ""


def _refused_files(workdir: Workdir) -> list[str]:
    """Why existing files cannot be written again or appended to."""
    found = []
    for path in (workdir.report_json, workdir.report_html, workdir.training_data):
        if path.is_dir():
            found.append(f"{path} is a directory: move it away")
    for path in filter(pathlib.Path.exists, (workdir.log, workdir.metrics)):
        try:
            path.open("a").close()
        except OSError as error:
            found.append(f"{path} cannot be appended to ({error.strerror}): mend it")
    return found


def _nearest(place: epath.Path) -> pathlib.Path:
    """The directory itself, or else the existing one in which it, or a parent of it, will be
    made."""
    path = pathlib.Path(place).absolute()
    while not path.exists():
        path = path.parent
    return path
