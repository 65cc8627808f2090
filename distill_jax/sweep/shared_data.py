"""Runs on the same data share what was made of it: annotations, checked and split; tokenizer.

They are copied from a sister's working directory into a new one before its run starts, which then
reads them as a run that goes on does.
"""

import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

from distill_jax.settings import command_line
from distill_jax.settings.identity import NOT_IDENTITY, NOT_IDENTITY_KEYS
from distill_jax.workdir import Workdir

# What decides neither the annotations nor the tokenizer. Any other key of a run's identity, one
# that is new too, keeps two runs apart: that costs time, never a result.
_NOT_DATA = (
    *("seed", "students.", "reads.", "model.", "optimizer.", "lora.", "loss.", "train."),
    *("data.packing", "data.seq_len", "data.max_dropped_share", "data.removal."),
)
# What is never trained on depends on the problems that are asked.
_ASKED = ("evaluation.task", "evaluation.task_options", "evaluation.split")


def data_key(config: Any) -> dict[str, Any]:
    """Equal for two configs whose annotations and tokenizer are the same."""
    left_out = (*NOT_IDENTITY, *NOT_IDENTITY_KEYS, *_NOT_DATA)
    # The seed decides which file of a mixture a problem is learned from.
    kept = (*_ASKED, "seed") if config.data.mixture else _ASKED
    return {
        key: value
        for key, value in command_line.flatten(config).items()
        if key in kept
        or not key.startswith(left_out)
        # A GGUF file brings its tokenizer.
        or (key.endswith(".init_from") and value.endswith(".gguf"))
    }


def share_data(config: Any, workdir: Workdir, sisters: Iterable[Workdir]) -> Workdir | None:
    """Give `workdir` what a sister on the same data has made; returns that sister, if any.

    Only where no run has begun in it: what an earlier attempt has left there is replaced.
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
    """Delete what was given to a run that has failed before it wrote anything: without a config
    nobody could tell later what it was made from."""
    if workdir.config.exists() or not workdir.path.exists():
        return
    for path in _files(workdir):
        path.unlink(missing_ok=True)
    shutil.rmtree(workdir.tokenizer, ignore_errors=True)
    if [path.name for path in workdir.path.iterdir()] == [".lock"]:
        shutil.rmtree(workdir.path)


def _files(workdir: Workdir) -> list[pathlib.Path]:
    """annotations.jsonl last, as a run writes them: it vouches for the others."""
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
