"""One run of a sweep: `distill_jax.main` in a process that does not outlive the sweep's.

The sweep holds the other end of stdin and never writes. When it is gone, however it ended, the end
of the file comes, and the run stops as by SIGTERM: its state saved.
"""

import os
import signal
import sys
import threading

from distill_jax import errors, main


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def run(argv: list[str]) -> None:
    """As `main.main`. To be called where SIGTERM is handled already."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main.main(argv)


if __name__ == "__main__":
    errors.leave(errors.run_command(run, sys.argv[1:]))
