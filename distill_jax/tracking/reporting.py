"""The destinations of a run's messages and values."""

from typing import Any, NamedTuple

from distill_jax import distributed
from distill_jax.tracking.metrics_file import MetricsFile
from distill_jax.tracking.terminal import Terminal
from distill_jax.tracking.trackers import Tracking
from distill_jax.workdir import Workdir


class Reporting(NamedTuple):
    """The terminal with its log, metrics.jsonl, and the trackers. Only process 0 of several has
    any."""

    terminal: Terminal
    metrics_file: MetricsFile
    tracking: Tracking


def make_reporting(config: Any, workdir: Workdir) -> Reporting:
    """`config` is the whole config; no file is written before the first message."""
    first = distributed.is_first()
    metrics_file = MetricsFile(workdir.metrics if first else None)
    return Reporting(
        Terminal(quiet=not first), metrics_file, Tracking(config, workdir, metrics_file)
    )
