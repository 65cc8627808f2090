"""`kill -9` at random moments of a process that only saves: between the last byte of a checkpoint,
its new name, its manifest and the deletion of older ones."""

import multiprocessing
import random
import time

import pytest
import save_often

from distill_jax.training import manifest

SECONDS = 60  # for a process to start and restore, on a busy machine
# Once, in the process that forks for each kill; `save_often` itself it would not find.
IMPORTED = ["orbax.checkpoint", "distill_jax.training.checkpoint", "distill_jax.training.step"]


@pytest.mark.parametrize(
    "kills", [pytest.param(5, id="few"), pytest.param(60, id="many", marks=pytest.mark.slow)]
)
def test_after_a_kill_all_complete_checkpoints_are_whole_and_the_best_is_there(kills, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    rng = random.Random(kills)
    directory = tmp_path / "s"
    newest = 0
    for _ in range(kills):
        ours, theirs = context.Pipe()
        process = context.Process(target=save_often.go_on, args=(directory, theirs))
        process.start()
        theirs.close()
        assert ours.poll(SECONDS), "the process did not start"
        restored = ours.recv()
        assert restored >= newest
        for _ in range(save_often.KEEP + 1):  # so that each save deletes
            assert ours.poll(SECONDS), "nothing was saved"
            newest = ours.recv()
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.join()
        while ours.poll():
            try:
                newest = ours.recv()
            except EOFError:
                break
        steps = manifest.complete_steps(directory)
        assert not [step for step in steps if manifest.damaged(directory / str(step))]
        assert steps[-1] >= newest
        assert len(steps) >= save_often.KEEP
        assert save_often.best_of(steps[-1]) in (0, *steps)
        left = sorted(path.name for path in directory.iterdir())
        print(f"killed at {newest}, complete {steps}, there {left}")
