"""How much memory has been in use at most."""

import resource
import sys

import jax


def peak_bytes() -> int:
    """Of the fullest device of this process; of the process itself where devices do not say."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if each]
    if peaks:
        return max(peaks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # <sys/resource.h>
