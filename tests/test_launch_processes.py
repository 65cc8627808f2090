"""launch/run.sh with the real program: killed workers and lost machines, until it is done."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from experiment_runs import TINY, environment
from launch_scripts import LAUNCH, shown
from test_launch_commands import COMPUTE, TPU_VM
from test_processes import free_port

ARGUMENTS = [
    *TINY[1:],
    "--config.scheme=chain",
    "--config.mesh.data=-1",
    "--config.distributed.heartbeat_timeout_s=10",
]


def start(directory, number="", *more, **given):
    """run.sh as on a host of its own, with its own working directory; its output goes to a file."""
    output = open(directory / f"output{number}", "a")  # noqa: SIM115
    variables = {
        "PYTHON": sys.executable, "CONFIG": "configs/demo.py", "PAUSE_S": "2", "COPY_EVERY_S": "1",
        "WORKDIR": str(directory / f"w{number}"), "STORE": str(directory / "store"),
    }  # fmt: skip
    return subprocess.Popen(
        [LAUNCH / "run.sh", "--", *ARGUMENTS, *more],
        env=environment() | variables | {key: str(value) for key, value in given.items()},
        stdout=output, stderr=output,
    )  # fmt: skip


def program_of(runner):
    """The process number of the program that `runner` waits for."""
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            line = (path.parent / "cmdline").read_bytes()
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == runner.pid and b"distill_jax.main" in line:
            return int(path.parent.name)
    return None


def wait_for(condition, runners, directory, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert all(runner.poll() is None for runner in runners), said(directory)
        assert time.monotonic() < deadline, said(directory)
        time.sleep(0.02)


def said(directory):
    return {path.name: path.read_text()[-2000:] for path in directory.glob("output*")}


def checkpointed(directory):
    return any((directory / "store/checkpoints/solver").glob("*/manifest.json"))


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_end_with_0(tmp_path):
    given = {"PROCESSES": 2, "COORDINATOR": f"127.0.0.1:{free_port()}"}
    steps = "--config.train.steps=300"
    runners = [start(tmp_path, number, steps, PROCESS=number, **given) for number in (0, 1)]
    try:
        wait_for(lambda: checkpointed(tmp_path), runners, tmp_path)
        os.kill(program_of(runners[1]), signal.SIGKILL)
        assert [runner.wait(timeout=150) for runner in runners] == [0, 0], said(tmp_path)
    finally:
        for runner in runners:
            runner.terminate()
    output = [(tmp_path / f"output{number}").read_text() for number in (0, 1)]
    assert "launch: exit code 137: running again in 2 s (1 of 10)" in output[1]
    # The one that was left noticed that its peer is gone, and went on with it from a checkpoint.
    assert re.search(r"launch: exit code (134|1): running again", output[0]), output[0]
    resumed = [int(step) for step in re.findall(r"going on from step (\d+)", output[0])]
    assert resumed and 0 < resumed[-1] < 300
    assert json.loads((tmp_path / "w0/report.json").read_text())["n"] == 12
    assert json.loads((tmp_path / "w0/environment.json").read_text())["processes"] == 2
    assert not (tmp_path / "w1/config.json").exists()  # only process 0 writes, and is copied
    assert (tmp_path / "store/workdir/report.html").exists()


@pytest.mark.slow
def test_a_machine_that_is_lost_with_its_disk_is_replaced(tmp_path):
    runner = start(tmp_path, "", "--config.train.steps=300")
    kept = tmp_path / "store/workdir/training_data.json"
    wait_for(lambda: checkpointed(tmp_path) and kept.exists(), [runner], tmp_path)
    os.kill(program_of(runner), signal.SIGKILL)
    runner.kill()
    runner.wait()
    # At once: what copies the directory may still run, and must not see a part of it.
    (tmp_path / "w").rename(tmp_path / "lost")
    replaced = start(tmp_path, "", "--config.train.steps=300")
    assert replaced.wait(timeout=120) == 0, said(tmp_path)
    output = (tmp_path / "output").read_text()
    assert "/store/workdir are in" in output and "going on from step" in output
    assert json.loads((tmp_path / "w/report.json").read_text())["n"] == 12


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcloud"), reason="the Google Cloud CLI is not installed")
def test_gcloud_knows_every_command_and_flag(tmp_path):
    """Nothing is reached: no account, no metadata server, and a closed port as the address."""
    closed = "http://127.0.0.1:9/"
    nowhere = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "c"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU": closed,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": closed,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": closed,
    }  # fmt: skip
    one = COMPUTE | {"HOSTS": 1}
    commands = [
        command
        for name, given, actions in (
            ("tpu_vm", TPU_VM | {"SPOT": 1}, ["create", "keep", "fetch", "delete"]),
            ("tpu_vm", TPU_VM | {"QUEUED": 1}, ["keep", "delete"]),
            ("tpu_vm", TPU_VM | {"STORE": ""}, ["fetch"]),
            ("tpu_compute", COMPUTE | {"SPOT": 1}, ["keep", "delete"]),
            ("tpu_compute", COMPUTE | {"RESERVATION": "r"}, ["create"]),
            ("tpu_compute", one, ["keep", "delete"]),
            ("tpu_compute", one | {"STORE": ""}, ["fetch"]),
        )
        for action in actions
        for command in shown(name, action, **given)
    ]
    commands = sorted({command for command in commands if command.startswith("gcloud ")})
    assert len(commands) > 20
    for command in [*commands, commands[0] + " --no-such-flag"]:
        done = subprocess.run(
            shlex.split(command), env=nowhere, capture_output=True, text=True, timeout=60
        )
        assert done.returncode != 0
        known = "do not currently have an active account selected" in done.stderr
        assert known != command.endswith("--no-such-flag"), command + "\n" + done.stderr
