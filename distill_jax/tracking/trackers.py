"""Weights & Biases and trackio, for those who name them in config.tracking.

Neither takes values back. A resumed run makes the same values again, so those that were sent
before are left out; a run that was killed may lack the last few there, but not in metrics.jsonl.
"""

import importlib
import os
import uuid
from collections.abc import Mapping
from typing import Any

from distill_jax.errors import UserError
from distill_jax.workdir import Workdir, write_text

PROJECT = "distill_jax"


class _Sent:
    """By series and kind, the last step that was sent before this process began."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], int] = {}

    def start(self, series: str, known: Mapping[str, int]) -> None:
        self._steps |= {(kind, series): step for kind, step in known.items()}

    def __contains__(self, value: tuple[str, str, int]) -> bool:
        kind, series, step = value
        return step <= self._steps[kind, series]


class WeightsAndBiases:
    """A run on wandb.ai, or with WANDB_MODE=offline in WORKDIR/wandb, for `wandb sync`.

    Account, project and mode are taken from the surroundings (`wandb login`, WANDB_PROJECT,
    WANDB_ENTITY, WANDB_MODE).
    """

    def __init__(self, workdir: Workdir, settings: dict[str, Any]):
        """Raises UserError where Weights & Biases cannot begin, e.g. for want of a login."""
        wandb: Any = importlib.import_module("wandb")  # an extra: type checkers may not find it
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=workdir.path.resolve().name,
                id=_run_id(workdir),
                resume="allow",
                dir=workdir.path,
                config=settings,
                # Neither the command line nor the code nor what is said on the terminal.
                settings=wandb.Settings(
                    console="off",
                    save_code=False,
                    disable_git=True,
                    x_disable_meta=True,
                    silent=True,
                ),
            )
        except wandb.Error as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"config.tracking names wandb, which says: {reason}: `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from error
        self._table = wandb.Table
        self._sent = _Sent()

    def start(self, series: str, step: int, known: Mapping[str, int]) -> None:
        """The values of every series have its own steps."""
        self._sent.start(series, known)
        self._run.define_metric(f"{series}/step", hidden=True)
        for kind in known:
            self._run.define_metric(f"{kind}/{series}/*", step_metric=f"{series}/step")

    def write(self, kind: str, series: str, step: int, values: Mapping[str, float]) -> None:
        """Send what was not sent before."""
        if (kind, series, step) not in self._sent:
            named = {f"{kind}/{series}/{name}": value for name, value in values.items()}
            self._run.log({f"{series}/step": step, **named})

    def show(self, kind: str, series: str, step: int, texts: list[str]) -> None:
        """A table with a row per dialogue."""
        if (kind, series, step) not in self._sent:
            table = self._table(columns=["dialogue"], data=[[text] for text in texts])
            self._run.log({f"{series}/step": step, f"{kind}/{series}/dialogues": table})

    def close(self) -> None:
        """Wait until all is sent."""
        self._run.finish()


class Trackio:
    """A run in trackio's own directory (TRACKIO_DIR); `trackio show` opens it in the browser."""

    def __init__(self, workdir: Workdir, settings: dict[str, Any]):
        """The run is called after the directory, and a number that no other run has."""
        trackio: Any = importlib.import_module("trackio")
        self._run = trackio.init(
            project=PROJECT,
            name=f"{workdir.path.resolve().name}-{_run_id(workdir)}",
            resume="allow",
            config=settings,
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self._table = trackio.Table
        self._sent = _Sent()

    def start(self, series: str, step: int, known: Mapping[str, int]) -> None:
        """Nothing to say: every value comes with its step."""
        self._sent.start(series, known)

    def write(self, kind: str, series: str, step: int, values: Mapping[str, float]) -> None:
        """Send what was not sent before."""
        if (kind, series, step) not in self._sent:
            named = {f"{kind}/{series}/{name}": value for name, value in values.items()}
            self._run.log(named, step=step)

    def show(self, kind: str, series: str, step: int, texts: list[str]) -> None:
        """A table with a row per dialogue."""
        if (kind, series, step) not in self._sent:
            table = self._table(columns=["dialogue"], data=[[text] for text in texts])
            self._run.log({f"{kind}/{series}/dialogues": table}, step=step)

    def close(self) -> None:
        """Wait until all is written."""
        self._run.finish()


def _run_id(workdir: Workdir) -> str:
    """What the run is known by to trackers: drawn once, kept in the directory."""
    if not workdir.tracking_id.exists():
        write_text(workdir.tracking_id, uuid.uuid4().hex[:12] + "\n")
    return workdir.tracking_id.read_text(encoding="utf-8").strip()
