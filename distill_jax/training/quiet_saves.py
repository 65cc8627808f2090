"""Keep libraries from printing errors of a save that `Checkpoints` itself raises in one line."""

import logging
import sys

# orbax logs errors of its threads through absl; asyncio logs those that nobody waited for.
_LOGGERS = ("absl", "asyncio")
# A save that was killed left its directory; orbax removes it, so there is nothing to do.
_LEFT_BY_A_KILL = "Attempted to create temporary directory"


class _Quiet(logging.Filter):
    """Drops all errors during a save, and after it only those about a full disk; and the warning
    about what a kill has left."""

    def __init__(self):
        super().__init__()
        self.saving = False
        self.hook_before = sys.unraisablehook

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return _LEFT_BY_A_KILL not in record.getMessage()
        error = record.exc_info[1] if record.exc_info else ""
        return not (self.saving or says_disk_full(f"{record.getMessage()} {error}"))

    def unraisable(self, arguments: "sys.UnraisableHookArgs") -> None:
        if "Event loop is closed" not in str(arguments.exc_value):
            self.hook_before(arguments)


_quiet = _Quiet()  # there is one per process; adding it to a logger twice changes nothing
_hook = _quiet.unraisable


def begin() -> None:
    """Drop errors that the threads of a save print with a traceback.

    tensorstore's threads report them to an event loop that is already closed, and Python prints
    that as an exception that cannot be raised.
    """
    _quiet.saving = True
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet)
    if sys.unraisablehook is not _hook:
        _quiet.hook_before, sys.unraisablehook = sys.unraisablehook, _hook


def end(disk_full: bool) -> None:
    """The save is over. If the disk was full, drop errors about that until a later save succeeds:
    some are reported only when Python frees the objects of the save."""
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
