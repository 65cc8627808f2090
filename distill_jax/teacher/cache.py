"""Every answer of a teacher, kept in a file that is only ever appended to.

One JSON object per line; a file per model:

    {"key": "5f0c...", "complete": true, "text": "Q: How many ...", "finish_reason": "stop",
     "prompt_tokens": 712, "completion_tokens": 85, "seconds": 1.9, "attempts": 1,
     "time": "2026-11-25T10:00:00+00:00", "request": {"model": ..., "messages": [...],
     "temperature": 0.7, ...}, "sample": 0, "prompt": "gsm8k/socratic", "prompt_hash": "..."}

An answer is found by its request and sample index, whatever the limit on its length was, because a
complete answer was not cut off. Answers that are not complete (cut off at max_tokens, stopped by a
content filter, empty) are kept for the record, and never used.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable
from typing import Any

from distill_jax.errors import UserError
from distill_jax.teacher.finish_reasons import incomplete
from distill_jax.workdir import local_path

# The names that servers have for the most tokens of an answer.
_LIMITS = (
    *("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens"),
    *("n_predict", "num_predict"),
)


def cache_key(request: dict[str, Any], sample: int) -> str:
    """SHA-256 of everything that a complete answer depends on, and of the number of the sample.

    That is everything that is sent, except the limit on the length. In chats the stop texts do not
    count either, because replies are cut here, and only earlier releases sent them.
    """
    ignored = (*_LIMITS, "stop") if "messages" in request else _LIMITS
    kept = {name: value for name, value in request.items() if name not in ignored}
    text = json.dumps([kept, sample], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """The answers of one model. A context manager: the file is locked inside.

    Only the places of the answers are in memory, about 100 bytes each.
    """

    def __init__(self, directory: str, model: str, say: Callable[[str], None]):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[-60:]
        digest = hashlib.sha256(model.encode()).hexdigest()[:8]
        folder = local_path(directory, "config.teacher.cache_dir")
        self.path = folder / f"{name}-{digest}.jsonl"
        self._say = say
        self._places: dict[bytes, int] = {}
        self._file: Any = None

    def __enter__(self) -> "AnswerCache":
        """Raises UserError if the directory cannot be written to, or another process has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that written answers survive if this process is killed.
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
        except OSError as error:  # Lustre without the mount option flock, some network disks
            self._file.close()
            raise UserError(
                f"{self.path}: files cannot be locked there ({error.strerror}): set "
                "--config.teacher.cache_dir to a directory on another disk"
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

    def get(self, request: dict[str, Any], sample: int) -> dict[str, Any] | None:
        """The complete answer to a request, or None."""
        place = self._places.get(bytes.fromhex(cache_key(request, sample)))
        if place is None:
            return None
        with open(self.path, "rb") as file:
            file.seek(place)
            return json.loads(file.readline())

    def put(self, answer: dict[str, Any]) -> None:
        """Append an answer with its "request", "sample" and whether it is "complete"."""
        line = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        place = self._file.seek(0, os.SEEK_END)
        written = self._file.write(line)
        while written < len(line):  # a disk that fills up, a signal
            written += self._file.write(line[written:])
        self._note(answer, place)

    def _note(self, answer: dict[str, Any], place: int) -> None:
        """Remember where a complete answer is.

        A later one replaces an earlier one, unless its finish_reason says that it is cut
        off or there is no text: earlier releases called such answers complete.
        """
        if not answer["complete"]:
            return
        key = bytes.fromhex(cache_key(answer["request"], answer["sample"]))
        if key not in self._places or (
            answer["text"].strip() and incomplete(answer["finish_reason"]) is None
        ):
            self._places[key] = place

    def _index(self) -> None:
        place = damaged = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    # The writer was killed in the middle of it; the next line must not be appended
                    # to it.
                    self._file.truncate(place)
                    self._say(f"{self.path}: the last line was torn and is removed")
                    break
                try:
                    self._note(json.loads(line), place)
                except (ValueError, KeyError, TypeError, AttributeError):
                    damaged += 1
                place += len(line)
        if damaged:
            self._say(f"{self.path}: {damaged} damaged lines are skipped (and asked for again)")
