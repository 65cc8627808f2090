"""One step of a sweep, such as `distill_jax.main`, in a process that ends with the sweep's.

Usage: python -m distill_jax.sweep.child MODULE ARGUMENTS...

The sweep holds the other end of stdin and never writes to it. When the sweep has ended, for any
reason, stdin ends, and the run saves its state and stops, as after SIGTERM.
"""

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The program itself, which handles SIGTERM before it does anything that needs saving.
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
