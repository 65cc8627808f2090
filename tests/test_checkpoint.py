"""Checkpoints: bit for bit, damaged, of another shape, in the background, on a full disk."""

import gc
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import MODEL, OPTIMIZER, make_mesh

from distill_jax.errors import UserError
from distill_jax.model import gpt2, network
from distill_jax.training import checkpoint, step


def small_state(seed=0, model=MODEL):
    state = step.init_state(network.init_params(model, jax.random.key(seed)), OPTIMIZER)
    return state.replace(step=jnp.int32(seed))


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def assert_equal_states(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (np.asarray(left) == np.asarray(right)).all()


def saved(path, steps, keep, **more):
    kept = checkpoint.Checkpoints(path / "s", keep=keep)
    for number in steps:
        kept.save(number, small_state(number), **more)
    kept.wait()
    return kept


def wait_for_threads_to_end(number):
    """Until only `number` are left; those of asyncio end a moment after their event loop."""
    until = time.monotonic() + 10
    while threading.active_count() > number:
        assert time.monotonic() < until, [thread.name for thread in threading.enumerate()]
        gc.collect()
        time.sleep(0.05)


def test_what_a_killed_save_left_is_removed_without_a_word(tmp_path, caplog):
    left = tmp_path / "s" / "3.orbax-checkpoint-tmp" / "params"
    left.mkdir(parents=True)
    (left / "half").write_text("of it")
    kept = checkpoint.Checkpoints(tmp_path / "s", keep=1)
    kept.save(3, small_state(3))
    kept.close()
    assert kept.steps() == [3] and not left.exists() and caplog.text == ""


def test_checkpoints_come_back_bit_for_bit_and_old_ones_go(tmp_path):
    assert checkpoint.Checkpoints(tmp_path / "s", 2).restore_latest(abstract(small_state())) is None
    kept = saved(tmp_path, (1, 2, 3), keep=2)
    assert kept.steps() == [2, 3]
    found, state = kept.restore_latest(abstract(small_state()))
    assert found == 3
    assert_equal_states(state, small_state(3))
    assert_equal_states(
        kept.restore_params(2, abstract(small_state()).params), small_state(2).params
    )


def test_of_the_best_checkpoint_the_parameters_stay(tmp_path):
    kept = saved(tmp_path, (1, 2, 3, 4), keep=1, best_step=2)
    assert kept.steps() == [2, 4]
    assert [kept.resumable(step) for step in (2, 4)] == [False, True]
    assert not kept.damaged(2) and not (tmp_path / "s" / "2" / "training").exists()
    params = abstract(small_state()).params
    assert_equal_states(kept.restore_params(2, params), small_state(2).params)


def test_a_finished_student_keeps_parameters_whenever_it_is_killed(tmp_path, monkeypatch):
    kept = saved(tmp_path, (1, 2), keep=2)
    training = tmp_path / "s" / "1" / "training"
    with monkeypatch.context() as killed:

        def kill(path):
            (path / "_METADATA").unlink()
            raise KeyboardInterrupt

        killed.setattr(type(kept._directory), "rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.keep_parameters(tmp_path / "s")
    assert training.exists() and not kept.damaged(1) and not kept.resumable(1)
    assert kept.restore_latest(abstract(small_state()))[0] == 2
    checkpoint.keep_parameters(tmp_path / "s")
    checkpoint.keep_parameters(tmp_path / "s")
    assert not training.exists() and not any(map(kept.damaged, kept.steps()))
    for step_ in (1, 2):
        params = kept.restore_params(step_, abstract(small_state()).params)
        assert_equal_states(params, small_state(step_).params)
    with pytest.raises(UserError, match=r"or holds parameters only \(1, 2\): delete it"):
        kept.restore_latest(abstract(small_state()))
    (tmp_path / "s" / "2" / "params" / "_METADATA").write_text("")
    assert kept.damaged(2) and not kept.damaged(1)


def test_a_save_does_not_see_what_is_trained_after_it(tmp_path):
    """The step gives the state's memory away while the save still runs."""
    kept = checkpoint.Checkpoints(tmp_path / "s", keep=9)
    add = jax.jit(lambda x: jax.tree.map(lambda leaf: leaf + 1, x), donate_argnums=0)
    state = small_state()
    expected = {}
    for number in range(1, 6):
        state = add(state)
        expected[number] = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
        kept.save(number, state)
    kept.wait()
    for number, state in expected.items():
        params = kept.restore_params(number, abstract(small_state()).params)
        assert_equal_states(params, state.params)


@pytest.mark.parametrize("damage", ["bit", "truncated", "manifest"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(damage, tmp_path, caplog):
    kept = saved(tmp_path, (1, 2), keep=3)
    newest = tmp_path / "s" / "2"
    files = [p for p in (newest / "params").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    if damage == "manifest":
        largest = newest / checkpoint.MANIFEST
    content = bytearray(largest.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    else:
        content = content[: len(content) // 2]
    largest.write_bytes(content)
    found, state = kept.restore_latest(abstract(small_state()))
    assert found == 1 and "2 is damaged" in caplog.text
    assert_equal_states(state, small_state(1))
    with pytest.raises(UserError, match="2 is damaged"):
        kept.restore_params(2, abstract(small_state()).params)
    kept.save(2, small_state(2))  # training comes by again
    kept.wait()
    assert not kept.damaged(2)
    (tmp_path / "s" / "2" / checkpoint.MANIFEST).write_text("{}")
    largest = tmp_path / "s" / "1" / checkpoint.MANIFEST
    largest.write_text("{}")
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        kept.restore_latest(abstract(small_state()))


def test_what_a_kill_left_behind_goes_with_the_next_save(tmp_path):
    saved(tmp_path, (1, 2, 3, 4), keep=9)
    (tmp_path / "s" / "1" / checkpoint.MANIFEST).unlink()  # a deletion that was cut short
    torn = tmp_path / "s" / f"2{checkpoint.TEMPORARY}"
    torn.mkdir()
    (torn / "part").write_text("")
    (tmp_path / "s" / "4" / checkpoint.MANIFEST).unlink()
    (tmp_path / "s" / "notes").mkdir()
    saved(tmp_path, (5,), keep=2, best_step=2)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["2", "3", "5", "notes"]


def test_an_incomplete_checkpoint_is_not_looked_at_and_can_be_saved_again(tmp_path):
    kept = saved(tmp_path, (1, 2), keep=3)
    (tmp_path / "s" / "2" / checkpoint.MANIFEST).unlink()
    assert kept.steps() == [1]
    kept.save(2, small_state(2))
    kept.wait()
    assert kept.restore_latest(abstract(small_state()))[0] == 2


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    kept = saved(tmp_path, (1,), keep=1)
    wider = gpt2.GPT2Config(vocab_size=128, context=32, layers=2, heads=2, width=32)
    with pytest.raises(UserError, match=r"params/h_0/attn/c_attn/bias is float32\[3, 2, 8\], now"):
        kept.restore_latest(abstract(small_state(model=wider)))
    deeper = gpt2.GPT2Config(vocab_size=128, context=32, layers=3, heads=2, width=16)
    with pytest.raises(UserError, match=r"params/h_2/.* is missing, now .* and \d+ more"):
        kept.restore_latest(abstract(small_state(model=deeper)))


def test_another_mesh_reads_what_one_device_wrote(tmp_path):
    kept = saved(tmp_path, (1,), keep=1)
    mesh = make_mesh((2, 2, 2))
    found, state = kept.restore_latest(step.abstract_state(mesh, MODEL, OPTIMIZER))
    assert found == 1
    assert_equal_states(state, small_state(1))
    assert len(state.params["wte"]["embedding"].sharding.device_set) == 8


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts open files in /proc")
def test_restoring_leaves_no_thread_and_no_open_file_even_without_close(tmp_path):
    saved(tmp_path, (1,), keep=1).close()
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(4):
        reader = checkpoint.Checkpoints(tmp_path / "s", keep=1)
        reader.restore_params(1, abstract(small_state()).params)
        del reader
    wait_for_threads_to_end(threads)
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_place_that_cannot_be_written_to_is_one_line_and_the_process_ends(tmp_path):
    """In a process of its own, since the threads of such a save wait for ever."""
    (tmp_path / "file").write_text("")
    script = (
        "import sys, test_checkpoint as t\n"
        "from distill_jax import errors\n"
        "save = lambda argv: t.saved(t.pathlib.Path(argv[0]), (1,), keep=1)\n"
        "errors.leave(errors.run_command(save, sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "file"],
        cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"error: {tmp_path}/file") and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_older_checkpoints_stay(tmp_path, capfd, caplog):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk])
    if mounted.returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    hook, threads = sys.unraisablehook, threading.active_count()
    try:
        kept = checkpoint.Checkpoints(disk / "s", keep=100)
        with pytest.raises(UserError, match=r"no space left on the disk of .*older checkpoints"):
            for number in range(1, 60):
                kept.save(number, small_state(number))
                kept.wait()
        steps = kept.steps()
        assert steps and not any(kept.damaged(number) for number in steps)
        with pytest.raises(UserError, match="no space left"):
            kept.save(60, small_state(60))
            kept.close()
        del kept
        gc.collect()  # reports what nobody has waited for
        assert capfd.readouterr().err == "" and caplog.text == ""  # we raise what went wrong
        wait_for_threads_to_end(threads)
        for name in ("absl", "asyncio"):
            logging.getLogger(name).error("another mistake")
        assert caplog.text.count("another mistake") == 2
        assert sum(len(logging.getLogger(name).filters) for name in ("absl", "asyncio")) == 2
        for number in steps[:-1]:
            shutil.rmtree(disk / "s" / str(number))
        kept = checkpoint.Checkpoints(disk / "s", keep=1)
        kept.save(61, small_state(61))
        kept.close()
        assert kept.steps() == [61] and not kept.damaged(61)
        assert not logging.getLogger("absl").filters and not logging.getLogger("asyncio").filters
        assert sys.unraisablehook is hook
    finally:
        sys.unraisablehook = hook
        subprocess.run(["umount", "-l", disk], check=True)
        shutil.rmtree(disk, ignore_errors=True)
