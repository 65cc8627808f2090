"""Settings made before jax begins: libtpu, huge pages, compiled programs."""

import os
import pathlib
import subprocess
import sys

import pytest
from experiment_runs import ROOT

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


def test_malloc_and_tokenizers_are_limited_only_where_a_cpu_trains(monkeypatch):
    for present, given, expected in (
        ([], {}, "false"),
        ([], {"TOKENIZERS_PARALLELISM": "true"}, "true"),
        (["/dev/nvidia0"], {}, None),
    ):
        told = []
        monkeypatch.setattr(os, "environ", dict(given))
        monkeypatch.setattr(devices.glob, "glob", lambda pattern, found=present: found)
        monkeypatch.setattr(devices, "_mallopt", lambda *option, told=told: told.append(option))
        devices.keep_freed_memory()
        assert os.environ.get("TOKENIZERS_PARALLELISM") == expected
        assert bool(told) == (not present)
        told.clear()
        with devices.large_blocks_apart():
            assert bool(told) == (not present)


@pytest.mark.parametrize(
    ("kernel", "given", "expected"),
    [
        ("always [madvise] never", None, "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.perturb=1", "glibc.perturb=1:glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
        ("[always] madvise never", None, "None"),
        (None, None, "None"),  # another kernel
    ],
)
def test_a_command_begins_anew_if_huge_pages_must_be_asked_for(kernel, given, expected, tmp_path):
    file = tmp_path / "enabled"
    if kernel is not None:
        file.write_text(kernel)
    script = (
        "import os, pathlib, sys\n"
        "from distill_jax import devices\n"
        "devices._HUGE_PAGES = pathlib.Path(sys.argv[1])\n"
        "devices.use_huge_pages()\n"
        "print(os.environ.get('GLIBC_TUNABLES'), sys.argv[2:])"
    )
    variables = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    variables |= {} if given is None else {"GLIBC_TUNABLES": given}
    done = subprocess.run(
        [sys.executable, "-c", script, file, "a b", ""],
        env=variables | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith(expected), done.stderr
    assert done.stdout.endswith(" ['a b', '']\n")


def test_large_blocks_that_are_replaced_do_not_stay_in_memory():
    """Four arrays grow three times, as caches do: 48, 64, 96 and 128 MiB each."""
    script = """if True:
        import contextlib, pathlib, resource, sys
        import numpy as np
        from distill_jax import devices

        devices.keep_freed_memory()
        apart = devices.large_blocks_apart if sys.argv[1] == "apart" else contextlib.nullcontext

        def used():
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            return pages * resource.getpagesize() >> 20

        before, arrays = used(), [None] * 4
        for size in (48, 64, 96, 128):
            with apart():
                for place in range(4):
                    new = np.ones(size << 20, np.uint8)
                    arrays[place] = new  # the old one is freed now
        print(used() - before)
    """
    found = {}
    for name in ("apart", "together"):
        done = subprocess.run(
            [sys.executable, "-c", script, name],
            env=os.environ | {"PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[name] = int(done.stdout)
    assert 512 <= found["apart"] < 560
    assert found["together"] > 600  # else there would be nothing to do


def test_compiled_programs_are_kept_in_the_home_directory_unless_the_user_names_another(
    monkeypatch, tmp_path
):
    def directory(**environment):
        monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path)} | environment)
        devices.keep_compiled_programs()
        return os.environ.get("JAX_COMPILATION_CACHE_DIR")

    own = directory()
    parent = pathlib.Path(devices.PROGRAMS.replace("~", str(tmp_path)))
    assert pathlib.Path(own).parent == parent and list(parent.iterdir()) == [pathlib.Path(own)]
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == str(2 << 30)
    assert directory() == own
    # A program for other instructions is never read.
    monkeypatch.setattr(devices, "_instructions", lambda: "x86_64 of another machine")
    assert directory() != own
    assert directory(JAX_COMPILATION_CACHE_DIR="mine") == "mine"
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ
    (tmp_path / "file").touch()  # a home directory in which nothing can be made
    assert directory(HOME=str(tmp_path / "file")) is None
