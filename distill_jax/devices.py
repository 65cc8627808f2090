"""Accelerators: their peaks. Memory: how much is used, and how it is freed. Programs: where those
that were compiled are kept."""

import contextlib
import ctypes
import dataclasses
import glob
import hashlib
import os
import pathlib
import platform
import sys
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator, with its published peaks; real programs are slower.

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
# Compiled programs of all runs, and the most bytes of them; the oldest are removed.
PROGRAMS, MOST_OF_PROGRAMS = "~/.cache/distill_jax/programs", 2 * GIB
# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MOST_KEPT, _LARGE = 1 << 30, 32 << 20  # bytes of a block
# https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")

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

# Answers to what libtpu would ask a TPU machine's metadata server. A description does not need
# them, but without them libtpu waits and then logs errors.
LIBTPU_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    # Warnings of the compiler must go to stderr, not only to a file, because one of them is
    # counted.
    "TPU_STDERR_LOG_LEVEL": "1",
    # Only descriptions are made and no device is opened, so several processes may do this at once.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def expect_what_is_there() -> None:
    """Tell libtpu and CUDA's plugin not to search for devices that the machine does not have,
    because they would log errors. Call this before jax uses any device."""
    if not gpu_files():
        os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
    if not _tpu_files():
        for key in ("TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE"):
            os.environ.setdefault(key, LIBTPU_SETTINGS[key])


def gpu_files() -> list[str]:
    """Files by which the system offers GPUs; none = it has none."""
    return glob.glob("/dev/nvidia*") + glob.glob("/dev/dxg")  # the latter on Windows


def _tpu_files() -> list[str]:
    return glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*")


def _accelerated() -> bool:
    return bool(gpu_files() or _tpu_files())


def chip_of(device: Any) -> Chip | None:
    """The chip that a `jax.Device` is, None if it is not in the table (a CPU, say)."""
    for kind, name in _KINDS.items():
        if kind in device.device_kind:
            return CHIPS[name]
    return None


def use_huge_pages() -> None:
    """Begin this command anew with a malloc that asks the kernel for huge pages, if the kernel
    gives them only to those who ask ("madvise", as on Ubuntu).

    XLA on a CPU maps the temporary memory of a large student anew at every step: 2.6 GB, whose
    680,000 page faults take an eighth of a step of SmolLM2-135M (docs/log.md). glibc 2.35 and later
    ask if a variable is set when a process begins, so call this first of all, and only in a process
    that is nothing but this command.
    """
    given = os.environ.get(_TUNABLES, "")
    if "glibc.malloc.hugetlb=" in given or not _HUGE_PAGES.exists():
        return
    if "[madvise]" in _HUGE_PAGES.read_text(encoding="utf-8"):
        os.environ[_TUNABLES] = f"{given}:glibc.malloc.hugetlb=1".lstrip(":")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_freed_memory() -> None:
    """Tell glibc's malloc to reuse freed blocks instead of returning them to the kernel.

    XLA on a CPU allocates its temporary buffers at every step. By default each is mapped again, and
    page faults take a third of the processor time of a small step (docs/log.md). Call this before
    the first import of jax, because it also limits malloc to one arena. The threads of `tokenizers`
    would wait for each other there, so that two of them are slower than one: it gets one, unless
    TOKENIZERS_PARALLELISM is set. Does nothing where there is a GPU or a TPU, or if the C library
    has no mallopt.
    """
    if _accelerated():
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for option, value in (
        (_ARENA_MAX, 1),
        (_MMAP_THRESHOLD, _MOST_KEPT),
        (_TRIM_THRESHOLD, 2**31 - 1),
    ):
        _mallopt(option, value)


@contextlib.contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Blocks of 32 MiB and more that are allocated inside go back to the kernel when they are
    freed, also after `keep_freed_memory`.

    For arrays that are replaced by larger ones, again and again: these do not fit into the places
    of the old ones, which would stay in memory. Afterwards blocks of up to 1 GiB are kept, as after
    `keep_freed_memory`, whether it was called or not. Does nothing where there is a GPU or a TPU.
    """
    if _accelerated():
        yield
        return
    _mallopt(_MMAP_THRESHOLD, _LARGE)
    try:
        yield
    finally:
        _mallopt(_MMAP_THRESHOLD, _MOST_KEPT)


def _mallopt(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(option, value)


def keep_compiled_programs() -> None:
    """Let jax keep the programs that it compiles in PROGRAMS, and read them from there next time.

    Call this before the first import of jax. If JAX_COMPILATION_CACHE_DIR is set, or PROGRAMS
    cannot be made, nothing changes. Processors with other instructions have other directories,
    because a program of one may not run on the other.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    kind = hashlib.sha256(_instructions().encode()).hexdigest()[:8]
    directory = pathlib.Path(PROGRAMS).expanduser() / kind
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(directory, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(directory)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_OF_PROGRAMS))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _instructions() -> str:
    """A text that is the same on processors with the same instructions."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").split("\n") if cpuinfo.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"


def peak_bytes() -> int:
    """Peak bytes of the fullest device of this process; of the process if devices do not tell."""
    import resource

    import jax

    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if each]
    if peaks:
        return max(peaks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # <sys/resource.h>


def size(count: int) -> str:
    """Bytes with a unit of 1,024."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            return f"{value:.3g} {unit}"
    raise AssertionError
