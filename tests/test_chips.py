"""What libtpu is told on machines with and without TPU."""

import os

from distill_jax import chips


def test_libtpu_is_told_where_there_is_no_tpu_and_left_alone_where_there_is_one(monkeypatch):
    for present in (["/dev/vfio/0"], []):
        monkeypatch.setattr(os, "environ", {"TPU_ACCELERATOR_TYPE": "mine"})
        monkeypatch.setattr(chips.glob, "glob", lambda pattern, found=present: found)
        chips.expect_no_tpu()
        assert os.environ["TPU_ACCELERATOR_TYPE"] == "mine"
        assert ("TPU_SKIP_MDS_QUERY" in os.environ) == (not present)
