"""Several real processes on this machine, as on several hosts: gloo between them, one workdir."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from experiment_runs import QUICK_COMPILATION, ROOT, TINY, command, curve, environment, run

ARGUMENTS = [
    *TINY,
    "--config.scheme=chain",
    "--config.train.eval_every=20",
    "--config.mesh.fsdp=2",
    "--config.mesh.data=-1",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(count, workdir, *more, devices=2, module="main", arguments=ARGUMENTS):
    """`count` processes of one run, with `devices` devices each."""
    port = free_port()
    flags = f"{QUICK_COMPILATION} --xla_force_host_platform_device_count={devices}"
    return [
        subprocess.Popen(
            command(
                module, *arguments, "--workdir", workdir,
                f"--config.distributed.processes={count}",
                f"--config.distributed.process={number}",
                f"--config.distributed.coordinator=127.0.0.1:{port}",
                "--config.distributed.heartbeat_timeout_s=10", *more,
            ),
            cwd=ROOT, env=environment(flags),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip


# "[Gloo] Rank 1 is connected to 1 peer ranks. Expected number of connected peer ranks is : 1"
GLOO = r"(\[Gloo\]|Rank|is|connected|to|peer|ranks\.?|Expected|number|of|:|\d+)+"


def finish(processes, timeout=600):
    outputs = [process.communicate(timeout=timeout) for process in processes]
    return [process.returncode for process in processes], outputs


def wait_for_step(workdir, step, processes, student="solver"):
    metrics = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not metrics.exists() or f'"step": {step}, "train/{student}/' not in metrics.read_text():
        assert all(p.poll() is None for p in processes), finish(processes)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_same_curves(one, other):
    for name in ("train/solver/loss", "dev/solver/loss", "train/solver/grad_norm"):
        a, b = curve(one, name), curve(other, name)
        assert [step for step, _ in a] == [step for step, _ in b] and a
        for (_, x), (_, y) in zip(a, b, strict=True):
            assert x == pytest.approx(y, rel=2e-4, abs=1e-5), name
    assert curve(one, "train/solver/tokens") == curve(other, "train/solver/tokens")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone") / "w"
    done = run("main", *ARGUMENTS, "--config.mesh.fsdp=1", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one_does(alone, tmp_path):
    codes, outputs = finish(start(2, tmp_path / "w"))
    assert codes == [0, 0], outputs
    # Only process 0 speaks. Gloo's threads write their sentence in pieces, in any order.
    said = re.findall(r"\S+", outputs[1][0])
    assert [word for word in said if not re.fullmatch(GLOO, word)] == []
    assert_same_curves(tmp_path / "w", alone)
    for series in ("solver", "evaluation"):  # only process 0 writes
        assert len(list((tmp_path / "w" / "tensorboard" / series).iterdir())) == 1
    whole = json.loads((alone / "report.json").read_text())
    both = json.loads((tmp_path / "w" / "report.json").read_text())
    assert both["n"] == whole["n"] == 12
    assert json.loads((tmp_path / "w" / "environment.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_two_processes_share_an_evaluation_and_one_goes_on_with_it(alone, tmp_path):
    settings = [
        "--config.sampling.samples=8", "--config.sampling.temperature=1.0",
        "--config.evaluation.problems=20", "--config.sampling.slots=4", "--config.mesh.data=-1",
    ]  # fmt: skip

    def predictions(path):
        [found] = path.glob("evaluations/*/predictions.jsonl")
        rows = [json.loads(line) for line in found.read_text().strip().split("\n")]
        return [[[turn["text"] for turn in s["turns"]] for s in row["samples"]] for row in rows]

    for name in ("one", "two", "killed"):
        shutil.copytree(alone, tmp_path / name)
        shutil.rmtree(tmp_path / name / "evaluations")
    assert run("evaluate", *settings, "--workdir", tmp_path / "one").returncode == 0
    expected = predictions(tmp_path / "one")
    codes, outputs = finish(start(2, tmp_path / "two", module="evaluate", arguments=settings))
    assert codes == [0, 0], outputs
    assert predictions(tmp_path / "two") == expected
    # Each keeps its share; what they had when they were killed is not asked again.
    processes = start(2, tmp_path / "killed", module="evaluate", arguments=settings)
    shares = []
    while len(shares) < 2 or not all(path.stat().st_size for path in shares):
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.01)
        shares = list((tmp_path / "killed").glob("evaluations/*/partial-*.jsonl"))
    for process in processes:
        process.kill()
    finish(processes)
    kept = [json.loads(line) for path in shares for line in path.read_text().split("\n")[:-1]]
    assert len({(row["id"], row["sample"]) for row in kept}) == len(kept)
    done = run("evaluate", *settings, "--workdir", tmp_path / "killed")
    assert f"{len(kept)} of 160 dialogues are there already" in done.stdout
    assert predictions(tmp_path / "killed") == expected


@pytest.mark.slow
def test_what_two_processes_wrote_goes_on_in_one_and_in_four(alone, tmp_path):
    processes = start(2, tmp_path / "two")
    wait_for_step(tmp_path / "two", 20, processes)
    processes[1].send_signal(signal.SIGTERM)  # one is told, both save the same step and stop
    codes, outputs = finish(processes)
    assert codes == [75, 75], outputs
    steps = [int(p.name) for p in (tmp_path / "two" / "checkpoints" / "solver").iterdir()]
    assert max(steps) >= 25
    shutil.copytree(tmp_path / "two", tmp_path / "four")
    done = run("main", *ARGUMENTS, "--config.mesh.fsdp=1", "--workdir", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert f"going on from step {max(steps)}" in done.stdout
    assert_same_curves(tmp_path / "two", alone)
    codes, outputs = finish(start(4, tmp_path / "four", devices=1))
    assert codes == [0] * 4, outputs
    assert_same_curves(tmp_path / "four", alone)


@pytest.mark.slow
def test_when_one_process_dies_the_other_stops_within_the_heartbeat(tmp_path):
    processes = start(2, tmp_path / "w", "--config.train.steps=100000")
    wait_for_step(tmp_path / "w", 20, processes)
    processes[1].kill()
    began = time.monotonic()
    codes, _ = finish(processes, timeout=60)
    assert time.monotonic() - began < 45
    assert codes[0] not in (0, 2, 75) and codes[1] == -signal.SIGKILL
    assert codes[0] in (1, 134, -signal.SIGABRT)


@pytest.mark.slow
def test_mistakes_of_process_0_stop_all(tmp_path):
    codes, outputs = finish(start(2, tmp_path / "w", "--config.task_options.difficulty=harder"))
    assert codes == [2, 2]
    for _, errors in outputs:
        assert "choose easiest, easy, medium, hard" in errors.strip().split("\n")[-1]


def test_processes_need_a_coordinator_and_a_number(tmp_path):
    for more in ([], ["--config.distributed.coordinator=h:1", "--config.distributed.process=2"]):
        done = run("main", *TINY, "--config.distributed.processes=2", *more, "--workdir", tmp_path)
        assert done.returncode == 2 and "config.distributed.coordinator=HOST:PORT" in done.stderr
    assert not os.listdir(tmp_path)
