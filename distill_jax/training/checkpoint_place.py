"""config.checkpoint_dir: a directory of this machine, or one of Google Cloud Storage."""

import importlib.util
import re

from distill_jax.workdir import local_path, path_mistake

_BUCKET = re.compile(r"gs://[a-z0-9][^/]*(/.*)?")
_KEY = "config.checkpoint_dir"


def mistakes(directory: str) -> list[str]:
    """What is wrong with config.checkpoint_dir."""
    if _BUCKET.fullmatch(directory):
        if any(map(importlib.util.find_spec, ("gcsfs", "tensorflow"))):
            return []
        return [f"{_KEY}={directory} needs a package: pip install 'etils[epath-gcs]'"]
    found = path_mistake(directory, _KEY, "a local directory or gs://BUCKET/DIRECTORY")
    return [found] if found else []


def whole(directory: str) -> str:
    """The same place for every directory: absolute, with `~` expanded; "" stays ""."""
    if not directory or "://" in directory:
        return directory
    return str(local_path(directory, _KEY).absolute())
