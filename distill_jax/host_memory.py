"""Keep memory that was freed, so that a CPU step does not fault its buffers in again."""

import ctypes
import sys

# <malloc.h>; the largest values that mallopt takes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Tell glibc's malloc to reuse freed blocks instead of returning them to the kernel.

    XLA on a CPU allocates its temporary buffers at every step; by default each is mapped anew, and
    a third of the processor time of a small step goes into page faults (docs/log.md). To be called
    before the first import of jax, since it also limits malloc to one arena. Does nothing where
    the C library has no mallopt.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
