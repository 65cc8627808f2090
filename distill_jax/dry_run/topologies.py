"""TPU slices and GPUs that need not exist: what their compilers must know.

The figures of GPUs were read from devices:
https://github.com/openxla/xla/tree/main/xla/backends/gpu/target_config/specs. No kernel
is chosen by trying several ("autotuning"), which only a device can do, so the program for a real
device may differ in its matrix products.
"""

import os
import re
from typing import Any

from distill_jax.devices import LIBTPU_SETTINGS
from distill_jax.errors import UserError

# Slices for which we ran libtpu's compiler; others of the same kinds work too.
TOPOLOGIES = ("v5e:2x4", "v5e:4x4", "v5e:16x16", "v4:2x2x2", "v5p:4x4x4", "v6e:2x4")

# SXM modules. Registers, threads and shapes of blocks are the same for all three.
_AMPERE = {
    "core_count": 108,
    "fpus_per_core": 64,
    "shared_memory_per_core": 167_936,
    "shared_memory_per_block_optin": 166_912,
    "l2_cache_size": 41_943_040,
    "clock_rate_ghz": 1.41,
    "cuda_compute_capability": "{ major: 8 }",
}
_HOPPER = {
    "core_count": 132,
    "fpus_per_core": 128,
    "shared_memory_per_core": 233_472,
    "shared_memory_per_block_optin": 232_448,
    "l2_cache_size": 52_428_800,
    "clock_rate_ghz": 1.98,
    # 9.0a: with the instructions that only Hopper has.
    "cuda_compute_capability": "{ major: 9 feature_extension: ACCELERATED_FEATURES }",
}
_GPUS = {
    "A100": ("NVIDIA A100-SXM4-80GB", 85_100_068_864, 2_039_040_000_000, _AMPERE),
    "H100": ("NVIDIA H100 80GB HBM3", 84_942_979_072, 3_352_320_000_000, _HOPPER),
    "H200": ("NVIDIA H200", 151_397_597_184, 4_800_000_000_000, _HOPPER),
}
# The share of a GPU's memory that JAX takes at its start, and no more later:
# https://docs.jax.dev/en/latest/gpu_memory_allocation.html
MEMORY_FRACTION = 0.75
GPU_TOPOLOGIES = ("A100:8", "H100:8", "H200:1")

# stream_executor.GpuTargetConfigProto (xla/stream_executor/device_description.proto) as text.
_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  shared_memory_per_block: 49152
  device_memory_size: {memory}
  memory_bandwidth: {memory_rate}
  {figures}
  device_vendor: "NVIDIA Corporation"
  name: "{name}"
  driver_version: "13.0.0"
  runtime_version: "12.9.0"
  compile_time_toolkit_version: "12.9.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""


def topology_devices(name: str) -> list[Any]:
    """The devices of a TPU slice such as "v5e:2x4", or of GPUs such as "H100:8", to compile for;
    none of them needs to exist.

    Call it before jax uses any device: this process can then use only the CPU. Raises UserError if
    the compiler is missing or does not know the slice.
    """
    for key, value in LIBTPU_SETTINGS.items():
        os.environ.setdefault(key, value)
    import jax

    # If the machine has devices, they stay free for others.
    jax.config.update("jax_platforms", "cpu")
    if is_gpu(name):
        return gpu_devices(name)
    known = f"known are {', '.join((*TOPOLOGIES, *GPU_TOPOLOGIES))}"
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


def is_gpu(name: str) -> bool:
    """Whether a topology such as "H100:8" is one of GPUs."""
    return name.partition(":")[0] in _GPUS


def gpu_devices(name: str) -> list[Any]:
    """The devices of "H100:8" (one host) or "H100:4x8" (four hosts of eight), to compile for.

    Raises UserError if the CUDA compiler is missing, and for a name that is not such a shape.
    """
    kind, _, shape = name.partition(":")
    if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", shape) is None:
        raise UserError(
            f"--topology={name}: {kind}:8 is one host of eight, {kind}:4x8 are four such hosts"
        )
    from jax.experimental import topologies

    hosts = shape if "x" in shape else f"1x{shape}"
    try:
        found = topologies.get_topology_desc(
            platform="cuda", target_config=target_config(kind), topology=f"1x{hosts}"
        )
    except NotImplementedError:
        raise UserError(
            f"--topology={name} needs CUDA's compiler (no GPU): pip install 'distill-jax[cuda]'"
        ) from None
    return list(found.devices)


def usable_memory(memory: int) -> int:
    """Bytes of a GPU's memory that JAX uses: three quarters, or XLA_PYTHON_CLIENT_MEM_FRACTION.

    Raises UserError if that is not a number.
    """
    given = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", str(MEMORY_FRACTION))
    try:
        return int(memory * float(given))
    except ValueError:
        raise UserError(f"XLA_PYTHON_CLIENT_MEM_FRACTION={given}: a number like 0.9") from None


def target_config(kind: str) -> str:
    """The compiler's description of an "A100", "H100" or "H200"."""
    name, memory, memory_rate, figures = _GPUS[kind]
    lines = (
        f"{key}{'' if key == 'cuda_compute_capability' else ':'} {value}"
        for key, value in figures.items()
    )
    return _TARGET.format(
        name=name, memory=memory, memory_rate=memory_rate, figures="\n  ".join(lines)
    )
