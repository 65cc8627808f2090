"""The commands of Google Cloud that the launchers of launch/ print with --dry_run."""

import shlex
import subprocess

import pytest
from launch_scripts import calls, executable, script, shown

TPU = {
    "NAME": "my-tpu",
    "PROJECT": "my-project",
    "ZONE": "us-west4-a",
    "CONFIG": "configs/gsm8k_gpt2.py",
    "WORKDIR": "runs/gpt2",
    "STORE": "gs://my-bucket/gpt2",
}
TPU_VM = TPU | {"ACCELERATOR_TYPE": "v5litepod-16", "RUNTIME_VERSION": "v2-alpha-tpuv5-lite"}
COMPUTE = TPU | {
    "MACHINE_TYPE": "tpu7x-standard-4t",
    "IMAGE_FAMILY": "ubuntu-accel-2404-amd64-tpu-tpu7x",
    "HOSTS": 2,
    "TOPOLOGY": "2x2x2",
}
PLACE = "--project=my-project --zone=us-west4-a"


def test_tpu_vm_prints_the_commands():
    assert shown("tpu_vm", "create", **TPU_VM) == [
        f"gcloud compute tpus tpu-vm create my-tpu {PLACE} --accelerator-type=v5litepod-16 "
        "--version=v2-alpha-tpuv5-lite"
    ]
    assert shown("tpu_vm", "create", "--queued=1", "--spot=1", **TPU_VM) == [
        f"gcloud compute tpus queued-resources create my-tpu {PLACE} --node-id=my-tpu "
        "--accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite "
        "--valid-until-duration=6h --spot"
    ]
    [run] = shown("tpu_vm", "run", "--", "--config.seed=1", "--config.x=(), 'y'", **TPU_VM)
    *before, command = shlex.split(run)
    assert " ".join(before) == f"gcloud compute tpus tpu-vm ssh my-tpu {PLACE} --worker=all"
    assert shlex.split(command.removeprefix("--command=")) == [
        "cd", "distill_jax", "&&", "env", "CONFIG=configs/gsm8k_gpt2.py", "WORKDIR=runs/gpt2",
        "EXTRA=tpu", "STORE=gs://my-bucket/gpt2", "PROCESS=metadata",
        "launch/background.sh", "start", "--", "--config.seed=1", "--config.x=(), 'y'",
    ]  # fmt: skip
    assert shown("tpu_vm", "delete", "--queued=1", **TPU_VM) == [
        f"gcloud compute tpus queued-resources delete my-tpu {PLACE} --force --quiet"
    ]
    assert shown("tpu_vm", "fetch", **TPU_VM) == [
        "mkdir -p fetched/checkpoints",
        "gcloud storage rsync --recursive gs://my-bucket/gpt2/workdir fetched",
        "gcloud storage rsync --recursive gs://my-bucket/gpt2/checkpoints fetched/checkpoints",
    ]


def test_a_slice_of_compute_engine_is_policy_template_and_group():
    policy, template, group = shown("tpu_compute", "create", "--spot=1", **COMPUTE)
    assert policy == (
        "gcloud compute resource-policies create workload-policy my-tpu --project=my-project "
        "--region=us-west4 --type=HIGH_THROUGHPUT --accelerator-topology=2x2x2"
    )
    assert template.startswith("gcloud compute instance-templates create my-tpu ")
    for flag in (
        "--machine-type=tpu7x-standard-4t",
        "--image-project=ubuntu-os-accelerator-images",
        "--maintenance-policy=TERMINATE",
        "--provisioning-model=SPOT --instance-termination-action=STOP",
    ):
        assert f" {flag}" in template
    assert group == (
        f"gcloud compute instance-groups managed create my-tpu {PLACE} --template=my-tpu --size=2 "
        "--default-action-on-vm-failure=do-nothing "
        "--workload-policy=projects/my-project/regions/us-west4/resourcePolicies/my-tpu"
    )
    deleted = shown("tpu_compute", "delete", **COMPUTE)
    assert [words.split()[2] for words in deleted] == [
        "instance-groups", "instance-templates", "resource-policies",
    ]  # fmt: skip
    [single] = shown("tpu_compute", "create", **COMPUTE | {"HOSTS": 1})
    assert single.startswith(f"gcloud compute instances create my-tpu {PLACE} ")


@pytest.mark.parametrize("action", ["setup", "run", "status", "watch", "stop"])
def test_whatever_runs_on_a_slice_runs_on_all_workers(action):
    commands = [c for c in shown("tpu_vm", action, **TPU_VM) if "tpu-vm" in c]
    assert commands and all("--worker=all" in command for command in commands)


def test_delete_asks(tmp_path):
    executable(tmp_path / "bin/gcloud", f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n')
    given = TPU_VM | {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    for answer in ("", "yes\n"):
        done = script("tpu_vm", "delete", stdin=answer, **given)
        assert done.returncode == 2 and "nothing was deleted" in done.stderr
    assert calls(tmp_path) == []
    assert script("tpu_vm", "delete", stdin="my-tpu\n", **given).returncode == 0
    assert script("tpu_vm", "delete", "--yes", **given).returncode == 0
    assert calls(tmp_path) == [f"compute tpus tpu-vm delete my-tpu {PLACE} --quiet"] * 2


@pytest.mark.parametrize("store", ["gs://b/d", "gs://b/d/", "gs://b/d//"])
def test_a_store_is_the_same_place_with_slashes_at_its_end(store, tmp_path):
    given = TPU_VM | {"STORE": store, "DEST": tmp_path / "my dir"}
    rsync = "gcloud storage rsync --recursive gs://b/d/"
    assert [c.partition(" '")[0] for c in shown("tpu_vm", "fetch", **given)[1:]] == [
        f"{rsync}workdir", f"{rsync}checkpoints",
    ]  # fmt: skip
    flag = shown("tpu_vm", "fetch", f"--store={store}", **given | {"STORE": "gs://other"})
    assert flag[1].startswith(f"{rsync}workdir ")
    commands = shown("tpu_vm", "run", **given)
    assert any("STORE=gs://b/d " in command for command in commands), commands


@pytest.mark.parametrize("store", ["GS://b/d", "s3://b/d", "file:///d", "gs://", "gs:/b"])
def test_a_store_that_cannot_be_is_refused(store):
    done = script("tpu_vm", "fetch", "--dry_run", **TPU_VM | {"STORE": store})
    assert done.returncode == 2
    assert done.stderr == f"error: STORE={store}: gs://BUCKET/DIR or a directory is expected\n"


def test_the_command_after_a_fetch_can_be_pasted(tmp_path):
    dest = tmp_path / "it's mine"
    done = script("tpu_vm", "fetch", "--dry_run", **TPU_VM | {"DEST": dest})
    said = done.stdout.splitlines()[-1].removeprefix("launch: evaluate it here with ")
    words = subprocess.run(
        ["bash", "-c", f'printf "%s\\n" {said}'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words == ["--workdir", str(dest), f"--config.checkpoint_dir={dest}/checkpoints"]
