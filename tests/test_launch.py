"""The scripts of launch/: their help, what they refuse, and run.sh."""

import http.server
import signal
import subprocess
import threading
import time

import pytest
from launch_scripts import LAUNCH, ROOT, calls, executable, program, script, variables
from test_launch_commands import COMPUTE, TPU, TPU_VM

RUN = {"CONFIG": "c.py", "WORKDIR": "w", "PAUSE_S": 0}
SCRIPTS = ["run", "background", "hosts", "tpu_vm", "tpu_compute", "slurm", "gke"]
SCRIPTS += ["smollm2_studies", "smollm2_teacher"]
SOURCED = ["steps", "workers", "keep_running", "environment", "metadata"]


@pytest.mark.parametrize("name", SCRIPTS + SOURCED)
def test_help_is_the_comment_at_the_top(name):
    done = script(name, "--help")
    first = (LAUNCH / f"{name}.sh").read_text().splitlines()[2].removeprefix("# ")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == first and "#!" not in done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "given", "said"),
    [
        ("run", [], {}, "set CONFIG WORKDIR"),
        ("run", ["--config=c"], {}, "set WORKDIR"),
        ("run", [], RUN | {"PROCESSES": 2, "PROCESS": 0}, "set COORDINATOR"),
        (
            "run",
            [],
            RUN | {"PROCESSES": 0, "STORE": "s"},
            "STORE needs to know which process this is: set PROCESS",
        ),
        ("run", [], RUN | {"PAUSE_S": "long"}, "PAUSE_S=long is not a number"),
        ("run", ["--sead=1"], RUN, "unknown option --sead"),
        ("run", ["configs/demo.py"], RUN, "unknown argument configs/demo.py"),
        (
            "run",
            ["--config", "my c.py"],
            {},
            "--config needs its value after an equals sign: --config='my c.py'",
        ),
        ("run", ["--sead", "1"], RUN, "unknown option --sead"),
        ("run", ["--config.seed"], RUN, "--config.seed has no value: write --config.seed=VALUE"),
        ("smollm2_studies", ["--gsm8k=G"], {}, "set SVAMP PAIRS STRATEGYQA"),
        ("smollm2_teacher", ["--keep=all"], {}, "KEEP=all is not a number"),
        ("hosts", ["setup"], {}, "set HOSTS"),
        ("hosts", ["run"], {"HOSTS": "a b"}, "set STORE"),
        ("hosts", ["run"], {"HOSTS": "a"}, "set CONFIG WORKDIR"),
        ("hosts", ["dance"], {"HOSTS": "a"}, "unknown command dance"),
        ("tpu_vm", ["run"], {"NAME": "n"}, "set PROJECT ZONE"),
        ("tpu_vm", ["create"], TPU, "set ACCELERATOR_TYPE RUNTIME_VERSION"),
        ("tpu_vm", ["keep"], TPU_VM | {"STORE": ""}, "set STORE"),
        ("tpu_compute", ["create"], TPU, "set MACHINE_TYPE IMAGE_FAMILY"),
        ("tpu_compute", ["create"], COMPUTE | {"TOPOLOGY": ""}, "set TOPOLOGY"),
        ("tpu_compute", ["run"], COMPUTE | {"STORE": ""}, "set STORE"),
        ("slurm", [], {"CONFIG": "c"}, "set WORKDIR"),
        ("workers", [], {}, f"{LAUNCH}/workers.sh does nothing by itself"),
        ("steps", ["--sead=1"], {}, f"{LAUNCH}/steps.sh does nothing by itself"),
        ("tpu_vm", ["status"], TPU | {"NAME": "my tpu"}, "NAME=my tpu: lower-case letters"),
        ("tpu_compute", ["delete"], COMPUTE | {"NAME": "my tpu"}, "NAME=my tpu: lower-case"),
        ("gke", ["watch"], {"NAME": "my tpu"}, "NAME=my tpu: lower-case letters"),
        ("tpu_vm", ["create"], TPU_VM | {"NAME": "My-tpu"}, "NAME=My-tpu: lower-case letters"),
        ("tpu_compute", ["create"], COMPUTE | {"HOSTS": "two"}, "HOSTS=two is not a number"),
        ("gke", ["render"], TPU, "set IMAGE ACCELERATOR TOPOLOGY HOSTS CHIPS_PER_HOST"),
    ],
)
def test_half_configured_is_one_line_that_names_what_is_missing(
    tmp_path, name, arguments, given, said
):
    (tmp_path / "bin").mkdir()
    for tool in ("gcloud", "kubectl", "ssh", "scp", "srun"):  # none of them is to be reached
        executable(tmp_path / "bin" / tool, f"#!/bin/sh\ntouch {tmp_path}/reached\n")
    given = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PYTHON": program(tmp_path), **given}
    done = script(name, *arguments, **given)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "reached").exists() and calls(tmp_path) == []


@pytest.mark.parametrize(
    "keys",
    [["--config.seed=1", "--config.x", "a b"], ["--config.seed=1", "--", "--config.x", "a b"]],
)
def test_keys_of_the_config_need_no_dashes_before_them(tmp_path, keys):
    [command] = dry(RUN | {"PYTHON": program(tmp_path)}, "--config=d.py", *keys)
    assert command.endswith("--config d.py --workdir w --config.seed=1 --config.x 'a b'")


@pytest.mark.parametrize(
    ("codes", "processes", "ends_with", "runs"),
    [
        ([0], 1, 0, 1),
        ([75, 0], 1, 0, 2),
        ([134, "SIGABRT", "SIGKILL", "SIGTERM", "SIGSEGV", 0], 1, 0, 6),
        ([2, 0], 1, 2, 1),
        ([75, 2], 2, 2, 2),
        ([1, 0], 1, 1, 1),
        ([1, 0], 2, 0, 2),  # perhaps another process is gone
        ([3, 0], 2, 3, 1),
        ([75] * 9, 1, 75, 4),  # 3 restarts
    ],
)
def test_the_loop_by_exit_code(tmp_path, codes, processes, ends_with, runs):
    given = RUN | {"PYTHON": program(tmp_path, *codes), "MAX_RESTARTS": 3 if codes[-1] == 75 else 9}
    if processes > 1:
        given |= {"PROCESSES": 2, "PROCESS": 1, "COORDINATOR": "h:1"}
    done = script("run", "--", "--config.seed=1", **given)
    assert (done.returncode, len(calls(tmp_path))) == (ends_with, runs), done.stderr
    assert done.stderr.splitlines()[-1] == f"launch: ended with exit code {ends_with}"
    expected = "-m distill_jax.main --config c.py --workdir w"
    if processes > 1:
        expected += (
            " --config.distributed.processes=2 --config.distributed.process=1"
            " --config.distributed.coordinator=h:1"
        )
    assert set(calls(tmp_path)) == {expected + " --config.seed=1"}


@pytest.mark.parametrize(
    ("sent", "restarts"), [(signal.SIGTERM, 9), (signal.SIGINT, 9), (signal.SIGTERM, 0)]
)
def test_a_signal_is_passed_on_once_and_ends_the_loop(tmp_path, sent, restarts):
    given = RUN | {"PYTHON": program(tmp_path, "wait", 0), "MAX_RESTARTS": restarts}
    running = subprocess.Popen(
        [LAUNCH / "run.sh"],
        env=variables(**given),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not calls(tmp_path):
        time.sleep(0.02)
    time.sleep(0.2)
    running.send_signal(sent)
    if restarts:
        time.sleep(0.1)
        running.send_signal(sent)  # the program is not told twice: it would not save
    assert running.wait(timeout=60) == 75
    assert (len(calls(tmp_path)), calls(tmp_path, "signals")) == (1, ["TERM"])


class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        value = self.server.attributes.get(self.path.removeprefix(self.server.prefix))
        known = value is not None and self.headers["Metadata-Flavor"] == "Google"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write((value or "").encode())

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("attributes", "flags"),
    [
        (
            {"agent-worker-number": "1", "worker-network-endpoints": "a:0:10.0.0.1,b:1:10.0.0.2"},
            ["processes=2", "process=1", "coordinator=10.0.0.1:8482"],
        ),
        (
            {"worker-id": "0", "worker-network-endpoints": "10.0.0.7,10.0.0.8,10.0.0.9"},
            ["processes=3", "process=0", "coordinator=10.0.0.7:8482"],
        ),
        ({"agent-worker-number": "0", "worker-network-endpoints": "10.0.0.7"}, []),
        ({"worker-network-endpoints": "10.0.0.7"}, None),
    ],
)
def test_a_worker_asks_the_metadata_server_for_its_number(tmp_path, attributes, flags):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        server.attributes, server.prefix = attributes, "/computeMetadata/v1/instance/attributes/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = script(
            "run", "--dry_run", PROCESS="metadata", PYTHON=program(tmp_path),
            GCE_METADATA_HOST=f"127.0.0.1:{server.server_port}", **RUN,
        )  # fmt: skip
        server.shutdown()
    if flags is None:
        assert done.returncode == 2 and "set PROCESSES, PROCESS and COORDINATOR" in done.stderr
        return
    command = done.stdout.strip().split()
    assert command[-len(flags) or 99 :] == [f"--config.distributed.{flag}" for flag in flags]
    assert ("--config.distributed.processes" in done.stdout) == bool(flags)


def test_without_python_3_11_uv_brings_one(tmp_path):
    given = RUN | {"EXTRA": "tpu", "STORE": "gs://b/d", "VENV": tmp_path / "venv"}
    first, install, restore, run = dry(given)
    assert first.endswith(f"-m venv {tmp_path}/venv")
    assert install.split(" -c ")[1] == "constraints.txt -e '.[tpu]' 'etils[epath-gcs]'"
    assert restore.endswith("launch/keep_workdir.py restore w gs://b/d/workdir")
    assert run.endswith(
        "-m distill_jax.main --config c.py --workdir w --config.checkpoint_dir=gs://b/d/checkpoints"
    )
    for version in ("3", "3.11", "3.12", "3.13"):  # as on Ubuntu 22.04: too old, or not there
        executable(tmp_path / f"bin/python{version}", "#!/bin/sh\nexit 1\n")
    assert dry(given | {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})[:2] == [
        f"python3 -m pip install --quiet --target {tmp_path}/venv/.uv uv",
        f"{tmp_path}/venv/.uv/bin/uv venv --quiet --seed --allow-existing --python 3.11 "
        f"{tmp_path}/venv",
    ]
    assert not (tmp_path / "venv").exists()


def dry(given, *arguments):
    done = script("run", "--dry_run", *arguments, **given)
    assert done.returncode == 0, done.stderr
    return [line[2:] for line in done.stdout.splitlines()]


def test_one_command_for_the_studies_of_smollm2():
    given = ["--gsm8k=G", "--svamp=S", "--pairs=p.json", "--strategyqa=Q", "--config.seed=3"]
    done = script("smollm2_studies", "--dry_run", *given)
    assert done.returncode == 0, done.stderr
    shown = [line.split("distill_jax.sweep ")[1] for line in done.stdout.splitlines()]
    assert shown == [
        f"--config configs/sweeps/smollm2_{name}_gpu.py --workdir runs/smollm2_studies/{name} "
        f"--config.task_options.directory={directory} {more}--config.seed=3"
        for name, directory, more in (
            ("svamp_teacher", "S", "--config.data.annotations=p.json "),
            ("gsm8k", "G", ""),
            ("strategyqa", "Q", ""),
        )
    ]


def test_no_script_lacks_strict_mode_or_its_bit():
    for name in SCRIPTS:
        path = LAUNCH / f"{name}.sh"
        assert path.stat().st_mode & 0o111 and "\nset -euo pipefail\n" in path.read_text()
        assert str(ROOT) not in path.read_text()
