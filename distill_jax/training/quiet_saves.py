"""Keep libraries from printing what `Checkpoints` raises itself, in one line, when a save fails."""

import logging
import sys
from collections.abc import Callable

# orbax logs through absl what goes wrong in its threads, asyncio what nobody waited for.
_LOGGERS = ("absl", "asyncio")


def silence() -> Callable[[], None]:
    """Drop the errors that a save's threads print with traceback; the result ends that.

    tensorstore's threads report each to an event loop that is closed by then, which Python prints
    as an exception that cannot be raised.
    """

    def below_error(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    def unraisable(arguments: "sys.UnraisableHookArgs") -> None:
        if "Event loop is closed" not in str(arguments.exc_value):
            before(arguments)

    for name in _LOGGERS:
        logging.getLogger(name).addFilter(below_error)
    before, sys.unraisablehook = sys.unraisablehook, unraisable

    def speak() -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(below_error)
        sys.unraisablehook = before

    return speak
