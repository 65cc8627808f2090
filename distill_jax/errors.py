"""Errors a user can cause, and how a command turns them into one line and an exit code.

Exit codes: 0 done or nothing left to do; 2 the user must change something first; 1 our bug, or a
server or peer that is gone; 75 (EX_TEMPFAIL) interrupted with the state saved: run the same
command again.
"""

import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

EXIT_BUG = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 75


class UserError(Exception):
    """Something the user must change first. The message is one line: what, where, the remedy."""

    def _render_traceback_(self) -> list[str]:
        """The text that IPython shows, so that notebooks also end with one line."""
        return [f"error: {' '.join(str(self).split())}"]


class NoSplit(UserError):
    """A task has no split of this name. Its load() raises it, so a split can be tried."""


# Errors of the system: no room, no permission, a place of another kind. The user can mend them all.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_WRONG_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EFBIG),
)


def of_the_system(error: OSError, place: str = "") -> UserError | None:
    """One line for an error of files that the user can mend, about the file or else `place`; None
    for any other."""
    where = error.filename or place
    if error.errno in _NO_ROOM:
        return UserError(
            f"no space left on the disk of {where or 'the working directory'}: free some"
        )
    if error.errno in _WRONG_PLACE and where:
        return UserError(
            f"{where}: {error.strerror}: make it possible to write there, or choose another place"
        )
    return None


class PeerGone(Exception):
    """A server or process that is gone; nobody here did anything wrong. The message is one line."""


class Interrupted(SystemExit):
    """SIGINT or SIGTERM arrived. Leaves with exit code 75 wherever it is not caught."""

    def __init__(self) -> None:
        super().__init__(EXIT_INTERRUPTED)


class _Signals:
    """The state of the handler: whether a step is running that must not be interrupted."""

    deferred = False
    pending = False


def _handle(signum: int, frame: object) -> None:
    del signum, frame
    first, _Signals.pending = not _Signals.pending, True
    # The second signal always leaves at once, so that nobody has to reach for `kill -9`.
    if not (_Signals.deferred and first):
        raise Interrupted()


def _handle_again(signum: int, frame: object) -> None:
    del signum, frame
    if not _Signals.deferred:  # the deferring code checks `interrupted()`
        raise Interrupted()


def _not_forgotten(unraisable: Any) -> None:
    """Python prints and forgets what is raised in callbacks of the garbage collector, where jax has
    one, and in `__del__`: an interruption comes again a moment later."""
    if isinstance(unraisable.exc_value, Interrupted):
        signal.setitimer(signal.ITIMER_REAL, 0.02)
    else:
        sys.__unraisablehook__(unraisable)


def interrupted() -> bool:
    """True after a signal arrived inside `signals_deferred`: save, then raise `Interrupted`."""
    return _Signals.pending


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Inside, a first signal only sets `interrupted()`; the body checks it when it can save.

    A handler does run during XLA compilation, where nothing needs saving: compile outside of this
    block, so that a signal leaves at once.
    """
    _Signals.deferred = True
    try:
        yield
    finally:
        _Signals.deferred = False
    if _Signals.pending:
        raise Interrupted()


def handle_signals() -> None:
    """Handle SIGINT and SIGTERM as described above.

    Call this again after a library has taken them over: jax.distributed takes SIGTERM.
    """
    signal.signal(signal.SIGINT, _handle)
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGALRM, _handle_again)
    sys.unraisablehook = _not_forgotten


@contextlib.contextmanager
def signals_handled() -> Iterator[None]:
    """For a long function that is called from Python: inside, signals are handled as in a command;
    an interruption leaves as KeyboardInterrupt, and the handlers from before are put back.

    Outside of the main thread, where Python has no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    before, hook = [signal.getsignal(each) for each in signals], sys.unraisablehook
    handle_signals()
    _Signals.pending = False
    try:
        yield
    except Interrupted:
        raise KeyboardInterrupt("what is done is saved: call it again to continue") from None
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
        sys.unraisablehook = hook


def run_command(main: Callable[[list[str]], None], argv: list[str]) -> int:
    """Run `main(argv)` and return the exit code described above; one line for user errors."""
    handle_signals()
    _Signals.pending = False
    try:
        for argument in argv:
            _check_unicode(argument)
        main(argv)
        return 0
    except UserError as error:
        line = " ".join(str(error).split("\n"))
        print(f"error: {line}", file=sys.stderr)
        return EXIT_USER
    except PeerGone as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BUG
    except Interrupted:
        print("interrupted: run the same command again to continue", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`... | head`), so nothing can be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BUG
    except OSError as error:
        if (readable := of_the_system(error)) is None:
            return _our_bug(error)
        print(f"error: {readable}", file=sys.stderr)
        return EXIT_USER
    except RuntimeError as error:  # XlaRuntimeError: its class is not worth importing jax for
        if "RESOURCE_EXHAUSTED" not in str(error):
            return _our_bug(error)
        line = str(error).split("\n")[0][:200]
        print(
            f"error: out of memory ({line}): to train, raise config.train.accumulation or set "
            "config.train.remat=True; to evaluate, lower config.sampling.slots; then run the same "
            "command again (--workdir can stay)",
            file=sys.stderr,
        )
        return EXIT_USER
    except Exception as error:
        return _our_bug(error)


def _check_unicode(argument: str) -> None:
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UserError(f"argument {argument!r} is not UTF-8: write it in UTF-8") from None


def _our_bug(error: Exception) -> int:
    """Print the traceback."""
    sys.excepthook(type(error), error, error.__traceback__)
    return EXIT_BUG


def leave(code: int) -> NoReturn:
    """End the process with `code`; after an interruption without tearing the interpreter down.

    A compilation or an input pipeline may still run in other threads, and these crash (segmentation
    fault) if the interpreter ends before them. After an error threads are not waited for either:
    those of a checkpoint that could not be begun would wait for ever.
    """
    main = threading.main_thread()
    waiting = any(thread is not main and not thread.daemon for thread in threading.enumerate())
    if code and code != EXIT_INTERRUPTED and waiting:
        atexit._run_exitfuncs()  # those of jax.distributed end together
    if code == EXIT_INTERRUPTED or (code and waiting):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
