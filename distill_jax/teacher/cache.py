"""Every answer of a teacher, kept in a file that is only ever appended to.

One JSON object per line; a file per model:

    {"key": "5f0c...", "complete": true, "text": "Q: How many ...", "finish_reason": "stop",
     "prompt_tokens": 712, "completion_tokens": 85, "seconds": 1.9, "attempts": 1,
     "time": "2026-11-25T10:00:00+00:00", "request": {"model": ..., "messages": [...],
     "temperature": 0.7, ...}, "sample": 0, "prompt": "gsm8k/socratic", "prompt_hash": "..."}

The key is the SHA-256 of request and sample index. Answers that are not complete (cut off at
max_tokens, stopped by a content filter) are kept for the record, and never used.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

from distill_jax.errors import UserError


def cache_key(request: dict[str, Any], sample: int) -> str:
    """SHA-256 of everything that is sent, and of which of several samples it is."""
    text = json.dumps([request, sample], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """The answers of one model. A context manager: the file is locked inside.

    Only the places of the answers are held in memory, some 100 bytes each.
    """

    def __init__(self, directory: str, model: str, say: Callable[[str], None]):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[-60:]
        digest = hashlib.sha256(model.encode()).hexdigest()[:8]
        self.path = pathlib.Path(directory).expanduser() / f"{name}-{digest}.jsonl"
        self._say = say
        self._places: dict[bytes, int] = {}
        self._file: Any = None

    def __enter__(self) -> "AnswerCache":
        """Raises UserError where the directory cannot be written to, or another process has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what is written survives the death of this process.
            self._file = open(self.path, "a+b", buffering=0)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UserError(f"{self.path}: {reason}: set --config.teacher.cache_dir") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UserError(
                f"{self.path} is in use by another process: wait for it, or set another "
                "--config.teacher.cache_dir"
            ) from None
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def __len__(self) -> int:
        """How many complete answers there are."""
        return len(self._places)

    def get(self, key: str) -> dict[str, Any] | None:
        """The complete answer to a request, or None."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        with open(self.path, "rb") as file:
            file.seek(place)
            return json.loads(file.readline())

    def put(self, answer: dict[str, Any]) -> None:
        """Append an answer with its "key" and whether it is "complete"."""
        line = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        place = self._file.seek(0, os.SEEK_END)
        written = self._file.write(line)
        while written < len(line):  # a disk that fills up, a signal
            written += self._file.write(line[written:])
        if answer["complete"]:
            self._places[bytes.fromhex(answer["key"])] = place

    def _index(self) -> None:
        place = damaged = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    # The writer was killed in the middle of it: the next line must not follow it.
                    self._file.truncate(place)
                    self._say(f"{self.path}: the last line was torn and is removed")
                    break
                try:
                    row = json.loads(line)
                    key = bytes.fromhex(row["key"])
                    if row["complete"]:
                        self._places[key] = place
                except (ValueError, KeyError, TypeError):
                    damaged += 1
                place += len(line)
        if damaged:
            self._say(f"{self.path}: {damaged} damaged lines are passed over (asked for again)")
