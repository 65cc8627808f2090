"""The SHA-256 manifest of a checkpoint: whether it is complete, and whether it is undamaged.

Orbax does not notice flipped bits; the manifest does. It is the last file to be written.
"""

import hashlib
import json
from typing import Any

from etils import epath

MANIFEST = "manifest.json"


def complete_steps(directory: Any) -> list[int]:
    """Steps under `directory` that have a manifest, ascending."""
    directory = epath.Path(directory)
    if not directory.exists():
        return []
    return sorted(
        int(path.name)
        for path in directory.iterdir()
        if path.name.isdigit() and (path / MANIFEST).exists()
    )


def damaged(directory: epath.Path) -> bool:
    """Whether any file of the checkpoint in `directory` has changed since it was written."""
    try:
        written = json.loads((directory / MANIFEST).read_text())
    except (ValueError, FileNotFoundError):
        return True
    return written != _hashes(directory)


def write(directory: epath.Path) -> None:
    """Write the last file of a checkpoint: the SHA-256 of all other files."""
    temporary = directory / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(_hashes(directory), indent=2) + "\n")
    temporary.rename(directory / MANIFEST)


def _hashes(directory: epath.Path) -> dict[str, str]:
    """SHA-256 of every file under `directory` except the manifest, by relative path."""
    hashes = {}
    for path in sorted(_files(directory)):
        name = path.relative_to(directory).as_posix()
        if MANIFEST not in name:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
            hashes[name] = digest.hexdigest()
    return hashes


def _files(directory: epath.Path) -> list[epath.Path]:
    found = []
    for path in directory.iterdir():
        found += _files(path) if path.is_dir() else [path]
    return found
