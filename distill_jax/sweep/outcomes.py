"""What became of every run of a sweep: sweep.json, and the table at the end."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import EXIT_INTERRUPTED, EXIT_USER
from distill_jax.sweep.definition import SweepRun
from distill_jax.workdir import Workdir, read_json, write_json

# As found in its directory; and after its process has ended.
NOT_BEGUN, HALF_DONE, DONE = "not begun", "half done", "done"
FAILED, INTERRUPTED = "failed", "interrupted"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run in sweep.json.

    status     one of the words above
    exit_code  of its last process, None if it needed none
    message    why it failed, in one line
    seconds    of all its processes together
    accuracy   of its headline evaluation, with its 95 % interval; None until it is done
    """

    arm: str
    seed: int
    changes: dict[str, str]
    status: str
    exit_code: int | None = None
    message: str = ""
    seconds: float = 0.0
    accuracy: float | None = None
    interval: tuple[float, float] | None = None


class Outcomes:
    """Those of all runs; sweep.json holds the newest."""

    def __init__(
        self, directory: pathlib.Path, runs: Sequence[SweepRun], states: Mapping[str, str]
    ):
        """`states`: {name of the run: how far its directory is}. Nothing is written yet."""
        self._directory, self._path = directory, directory / "sweep.json"
        known = read_json(self._path)["runs"] if self._path.exists() else {}
        self._of: dict[str, Outcome] = {}
        for run in runs:
            seconds = known.get(run.name, {}).get("seconds", 0.0)
            self._set(run, states[run.name], seconds=seconds)

    def record(self, run: SweepRun, exit_code: int, message: str, seconds: float) -> Outcome:
        """A process of `run` has ended: what is known of the run now, written to sweep.json."""
        if exit_code == 0:
            status, message = DONE, ""
        elif exit_code == EXIT_INTERRUPTED:
            status, message = INTERRUPTED, ""
        else:
            status = FAILED
        spent = round(self._of[run.name].seconds + seconds, 1)
        self._set(run, status, exit_code=exit_code, message=message, seconds=spent)
        self.write()
        return self._of[run.name]

    def _set(self, run: SweepRun, status: str, **facts: Any) -> None:
        if status == DONE:
            report = read_json(Workdir(self._directory / run.name).report_json)
            facts["accuracy"] = report["accuracy"]
            facts["interval"] = tuple(report["accuracy_interval"])
        self._of[run.name] = Outcome(run.arm, run.seed, run.changes, status, **facts)

    def write(self) -> None:
        """Write sweep.json."""
        write_json(
            self._path, {"runs": {name: dataclasses.asdict(o) for name, o in self._of.items()}}
        )

    def of(self, status: str) -> list[str]:
        """The names of the runs with this status."""
        return [name for name, outcome in self._of.items() if outcome.status == status]

    def user_can_mend(self) -> bool:
        """Whether a run failed by what its user must change first."""
        return any(outcome.exit_code == EXIT_USER for outcome in self._of.values())

    def table(self) -> str:
        """A line per run; failed ones with their reason."""
        rows = [["arm", "seed", "accuracy", "95 % interval", "status"]]
        for outcome in self._of.values():
            low, high = outcome.interval or (None, None)
            rows.append(
                [
                    outcome.arm,
                    str(outcome.seed),
                    _percent(outcome.accuracy),
                    f"{_percent(low)} to {_percent(high)}" if outcome.interval else "",
                    f"{outcome.status}: {outcome.message}" if outcome.message else outcome.status,
                ]
            )
        return "\n".join(columns(rows))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines whose cells stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
