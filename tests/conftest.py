"""Eight fake CPU devices for the tests that run in this process, and one cache of compilations.

Many tests compile the same tiny programs, in this process and in those that they start.
"""

import atexit
import os
import shutil
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="distill_jax_tests_")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import experiment_runs
import filelock
import hostile_students
import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(scope="session")
def hostile_workdir(tmp_path_factory):
    """A finished run of hostile_students.py; only to be read."""
    return hostile_students.train(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """(directory, what it said) of one finished run of TINY for all processes; only to be read."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    workdir, said = shared / "tiny_run", shared / "tiny_run.txt"
    with filelock.FileLock(shared / "tiny_run.lock"):
        if not said.exists():
            done = experiment_runs.run("main", *experiment_runs.TINY, "--workdir", workdir)
            assert done.returncode == 0, done.stderr
            said.write_text(done.stdout, encoding="utf-8")
    return workdir, said.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tiny_copy(tiny_run, tmp_path_factory):
    """A copy of the directory of `tiny_run`, to which a module may add evaluations."""
    return shutil.copytree(tiny_run[0], tmp_path_factory.mktemp("run") / "w")
