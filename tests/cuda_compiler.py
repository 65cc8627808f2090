"""Where CUDA's compiler is, which needs no GPU: installed, or in the directory DISTILL_JAX_CUDA.

In a directory of its own (`pip install --no-deps --target DIR jax-cuda12-pjrt==VERSION of jaxlib`)
it is kept from the other tests: on a machine without GPU, jax complains about it in every process.
"""

import importlib.util
import os

import pytest

DIRECTORY = os.environ.get("DISTILL_JAX_CUDA", "")


def found() -> bool:
    """Whether there is one."""
    try:
        return bool(DIRECTORY) or importlib.util.find_spec("jax_plugins.xla_cuda12") is not None
    except ModuleNotFoundError:
        return False


def environment() -> dict[str, str]:
    """Variables with which a process finds it."""
    return {"PYTHONPATH": DIRECTORY} if DIRECTORY else {}


needed = pytest.mark.skipif(
    not found(), reason="CUDA's compiler is neither installed nor in DISTILL_JAX_CUDA"
)
