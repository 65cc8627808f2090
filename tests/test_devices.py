"""What libtpu is told on machines with and without TPU."""

import os

from distill_jax import devices


def test_cudas_plugin_is_quiet_where_there_is_no_gpu(monkeypatch):
    for present in (["/dev/nvidia0"], []):
        monkeypatch.setattr(os, "environ", {})
        monkeypatch.setattr(devices.glob, "glob", lambda pattern, found=present: found)
        devices.expect_what_is_there()
        assert ("JAX_SKIP_CUDA_CONSTRAINTS_CHECK" in os.environ) == (not present)


def test_libtpu_is_told_where_there_is_no_tpu_and_left_alone_where_there_is_one(monkeypatch):
    for present in (["/dev/vfio/0"], []):
        monkeypatch.setattr(os, "environ", {"TPU_ACCELERATOR_TYPE": "mine"})
        monkeypatch.setattr(devices.glob, "glob", lambda pattern, found=present: found)
        devices.expect_what_is_there()
        assert os.environ["TPU_ACCELERATOR_TYPE"] == "mine"
        assert ("TPU_SKIP_MDS_QUERY" in os.environ) == (not present)
