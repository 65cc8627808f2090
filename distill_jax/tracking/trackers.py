"""The destinations of a run's values: metrics.jsonl always, TensorBoard if tensorboardX is
installed, and the trackers of config.tracking.

A *series* has its own steps: every student while it trains, and the evaluation. The name of a value
is `<kind>/<series>/<name>`, such as `train/solver/loss`, in metrics.jsonl and in all trackers
except TensorBoard, which shows each series as a run with the tags `<kind>/<name>`.

Values that were sent to Weights & Biases and trackio cannot be deleted. A resumed run makes the
same values again, so it does not send those that were sent before. After a run was killed, the last
few may be missing there, but not in metrics.jsonl.
"""

import importlib
import importlib.util
import os
import pathlib
import sys
import textwrap
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from distill_jax import distributed
from distill_jax.errors import UserError
from distill_jax.settings import command_line
from distill_jax.tracking.metrics_file import MetricsFile
from distill_jax.workdir import Workdir, write_text

EVALUATION = "evaluation"  # the series of evaluations
TRAINING = ("train", "dev")  # the kinds of values of a student
PROJECT = "distill_jax"  # the name of the project there
# Addresses and the extra parts of requests may contain keys.
_PRIVATE = ("teacher.base_url", "teacher.extra")


class Tracker(Protocol):
    """A destination of values, besides metrics.jsonl."""

    def start(self, series: str, step: int, known: Mapping[str, int]) -> None:
        """`series` continues after `step`; `known`: by kind, the last step that was ever written.

        The steps between the two will be written again, with the same values.
        """
        ...

    def write(self, kind: str, series: str, step: int, values: Mapping[str, float]) -> None:
        """Values by name."""
        ...

    def show(self, kind: str, series: str, step: int, texts: list[str]) -> None:
        """Dialogues."""
        ...

    def close(self) -> None:
        """Everything is written when this returns."""
        ...


class TensorBoard:
    """Event files in WORKDIR/tensorboard/<series>/: `tensorboard --logdir WORKDIR/tensorboard`."""

    def __init__(self, directory: pathlib.Path, settings: dict[str, Any], shown: Iterable[str]):
        """`shown`: the tags that are shown beside the table of settings."""
        self._directory, self._settings, self._shown = directory, settings, shown
        self._writers: dict[str, Any] = {}

    def start(self, series: str, step: int, known: Mapping[str, int]) -> None:
        """Hide the values of the files after `step`."""
        tensorboardX = _import_tensorboardx()
        from tensorboardX.summary import hparams

        directory = self._directory / series
        new = not directory.exists()
        writer = tensorboardX.SummaryWriter(
            str(directory), purge_step=None if new else step + 1, max_queue=1
        )
        self._writers[series] = writer
        if new:
            shown = dict.fromkeys(self._shown, 0.0)
            assert writer.file_writer is not None
            for summary in hparams(self._settings, shown):
                writer.file_writer.add_summary(summary)
            lines = "\n".join(f"{key} = {value!r}" for key, value in self._settings.items())
            writer.add_text("config", _as_code(lines))
        writer.flush()

    def write(self, kind: str, series: str, step: int, values: Mapping[str, float]) -> None:
        """Write each value as a scalar; it is on the disk when this returns, like metrics.jsonl."""
        for name, value in values.items():
            self._writers[series].add_scalar(f"{kind}/{name}", value, step)
        self._writers[series].flush()

    def show(self, kind: str, series: str, step: int, texts: list[str]) -> None:
        """Show the students' texts as they are, whatever mark-up they contain."""
        text = "\n\n---\n\n".join(_as_code(each) for each in texts)
        self._writers[series].add_text(f"{kind}/dialogues", text, step)
        self._writers[series].flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()


def _import_tensorboardx() -> Any:
    """tensorboardX without PyTorch, which it would import if it is installed.

    That would take seconds, and bring a second set of CUDA libraries into this process.
    """
    if "torch" in sys.modules or "tensorboardX" in sys.modules:
        return importlib.import_module("tensorboardX")
    sys.modules["torch"] = None  # type: ignore[assignment]  # now its import fails
    try:
        return importlib.import_module("tensorboardX")
    finally:
        del sys.modules["torch"]


def _as_code(text: str) -> str:
    """A block of code in Markdown; lines end only where `splitlines` ends them."""
    return textwrap.indent("\n".join(text.splitlines()), "    ", lambda line: True)


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

    Account, project and mode come from the environment (`wandb login`, WANDB_PROJECT,
    WANDB_ENTITY, WANDB_MODE).
    """

    def __init__(self, workdir: Workdir, settings: dict[str, Any]):
        """Raises UserError if Weights & Biases cannot begin, for example without a login."""
        wandb: Any = importlib.import_module("wandb")  # an extra: type checkers may not find it
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=workdir.path.resolve().name,
                id=_run_id(workdir),
                resume="allow",
                dir=workdir.path,
                config=settings,
                # Send neither the command line, nor the code, nor the terminal's output.
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
        """The name of the run is that of the directory, with a number that no other run has."""
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
        """Nothing to do, because every value comes with its step."""
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
    """The run's id for trackers: drawn once, and kept in the directory."""
    if not workdir.tracking_id.exists():
        write_text(workdir.tracking_id, uuid.uuid4().hex[:12] + "\n")
    return workdir.tracking_id.read_text(encoding="utf-8").strip()


TRACKERS = {"wandb": WeightsAndBiases, "trackio": Trackio}


class Tracking:
    """All destinations of a run's values. If there are several processes, only process 0 writes."""

    def __init__(self, config: Any, workdir: Workdir, file: MetricsFile):
        """`config` is the whole config. Nothing is written or imported before `open`."""
        self._config, self._workdir, self._file = config, workdir, file
        self._trackers: list[Tracker] | None = None

    def check(self) -> None:
        """Raise UserError if a package that config.tracking names is missing."""
        for name in self._config.tracking:
            if importlib.util.find_spec(name) is None:
                raise UserError(
                    f"config.tracking names {name}, which is not installed: "
                    f"pip install 'distill-jax[{name}]'"
                )

    def open(self) -> None:
        """Begin to track, after the directory belongs to the run. Raises UserError like the
        trackers."""
        if self._trackers is not None:
            return
        self._trackers = []
        if not distributed.is_first():
            return
        settings = _settings(self._config)
        if importlib.util.find_spec("tensorboardX") is not None:
            split = self._config.evaluation.split
            shown = ("train/loss", "dev/loss", f"{split}/accuracy")
            self._trackers.append(TensorBoard(self._workdir.tensorboard, settings, shown))
        self._trackers += [
            TRACKERS[name](self._workdir, settings) for name in self._config.tracking
        ]

    def start(self, series: str, step: int, kinds: Iterable[str] = TRAINING) -> None:
        """Forget what was written of `series` after `step`: it will be written again."""
        known = {}
        for kind in kinds:
            known[kind] = max(self._file.steps(f"{kind}/{series}/"), default=-1)
            self._file.forget_after(step, f"{kind}/{series}/")
        for tracker in self._trackers or ():
            tracker.start(series, step, known)

    def write(self, kind: str, series: str, step: int, values: Mapping[str, float]) -> None:
        """Values of a step, by name."""
        rounded = {name: round(value, 8) for name, value in values.items()}
        self._file.write(step, {f"{kind}/{series}/{name}": v for name, v in rounded.items()})
        for tracker in self._trackers or ():
            tracker.write(kind, series, step, rounded)

    def show(self, kind: str, series: str, step: int, texts: list[str]) -> None:
        """Some dialogues; not kept in metrics.jsonl."""
        for tracker in self._trackers or ():
            tracker.show(kind, series, step, texts)

    def tokens(self, student: str, step: int) -> tuple[int, int]:
        """(step, tokens) of the last value of train/<student>/tokens up to `step`, or (0, 0)."""
        curve = self._file.curve(f"train/{student}/tokens")
        return max(((at, int(tokens)) for at, tokens in curve if at <= step), default=(0, 0))

    def close(self) -> None:
        """Everything is written when this returns."""
        for tracker in self._trackers or ():
            tracker.close()


def _settings(config: Any) -> dict[str, Any]:
    """The flat config, without values that may contain a key; lists as text."""
    return {
        key: str(value) if isinstance(value, tuple) else value
        for key, value in command_line.flatten(config).items()
        if key not in _PRIVATE
    }


def mistakes(names: Iterable[str]) -> list[str]:
    """What is wrong with config.tracking."""
    return [
        f"config.tracking has {name!r}: choose among {', '.join(TRACKERS)}"
        for name in names
        if name not in TRACKERS
    ]
