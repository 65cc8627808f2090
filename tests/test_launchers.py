"""The launchers of launch/ from end to end; executables stand in for ssh, gcloud and Slurm."""

import json
import shutil
import subprocess
import sys
import time

import pytest
from launch_scripts import LAUNCH, ROOT, calls, executable, program, script

# `ssh -n HOST COMMAND`: a directory per host is its home; `scp -q FILE HOST:` likewise.
SSH = """#!/usr/bin/env bash
cd {directory}/$2 && HOSTNAME=$2 exec bash -c "$3"
"""
SCP = """#!/usr/bin/env bash
cp "$2" {directory}/${{3%:}}/
"""


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def copy_of_launch(home):
    shutil.copytree(LAUNCH, home / "distill_jax/launch")
    return home / "distill_jax"


def test_in_the_background_start_status_stop(tmp_path):
    tree = copy_of_launch(tmp_path)
    given = {"PYTHON": str(program(tmp_path, "wait")), "CONFIG": "c.py", "WORKDIR": "w"}
    given["PATH"] = "/usr/bin:/bin"

    def background(*arguments, **more):
        return subprocess.run(
            ["launch/background.sh", *arguments], cwd=tree, env=given | more,
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    assert "nothing was started" in background("status").stderr
    assert "nothing is running" in background("stop").stderr
    half = background("start", WORKDIR="")
    assert half.returncode == 2 and "set WORKDIR" in half.stderr
    assert background("start", "--", "--config.seed=3").returncode == 0
    assert background("status").stdout.splitlines()[-1].endswith(": running")
    assert "already running" in background("start").stderr
    assert calls(tmp_path) == ["-m distill_jax.main --config c.py --workdir w --config.seed=3"]
    assert background("stop").returncode == 0
    wait_until(lambda: background("status").stdout.endswith("ended with exit code 75\n"))


def test_several_hosts_by_hand_get_a_number_each(tmp_path):
    executable(tmp_path / "bin/ssh", SSH.format(directory=tmp_path))
    executable(tmp_path / "bin/scp", SCP.format(directory=tmp_path))
    # Instead of making an environment: it takes a minute, and test_launch.py looks at its commands.
    for host in ("me@one", "two"):
        copy_of_launch(tmp_path / host)
        program(tmp_path / host, 0)
    given = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOSTS": "me@one two", "PYTHON": "../python",
        "CONFIG": "c.py", "WORKDIR": "w", "STORE": tmp_path / "store", "TMPDIR": tmp_path,
    }  # fmt: skip
    setup = script("hosts", "setup", **given)
    assert setup.returncode == 0, setup.stderr
    assert (tmp_path / "two/distill_jax/distill_jax/main.py").exists()  # the last commit
    for host in ("me@one", "two"):
        shutil.copytree(LAUNCH, tmp_path / host / "distill_jax/launch", dirs_exist_ok=True)
    run = script("hosts", "run", "--config.seed=3", **given)
    assert run.returncode == 0, run.stderr + run.stdout
    watch = script("hosts", "watch", "--watch_s=1", **given)
    # Twice for each in the last status; there are earlier ones if a host ended after the other.
    last = watch.stdout.rsplit("+ ssh -n ", 2)[1:]
    assert "".join(last).count("ended with exit code 0") == 4
    for number, host in enumerate(("me@one", "two")):
        assert calls(tmp_path / host) == [
            "-m distill_jax.main --config c.py --workdir w --config.distributed.processes=2 "
            f"--config.distributed.process={number} --config.distributed.coordinator=one:1234 "
            f"--config.checkpoint_dir={tmp_path}/store/checkpoints --config.seed=3"
        ]


def test_a_host_that_fails_is_not_overlooked(tmp_path):
    executable(tmp_path / "bin/ssh", '#!/bin/sh\n[ "$2" != two ] || exit 255\n')
    given = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOSTS": "one two three"}
    assert script("hosts", "stop", **given).returncode == 255


@pytest.mark.parametrize(
    ("code", "tasks", "requeued_before", "requeued"),
    [
        (0, 1, 0, False),
        (75, 1, 0, True),
        (134, 16, 0, True),
        (137, 16, 9, True),
        (75, 1, 10, False),
        (2, 16, 0, False),
        (1, 1, 0, False),
        (1, 16, 0, True),
    ],
)
def test_slurm_puts_the_job_into_the_queue_again(tmp_path, code, tasks, requeued_before, requeued):
    note = '#!/bin/sh\necho "$(basename "$0") $*" PROCESSES=$PROCESSES $MAX_RESTARTS >>'
    executable(tmp_path / "bin/srun", f"{note}{tmp_path}/calls\nexit {code}\n")
    executable(tmp_path / "bin/scontrol", f"{note}{tmp_path}/calls\n")
    copied = shutil.copy(LAUNCH / "slurm.sh", tmp_path / "slurm_script")  # as sbatch does
    done = subprocess.run(
        ["bash", copied, "--", "--config.seed=3"], cwd=tmp_path, capture_output=True, text=True,
        env={
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_JOB_ID": "77", "SLURM_NTASKS": str(tasks), "PYTHON": "python",
            "SLURM_RESTART_COUNT": str(requeued_before), "CONFIG": "c.py", "WORKDIR": "w",
        },
    )  # fmt: skip
    processes = "PROCESSES=0" if tasks > 1 else "PROCESSES="
    expected = [f"srun --kill-on-bad-exit=1 launch/run.sh -- --config.seed=3 {processes} 0"]
    if requeued:
        expected.append(f"scontrol requeue 77 {processes} 0")
    assert (done.returncode, calls(tmp_path)) == (code, expected), done.stderr


# The state of a TPU, one line per question; what its workers say, one line per question.
GCLOUD = """#!/usr/bin/env bash
echo "$*" >>{directory}/calls
next() {{ head -n 1 {directory}/$1; sed -i 1d {directory}/$1; }}
case "$*" in
  *describe*) next states ;;
  *"background.sh status"*) next statuses ;;
esac
"""


def test_a_tpu_that_was_taken_away_is_made_again_until_the_run_is_done(tmp_path):
    executable(tmp_path / "bin/gcloud", GCLOUD.format(directory=tmp_path))
    states = ["", "CREATING", "READY", "READY", "PREEMPTED", "READY", "READY", "READY"]
    (tmp_path / "states").write_text("".join(f"{state}\n" for state in states))
    ended = "h: ended with exit code"
    (tmp_path / "statuses").write_text(f"h: running\n{ended} 75\n{ended} 0\n")
    given = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "NAME": "t", "PROJECT": "p", "ZONE": "z",
        "ACCELERATOR_TYPE": "a", "RUNTIME_VERSION": "r", "SPOT": 1, "CONFIG": "c.py",
        "WORKDIR": "w", "STORE": "gs://b/d", "WATCH_S": 0, "TMPDIR": tmp_path,
    }  # fmt: skip
    done = script("tpu_vm", "keep", **given)
    assert done.returncode == 0, done.stderr
    kinds = ["create", "delete", "--setup_only", "background.sh start", "background.sh status"]
    did = [kind for call in calls(tmp_path) for kind in kinds if kind in call]
    make = ["create", "--setup_only", "background.sh start"]
    look = "background.sh status"
    again = ["delete", *make, look, "background.sh start", look]
    assert did == [*make, look, *again]
    assert "t is billed until you delete it" in done.stdout

    (tmp_path / "states").write_text("READY\n" * 2)
    (tmp_path / "statuses").write_text(f"{ended} 0\\n{ended} 2\n")
    done = script("tpu_vm", "keep", **given)
    assert done.returncode == 2 and "ended with exit code 2; t is billed" in done.stderr

    (tmp_path / "states").write_text("PREEMPTED\n" * 9)
    done = script("tpu_vm", "keep", "--retries=2", **given)
    assert done.returncode == 2 and "--retries are used up" in done.stderr
    assert sum(" create t" in call for call in calls(tmp_path)) == 2 + 2


def keep(*arguments):
    return subprocess.run(
        [sys.executable, LAUNCH / "keep_workdir.py", *map(str, arguments)], capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_store_is_like_the_working_directory_but_for_checkpoints(tmp_path):
    workdir, store, elsewhere = (tmp_path / name for name in ("w", "store", "other"))
    (workdir / "evaluations/a").mkdir(parents=True)
    files = {"metrics.jsonl": "1\n", "evaluations/a/partial-0.jsonl": "x"}
    for name, text in files.items():
        (workdir / name).write_text(text)
    keep("save", workdir, store)
    assert not store.exists()  # no config.json: not a run yet
    files["config.json"] = json.dumps({"seed": 0})
    (workdir / "config.json").write_text(files["config.json"])
    (workdir / "checkpoints/solver").mkdir(parents=True)
    (workdir / "checkpoints/solver/array").write_text("large")
    (workdir / ".lock").write_text("process 1")
    keep("save", workdir, store)
    assert contents(store) == files
    # Files that are gone, and an empty directory, which must not empty the store.
    (workdir / "evaluations/a/partial-0.jsonl").unlink()
    del files["evaluations/a/partial-0.jsonl"]
    keep("save", workdir, store)
    (tmp_path / "empty").mkdir()
    keep("save", tmp_path / "empty", store)
    assert contents(store) == files
    assert "2 files" in keep("restore", elsewhere, store)
    assert contents(elsewhere) == files
    (elsewhere / "metrics.jsonl").write_text("newer")
    assert keep("restore", elsewhere, store) == ""  # what is here stays
    assert (elsewhere / "metrics.jsonl").read_text() == "newer"
