"""The SHA-256 manifest of a checkpoint: whether it is complete, and whether it is undamaged.

Orbax does not notice flipped bits; the manifest does. It is the last file to be written.
"""

import hashlib
import json
from collections.abc import Collection
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
    """Whether any file of the checkpoint in `directory` has changed since it was written.

    The rest of a part that `drop` has begun to delete does not count.
    """
    written = _read(directory)
    return not written or written != _hashes(directory, _parts(written))


def has(directory: epath.Path, part: str) -> bool:
    """Whether the manifest of `directory` lists files of this part; False if it is damaged."""
    return part in _parts(_read(directory))


def write(directory: epath.Path) -> None:
    """Write the last file of a checkpoint: the SHA-256 of all other files."""
    _write(directory, _hashes(directory))


def drop(directory: epath.Path, part: str) -> None:
    """Delete a part of a complete checkpoint, which is complete without it at any moment.

    A checkpoint with a damaged manifest is not changed.
    """
    written = _read(directory)
    if part in _parts(written):
        kept = {name: digest for name, digest in written.items() if name.split("/")[0] != part}
        _write(directory, kept)
    if written and (directory / part).exists():
        (directory / part).rmtree()


def _read(directory: epath.Path) -> dict[str, str]:
    """{relative path: SHA-256}; empty if there is no manifest, or a damaged one."""
    try:
        return json.loads((directory / MANIFEST).read_text())
    except (ValueError, FileNotFoundError):
        return {}


def _parts(written: dict[str, str]) -> set[str]:
    """Directories that a manifest lists files of."""
    return {name.split("/")[0] for name in written if "/" in name}


def _write(directory: epath.Path, hashes: dict[str, str]) -> None:
    temporary = directory / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(hashes, indent=2) + "\n")
    temporary.replace(directory / MANIFEST)


def _hashes(directory: epath.Path, parts: Collection[str] | None = None) -> dict[str, str]:
    """SHA-256 of every file under `directory` except the manifest, by relative path; of directories
    only those in `parts` (None: all)."""
    hashes = {}
    for path in sorted(_files(directory)):
        name = path.relative_to(directory).as_posix()
        first, below, _ = name.partition("/")
        if MANIFEST not in name and (parts is None or not below or first in parts):
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
