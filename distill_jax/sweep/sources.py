"""What earlier steps of a sweep gave to a run: whoever learned from their files has not learned
from what they would write with other settings."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from distill_jax.errors import UserError
from distill_jax.workdir import read_json, some_of, write_json


def digest(module: str, changes: Mapping[str, str], config: Any, directory: pathlib.Path) -> str:
    """Of the settings that decide what an Ask (with its `config`) or a Make writes, however the
    sweep's `directory` is spelled."""
    if config is None:
        texts = {k: text.replace(f"{directory}{os.sep}", "") for k, text in changes.items()}
        what: list[Any] = [module, texts]
    else:
        what = [config.sampling.to_dict(), config.evaluation.to_dict()]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def remember(name: str, found: Mapping[str, str], directory: pathlib.Path) -> None:
    """Write the sources of a run that begins."""
    if found:
        write_json(_file(name, directory), dict(found))


def check(name: str, found: Mapping[str, str], directory: pathlib.Path) -> None:
    """Raise UserError if a run that has begun learned from files that these sources would not
    write."""
    file = _file(name, directory)
    if not file.exists():  # it reads no files of other steps, or is of before they were remembered
        return
    before = read_json(file)
    changed = [source for source, digest in found.items() if before.get(source, digest) != digest]
    if changed:
        raise UserError(
            f"it has learned from {some_of(changed)} with other settings: choose another "
            "--workdir, or give the values that the sweep was begun with"
        )


def _file(name: str, directory: pathlib.Path) -> pathlib.Path:
    return directory / "sources" / f"{name}.json"
