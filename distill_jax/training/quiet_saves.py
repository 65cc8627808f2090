"""Keep libraries from printing what `Checkpoints` raises itself, in one line, when a save fails."""

import logging
import sys

# orbax logs through absl what goes wrong in its threads, asyncio what nobody waited for.
_LOGGERS = ("absl", "asyncio")


class _Quiet(logging.Filter):
    """Drops errors: during a save all of them, after it only those of a full disk."""

    def __init__(self):
        super().__init__()
        self.saving = False
        self.hook_before = sys.unraisablehook

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        error = record.exc_info[1] if record.exc_info else ""
        return not (self.saving or says_disk_full(f"{record.getMessage()} {error}"))

    def unraisable(self, arguments: "sys.UnraisableHookArgs") -> None:
        if "Event loop is closed" not in str(arguments.exc_value):
            self.hook_before(arguments)


_quiet = _Quiet()  # one of the process: adding it twice to a logger changes nothing
_hook = _quiet.unraisable


def begin() -> None:
    """Drop the errors that a save's threads print with a traceback.

    tensorstore's threads report each to an event loop that is closed by then, which Python prints
    as an exception that cannot be raised.
    """
    _quiet.saving = True
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet)
    if sys.unraisablehook is not _hook:
        _quiet.hook_before, sys.unraisablehook = sys.unraisablehook, _hook


def end(disk_full: bool) -> None:
    """The save is over. If the disk was full, go on dropping what says so until a later save ends
    well: some of it is reported only when Python collects what the save has left."""
    _quiet.saving = False
    if disk_full:
        return
    for name in _LOGGERS:
        logging.getLogger(name).removeFilter(_quiet)
    if sys.unraisablehook is _hook:
        sys.unraisablehook = _quiet.hook_before


def says_disk_full(text: str) -> bool:
    """Whether the text of an error of Python, tensorstore or Google Cloud says so."""
    return any(words in text for words in ("No space left", "RESOURCE_EXHAUSTED", "ENOSPC"))
