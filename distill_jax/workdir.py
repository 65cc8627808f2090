"""Names inside a working directory, the lock on it, its identity, and atomic writes."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from distill_jax.errors import UserError

FORMAT_VERSION = 7
_DAMAGED = "the file is damaged: put back a copy, or delete what it belongs to and start it again"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # gs://bucket/run, file:///tmp/run


def local_path(name: str | os.PathLike[str], key: str) -> pathlib.Path:
    """The path on this machine that the user gave as `key`, such as --workdir; a `~` at its
    beginning is the home directory. Raises UserError as `path_mistake` describes."""
    if mistake := path_mistake(name, key):
        raise UserError(mistake)
    return pathlib.Path(name).expanduser()


LOCAL = "a path on this machine (only config.checkpoint_dir may be gs://BUCKET/DIRECTORY)"


def path_mistake(name: str | os.PathLike[str], key: str, expected: str = LOCAL) -> str:
    """What is wrong with the path that the user gave as `key`; "" if nothing is.

    An address such as gs://BUCKET/RUN is wrong: it would become a directory called `gs:`.
    """
    text = os.fspath(name)
    if _ADDRESS.match(text):
        return f"{key}={text}: {expected} is expected"
    try:
        text.encode()
        pathlib.Path(text).expanduser()
    except UnicodeEncodeError:
        return f"{key}={text!r} is not UTF-8: choose another name"
    except RuntimeError:
        return f"{key}={text}: this user has no home directory here: write the whole path"
    return ""


def write_text(path: pathlib.Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part."""
    write_parts(path, (text,))


def write_parts(path: pathlib.Path, parts: Iterable[str]) -> None:
    """`write_text` of a text that need not be held as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            for part in parts:
                file.write(_encoded(part, path))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def some_of(items: Sequence[str], count: int = 4) -> str:
    """The first `count` of `items`, and how many more there are."""
    more = f"; and {len(items) - count} more" if len(items) > count else ""
    return "; ".join(items[:count]) + more


class Workdir:
    """One run's directory; docs/working_directory.md lists its files."""

    def __init__(self, path: str | os.PathLike[str]):
        """Raises UserError if `path` is not one of this machine."""
        self.path = local_path(path, "--workdir")
        self.config = self.path / "config.json"
        self.format_version = self.path / "format_version"
        self.environment = self.path / "environment.json"
        self.log = self.path / "log.jsonl"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.tracking_id = self.path / "tracking_id"
        self.profile = self.path / "profile"
        self.tokenizer = self.path / "tokenizer"
        self.annotations = self.path / "annotations.jsonl"
        self.dev_annotations = self.path / "annotations.dev.jsonl"
        self.rejected_annotations = self.path / "annotations.rejected.jsonl"
        self.overlaps = self.path / "annotations.overlaps.jsonl"
        self.summary = self.path / "annotations.summary.json"
        self.preferences = self.path / "preferences.jsonl"
        self.dev_preferences = self.path / "preferences.dev.jsonl"
        self.training_data = self.path / "training_data.json"
        self.parity_test_selection = self.path / "parity_test_selection.json"
        self.checkpoints = self.path / "checkpoints"
        self.rollouts = self.path / "rollouts"
        self.evaluations = self.path / "evaluations"
        self.report_json = self.path / "report.json"
        self.report_html = self.path / "report.html"

    @contextlib.contextmanager
    def locked(self) -> Iterator[IO[str]]:
        """Hold the directory for this process; raises UserError if another one holds it.

        The kernel drops the lock when this process, and all to which it passed the returned file,
        have ended for any reason. If the directory was made for the lock and is still empty, it is
        deleted again.
        """
        try:
            made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UserError(f"--workdir={self.path}: {reason}: choose another") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise UserError(
                    f"--workdir={self.path} is in use by {owner}: wait for it, or choose another"
                ) from None
            except OSError as error:  # Lustre without the mount option flock, some network disks
                self._forget(made)
                raise UserError(
                    f"--workdir={self.path}: files cannot be locked there ({error.strerror}): "
                    "choose a directory on another disk; only config.checkpoint_dir may be there"
                ) from None
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()}")
            file.flush()
            try:
                yield file
            finally:
                self._forget(made)

    def _forget(self, made: bool) -> None:
        """Delete a directory that was made for the lock and has nothing else."""
        if made and [path.name for path in self.path.iterdir()] == [".lock"]:
            (self.path / ".lock").unlink()
            self.path.rmdir()

    def write_config(self, config: dict[str, Any], identity: dict[str, Any]) -> None:
        """Keep `config` in the directory; refuse if it holds a run of another identity.

        Keys outside `identity` may differ from run to run; the file has the newest values.
        """
        if self.config.exists():
            self.check_identity(identity)
        write_text(self.format_version, f"{FORMAT_VERSION}\n")
        write_json(self.config, {"config": config, "identity": identity})

    def stored_config(self) -> dict[str, Any]:
        """The config of the run in this directory; UserError if there is none."""
        stored = read_json(self.config)
        self.check_version()
        return stored["config"]

    def check_identity(self, identity: dict[str, Any]) -> None:
        """Raise UserError naming keys in which `identity` differs from the run's.

        `identity` is the flat part of the config that determines the students: data, students,
        optimizer, scheme, seed.
        """
        different = self.differences(identity)
        if different:
            raise UserError(
                f"--workdir={self.path} holds another run ({some_of(different)}): "
                "choose another --workdir, or the old values"
            )

    def differences(self, identity: dict[str, Any]) -> list[str]:
        """["config.seed was 0, now 1", ...]: every key in which `identity` differs from the run's.

        Raises UserError if the directory has a format that this code does not read.
        """
        self.check_version()
        stored = read_json(self.config)["identity"]
        missing = "(not set)"
        keys = [
            key
            for key in stored.keys() | identity.keys()
            if stored.get(key, missing) != identity.get(key, missing)
        ]
        # Keys that both have come first; those of a student that one run lacks follow from them.
        keys.sort(key=lambda key: (key not in stored or key not in identity, key))
        return [
            f"config.{key} was {stored.get(key, missing)!r}, now {identity.get(key, missing)!r}"
            for key in keys
        ]

    def hashes(self) -> dict[str, str]:
        """{name: SHA-256} of the files that students are made from, as far as they exist."""
        paths = (
            self.annotations,
            self.dev_annotations,
            self.preferences,
            self.tokenizer / "tokenizer.json",
        )
        return {str(path.relative_to(self.path)): _sha256(path) for path in paths if path.exists()}

    def clear(self) -> None:
        """Delete what a run without checkpoints has written, except its log of messages."""
        # annotations.jsonl before the other files, because it shows that they are complete; the
        # config last, because without it nobody could tell after a crash which run the others
        # belong to.
        for path in (
            self.annotations,
            self.dev_annotations,
            self.rejected_annotations,
            self.overlaps,
            self.summary,
            self.preferences,
            self.dev_preferences,
            self.training_data,
            self.parity_test_selection,
            self.metrics,
            self.tracking_id,
        ):
            path.unlink(missing_ok=True)
        for directory in (self.tokenizer, self.tensorboard, self.profile, self.rollouts):
            shutil.rmtree(directory, ignore_errors=True)
        self.config.unlink()

    def check_version(self) -> None:
        """Raise UserError if the directory was written in a format this code does not read."""
        path = self.format_version
        version = path.read_text(errors="replace").strip() if path.exists() else "?"
        if version != str(FORMAT_VERSION):
            raise UserError(
                f"{self.path} has format version {version}, this code reads {FORMAT_VERSION}: "
                "use the release that wrote it, or start a new --workdir"
            )


def _encoded(text: str, path: pathlib.Path) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        half = text[max(0, error.start - 30) : error.end]
        raise UserError(
            f"{path} cannot be written: half a character in {half!r}: remove it where it comes from"
        ) from None


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Stored(dict[str, Any]):
    """An object in a file that this project wrote: what it lacks, it was damaged by."""

    path: pathlib.Path

    def __missing__(self, key: str) -> Any:
        raise UserError(f"{self.path}: {key!r} is missing: {_DAMAGED}")


def read_facts(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """training_data.json, {student: facts}; raises as `read_json` does."""
    facts = read_json(path)
    for student, each in facts.items():
        if not isinstance(each, dict):
            raise UserError(f"{path}: {student!r} is not an object: {_DAMAGED}")
    return facts


def read_json(path: pathlib.Path) -> Any:
    """The object in a JSON file that this project wrote; UserError if the file is missing or
    damaged, and later if a key is looked up that the object, or one inside it, lacks."""

    def stored(value: dict[str, Any]) -> _Stored:
        made = _Stored(value)
        made.path = path
        return made

    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_hook=stored)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file: is this the directory of a run?") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg}): {_DAMAGED}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or numbers and depths of no file
        raise UserError(f"{path} cannot be read ({error}): {_DAMAGED}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is expected: {_DAMAGED}")
    return value
