"""The JobSet that launch/gke.sh makes of launch/jobset.yaml."""

import pytest
import yaml
from launch_scripts import script, shown

JOBSET = {
    "NAME": "my-run", "IMAGE": "region-docker.pkg.dev/p/r/distill_jax:tpu", "HOSTS": 4,
    "ACCELERATOR": "tpu-v6e-slice", "TOPOLOGY": "4x4", "CHIPS_PER_HOST": 4, "CONFIG": "c.py",
    "WORKDIR": "w", "STORE": "gs://b/d",
}  # fmt: skip


def rendered(*arguments, **given):
    done = script("gke", "render", *arguments, **given)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def test_the_jobset_has_the_fields_that_kubernetes_knows():
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="pip install '.[dev]'")
    manifest = rendered("--", "--config.seed=3", **JOBSET, SPOT=1)
    job_set = models.JobsetV1alpha2JobSet
    # A field that the models do not know is dropped: it would be missing here.
    assert job_set.from_dict(manifest).to_dict() == manifest
    manifest["spec"]["failurePolicy"]["maxRestart"] = 1
    assert job_set.from_dict(manifest).to_dict() != manifest
    manifest["spec"]["replicatedJobs"][0]["replicas"] = "one"
    with pytest.raises(ValueError, match="replicas"):
        job_set.from_dict(manifest)


def test_the_jobset_says_what_was_asked_for():
    hostile = 'say "()" \\ $(touch /tmp/x) ${NAME}'
    job = rendered("--", "--config.seed=3", hostile, **JOBSET)["spec"]["replicatedJobs"][0]
    job = job["template"]["spec"]
    pod = job["template"]["spec"]
    [container] = pod["containers"]
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (4, 4, 0)
    assert container["args"][0] == "--config.seed=3"
    assert container["command"] == ["launch/run.sh", "--"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment == {
        "CONFIG": "c.py", "WORKDIR": "w", "STORE": "gs://b/d", "PROCESSES": "0",
        "MAX_RESTARTS": "0",
    }  # fmt: skip
    assert container["args"][1] == hostile
    assert "cloud.google.com/gke-spot" not in pod["nodeSelector"]
    spot = rendered(**JOBSET | {"HOSTS": 1, "SPOT": 1})["spec"]["replicatedJobs"][0]["template"]
    pod = spot["spec"]["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert {"name": "PROCESSES", "value": "1"} in pod["containers"][0]["env"]
    refused = script("gke", "render", **JOBSET | {"NAME": 'x"\nkind: Secret'})
    assert refused.returncode == 2 and "NAME=" in refused.stderr
    assert shown("gke", "delete", NAME="my-run") == ["kubectl delete jobset my-run"]
