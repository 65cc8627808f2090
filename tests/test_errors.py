"""Exit codes and their one line."""

import errno
import gc
import os
import signal
import time

import jax.numpy as jnp
import pytest

from distill_jax import errors
from distill_jax.run_inputs import NOT_IDENTITY, NOT_IDENTITY_KEYS


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
def test_our_own_bugs_keep_their_traceback(error):
    with pytest.raises(type(error)):
        errors.run_command(lambda argv: fail(error), [])


def test_a_signal_in_a_callback_of_the_garbage_collector_is_not_lost(capsys):
    """jax registers one; Python forgets what is raised there."""
    sent = []

    def _xla_gc_callback(phase, info):
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)  # here the handler runs

    def work(argv):
        gc.callbacks.append(_xla_gc_callback)
        gc.collect()
        gc.callbacks.remove(_xla_gc_callback)
        time.sleep(20)

    try:
        assert errors.run_command(work, []) == errors.EXIT_INTERRUPTED
    finally:
        gc.callbacks[:] = [each for each in gc.callbacks if each is not _xla_gc_callback]
    assert sent and "Traceback" not in capsys.readouterr().err
