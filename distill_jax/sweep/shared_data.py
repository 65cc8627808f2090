"""Runs on the same data share their checked and split annotations, and the tokenizer.

Before a run starts, they are copied into its new working directory from another run's. It then
reads them like a run that continues.
"""

import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

from distill_jax.settings import command_line
from distill_jax.settings.identity import NOT_IDENTITY, NOT_IDENTITY_KEYS
from distill_jax.workdir import Workdir

# Keys that change neither the annotations nor the tokenizer. Any other key of a run's identity,
# even a new one, keeps two runs apart: that may cost time, but never gives a wrong result.
_NOT_DATA = (
    *("seed", "students.", "reads.", "model.", "optimizer.", "lora.", "loss.", "train."),
    "preferences.",  # files of their own
    *("data.packing", "data.seq_len", "data.max_dropped_share", "data.removal."),
)
# The questions that are dropped from training depend on the evaluated problems.
_ASKED = ("evaluation.task", "evaluation.task_options", "evaluation.split")


def data_key(config: Any) -> dict[str, Any]:
    """Equal for two configs whose annotations and tokenizer are the same."""
    left_out = (*NOT_IDENTITY, *NOT_IDENTITY_KEYS, *_NOT_DATA)
    # The seed decides which file of a mixture a problem is learned from.
    kept = (*_ASKED, "seed") if config.data.mixture else _ASKED
    named = bool(config.tokenizer.name)
    return {
        key: value
        for key, value in command_line.flatten(config).items()
        if key in kept
        or not key.startswith(left_out)
        # Weights bring their tokenizer, unless another is named; that of a GGUF file cannot be.
        or (
            key.startswith("model.")
            and key.endswith(".init_from")
            and value
            and (not named or value.endswith(".gguf"))
        )
    }


def share_data(config: Any, workdir: Workdir, sisters: Iterable[Workdir]) -> Workdir | None:
    """Copy the data of another run on the same data into `workdir`; returns that run's, if any.

    Does nothing if a run has begun in `workdir`; replaces what an earlier attempt has left there.
    """
    if workdir.config.exists():
        return None
    take_back(workdir)
    wanted = data_key(config)
    for sister in sisters:
        if _has_data(sister) and data_key(_stored(sister)) == wanted:
            _copy(sister, workdir)
            return sister
    return None


def take_back(workdir: Workdir) -> None:
    """Delete the copied data of a run that failed before it wrote anything: without a config,
    nobody could tell later where the data came from."""
    if workdir.config.exists() or not workdir.path.exists():
        return
    for path in _files(workdir):
        path.unlink(missing_ok=True)
    shutil.rmtree(workdir.tokenizer, ignore_errors=True)
    if [path.name for path in workdir.path.iterdir()] == [".lock"]:
        shutil.rmtree(workdir.path)


def _files(workdir: Workdir) -> list[pathlib.Path]:
    """The files to copy, annotations.jsonl last, as a run writes them: it shows that all are
    there."""
    return [
        workdir.rejected_annotations,
        workdir.overlaps,
        workdir.dev_annotations,
        workdir.summary,
        workdir.annotations,
    ]


def _has_data(workdir: Workdir) -> bool:
    needed = (workdir.config, workdir.tokenizer, *_files(workdir))
    return all(path.exists() for path in needed)


def _stored(workdir: Workdir) -> Any:
    return command_line.run_config(workdir)


def _copy(source: Workdir, target: Workdir) -> None:
    target.path.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source.tokenizer, target.tokenizer)
    for old, new in zip(_files(source), _files(target), strict=True):
        beside = new.with_name(f".{new.name}.tmp")
        shutil.copyfile(old, beside)
        os.replace(beside, new)
