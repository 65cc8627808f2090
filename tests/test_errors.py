"""Exit codes and their one line."""

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import jax.numpy as jnp
import pytest

from distill_jax import errors
from distill_jax.settings.identity import NOT_IDENTITY, NOT_IDENTITY_KEYS

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGALRM


def outcome(action, capsys):
    code = errors.run_command(lambda argv: action(), [])
    return code, capsys.readouterr().err


def fail(error):
    raise error


def test_user_errors_are_one_line(capsys):
    code, text = outcome(lambda: fail(errors.UserError("a\nb")), capsys)
    assert (code, text) == (2, "error: a b\n")


def test_success_and_interruption(capsys):
    assert outcome(lambda: None, capsys) == (0, "")
    code, text = outcome(lambda: fail(errors.Interrupted()), capsys)
    assert code == 75 and text.count("\n") == 1


def test_a_signal_in_a_function_called_from_python():
    before, hook = [signal.getsignal(each) for each in SIGNALS], sys.unraisablehook
    for sent in (signal.SIGINT, signal.SIGTERM):
        saved = False
        with (
            pytest.raises(KeyboardInterrupt, match="call it again"),
            errors.signals_handled(),
            errors.signals_deferred(),
        ):
            os.kill(os.getpid(), sent)
            saved = errors.interrupted()  # the body goes on to where it can save
        assert saved
        assert [signal.getsignal(each) for each in SIGNALS] == before
        assert sys.unraisablehook is hook
    thread = threading.Thread(target=lambda: errors.signals_handled().__enter__())
    thread.start()
    thread.join()
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_disk_full_is_one_line(capsys):
    code, text = outcome(lambda: fail(OSError(errno.ENOSPC, "No space", "w/x")), capsys)
    assert (code, text.count("\n")) == (2, 1) and "w/x" in text


def test_out_of_memory_says_what_to_change_and_that_the_workdir_stays(capsys):
    def too_large():
        jnp.zeros((1 << 46,), jnp.float32).block_until_ready()

    code, text = outcome(too_large, capsys)
    assert code == 2 and text.count("\n") == 1
    assert text.startswith("error: out of memory") and "batch_size" not in text
    advised = ("train.accumulation", "train.remat", "sampling.slots")
    for key in advised:
        assert f"config.{key}" in text
        # What is advised must not make it another run, which the directory would refuse.
        assert key in NOT_IDENTITY_KEYS or key.startswith(NOT_IDENTITY)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), RuntimeError("ours"), KeyError(1)])
def test_our_own_bugs_keep_their_traceback(error, capsys):
    code, text = outcome(lambda: fail(error), capsys)
    assert code == 1 and text.startswith("Traceback") and "in fail" in text


def test_after_an_error_nobody_waits_for_threads():
    """Those of orbax wait for ever for a checkpoint that could not be begun."""
    script = (
        "import atexit, threading; from distill_jax import errors\n"
        "atexit.register(print, ' and closed', end='')\n"
        "threading.Thread(target=threading.Event().wait).start(); print('said', end='')\n"
        "errors.leave(errors.run_command(lambda argv: 1 / 0, []))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "said and closed")
    assert "ZeroDivisionError" in done.stderr


def test_an_argument_that_is_not_utf8_is_refused(capsys):
    assert errors.run_command(lambda argv: None, ["--workdir", os.fsdecode(b"\xff")]) == 2
    assert "argument '\\udcff' is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_where_python_forgets_what_is_raised_is_not_lost(times, capsys):
    """jax has a callback of the garbage collector; so has this test, and objects with __del__."""
    left = list(range(times))

    class Dying:
        def __del__(self):
            if left:
                left.pop()
                os.kill(os.getpid(), signal.SIGINT)

    def forgetful(phase, info):
        if left:
            left.pop()
            os.kill(os.getpid(), signal.SIGINT)

    def work(argv):
        gc.callbacks.append(forgetful)
        gc.collect()
        Dying()
        time.sleep(20)

    hook = sys.unraisablehook
    try:
        assert errors.run_command(work, []) == errors.EXIT_INTERRUPTED
    finally:
        gc.callbacks.remove(forgetful)
        sys.unraisablehook = hook
    assert not left and "Traceback" not in capsys.readouterr().err
