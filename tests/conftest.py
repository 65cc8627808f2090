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

import hostile_students
import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(scope="session")
def hostile_workdir(tmp_path_factory):
    """A finished run of hostile_students.py; only to be read."""
    return hostile_students.train(tmp_path_factory.mktemp("hostile"))
