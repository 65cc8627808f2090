"""Accelerators: what one of them can do at best, and those that need not be there."""

import dataclasses
import glob
import os
import re
from typing import Any

from distill_jax.dry_run import gpu_topology
from distill_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator. Published peaks: what runs is slower.

    memory          bytes of device memory
    flops           bfloat16 operations per second, dense
    memory_rate     bytes per second, to and from that memory
    link_rate       bytes per second sent to other chips, over all links of the chip together
    """

    name: str
    memory: int
    flops: float
    memory_rate: float
    link_rate: float


GIB = 1 << 30

# Pages give link rates as a sum of both directions, or in Gbit/s of one direction: bytes of one
# direction here. TPU pages write GB of memory; devices and compiler count in GiB.
CHIPS = {
    chip.name: chip
    for chip in (
        # https://cloud.google.com/tpu/docs/v4: 275 TFLOPS, 32 GiB, 1,200 GB/s.
        # Links: 6 of 50 GB/s each way, https://arxiv.org/abs/2304.01433, table 4 (2,400 Gbit/s).
        Chip("v4", 32 * GIB, 275e12, 1200e9, 300e9),
        # https://cloud.google.com/tpu/docs/v5e: 197 TFLOPS, 16 GB, 819 GB/s, links 400 GB/s both
        # ways (1,600 Gbit/s in older versions of the page).
        Chip("v5e", 16 * GIB, 197e12, 819e9, 200e9),
        # https://cloud.google.com/tpu/docs/v5p: 459 TFLOPS, 95 GB, 2,765 GB/s, links 4,800 Gbit/s.
        Chip("v5p", 95 * GIB, 459e12, 2765e9, 600e9),
        # https://cloud.google.com/tpu/docs/v6e: 918 TFLOPS, 32 GB, 1,638 GB/s, links 800 GB/s both
        # ways (older versions of the page: 1,640 GB/s and 3,584 Gbit/s).
        Chip("v6e", 32 * GIB, 918e12, 1638e9, 400e9),
        # https://www.nvidia.com/en-us/data-center/a100/ (SXM, 80 GB): 312 TFLOPS without sparsity,
        # 2,039 GB/s, NVLink 600 GB/s both ways.
        Chip("A100", 80 * 10**9, 312e12, 2039e9, 300e9),
        # https://www.nvidia.com/en-us/data-center/h100/ (SXM): 80 GB, 989 TFLOPS without sparsity,
        # 3.35 TB/s, NVLink 900 GB/s both ways.
        Chip("H100", 80 * 10**9, 989e12, 3350e9, 450e9),
        # https://www.nvidia.com/en-us/data-center/h200/ (SXM): 141 GB, 989 TFLOPS without
        # sparsity, 4.8 TB/s, NVLink 900 GB/s both ways.
        Chip("H200", 141 * 10**9, 989e12, 4800e9, 450e9),
    )
}

# `device_kind` of a device starts with or contains this; the longer names come first.
_KINDS = {
    "TPU v6 lite": "v6e",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v4": "v4",
    "H200": "H200",
    "H100": "H100",
    "A100-SXM4-80GB": "A100",
}

# Slices for which libtpu's compiler was seen to work; others of their kind work too.
TOPOLOGIES = ("v5e:2x4", "v5e:4x4", "v5e:16x16", "v4:2x2x2", "v5p:4x4x4", "v6e:2x4")

# What libtpu would ask a TPU machine's metadata server. A description needs no answer, but without
# one libtpu waits for it and then logs errors.
_SURROUNDINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    # Warnings of the compiler go to stderr, not only to a file: one of them is counted.
    "TPU_STDERR_LOG_LEVEL": "1",
    # Only descriptions are made, no device is opened: several processes may do so at once.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def expect_what_is_there() -> None:
    """Tell libtpu and CUDA's plugin, where they are installed on a machine without TPU or GPU, not
    to search for one: they would log errors. To be called before jax touches any device."""
    if not glob.glob("/dev/nvidia*") + glob.glob("/dev/dxg"):  # the latter on Windows
        os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
    if not glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*"):  # of TPUs
        for key in ("TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE"):
            os.environ.setdefault(key, _SURROUNDINGS[key])


def chip_of(device: Any) -> Chip | None:
    """The chip that a `jax.Device` is, None where it is not in the table (a CPU, say)."""
    for kind, name in _KINDS.items():
        if kind in device.device_kind:
            return CHIPS[name]
    return None


def topology_devices(name: str) -> list[Any]:
    """The devices of a TPU slice such as "v5e:2x4", or of GPUs such as "H100:8", to compile for;
    none of them needs to exist.

    To be called before jax touches any device: this process then has the CPU alone. Raises
    UserError without the compiler, and for a slice that it does not know.
    """
    for key, value in _SURROUNDINGS.items():
        os.environ.setdefault(key, value)
    import jax

    # On a machine with devices they stay free for others.
    jax.config.update("jax_platforms", "cpu")
    if gpu_topology.is_gpu(name):
        return gpu_topology.gpu_devices(name)
    known = f"known are {', '.join((*TOPOLOGIES, *gpu_topology.GPU_TOPOLOGIES))}"
    if not re.match(r"v\d", name):  # of every TPU
        raise UserError(f"--topology={name} is neither a TPU slice nor a GPU: {known}")
    try:
        import libtpu  # noqa: F401
    except ImportError:
        raise UserError(
            f"--topology={name} needs the TPU compiler: pip install 'distill-jax[tpu]'"
        ) from None
    from jax.experimental import topologies

    # A v4 chip has two cores, which are one device ("megacore") unless they are split.
    options = {"chip_config_name": "megacore"} if name.startswith("v4:") else {}
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"--topology={name}: {reason}; {known}") from error
    return list(found.devices)
