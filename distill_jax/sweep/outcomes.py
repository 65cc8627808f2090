"""The outcome of every step of a sweep: sweep.json, and the table at the end."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import EXIT_INTERRUPTED, EXIT_USER
from distill_jax.sweep.definition import Make
from distill_jax.sweep.plan import Plan, SweepStep
from distill_jax.workdir import read_json, write_json

# From its directory, and after its process has ended.
NOT_BEGUN, HALF_DONE, DONE = "not begun", "half done", "done"
FAILED, INTERRUPTED = "failed", "interrupted"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One step in sweep.json.

    arm        of a step of several, with its number: ARM/0
    status     one of the words above
    exit_code  of its last process, None if it needed none
    message    why it failed, in one line
    seconds    of all its processes together
    accuracy   of its (headline) evaluation, with its 95 % interval; None until it is done, and of a
               Make
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
    """The outcomes of all steps, as in sweep.json."""

    def __init__(self, directory: pathlib.Path, plan: Plan, states: Mapping[str, str]):
        """`states`: {name of the step: how far its directory is}. Nothing is written yet. What is
        known of steps that were not chosen now is kept."""
        self._directory, self._path = directory, directory / "sweep.json"
        known = read_json(self._path)["runs"] if self._path.exists() else {}
        self._known = {name: outcome for name, outcome in known.items() if name in plan.names}
        self._of: dict[str, Outcome] = {}
        for step in plan.steps:
            seconds = known.get(step.name, {}).get("seconds", 0.0)
            self._set(step, states[step.name], seconds=seconds)

    def record(self, step: SweepStep, exit_code: int, message: str, seconds: float) -> Outcome:
        """A process of `step` has ended: write its outcome to sweep.json."""
        if exit_code == 0:
            status, message = DONE, ""
        elif exit_code == EXIT_INTERRUPTED:
            status, message = INTERRUPTED, ""
        else:
            status = FAILED
        spent = round(self._of[step.name].seconds + seconds, 1)
        self._set(step, status, exit_code=exit_code, message=message, seconds=spent)
        self.write()
        return self._of[step.name]

    def _set(self, step: SweepStep, status: str, **facts: Any) -> None:
        if status == DONE and not isinstance(step.step, Make):
            report = read_json(self._directory / step.name / "report.json")
            facts["accuracy"] = report["accuracy"]
            facts["interval"] = tuple(report["accuracy_interval"])
        self._of[step.name] = Outcome(step.label, step.seed, step.changes, status, **facts)

    def are_done(self, names: Sequence[str]) -> bool:
        """Whether all of these steps are."""
        return all(self._of[name].status == DONE for name in names)

    def write(self) -> None:
        """Write sweep.json."""
        own = {name: dataclasses.asdict(outcome) for name, outcome in self._of.items()}
        write_json(self._path, {"runs": self._known | own})

    def of(self, status: str) -> list[str]:
        """The names of the steps with this status."""
        return [name for name, outcome in self._of.items() if outcome.status == status]

    def user_can_mend(self) -> bool:
        """Whether a step failed by what its user must change first."""
        return any(outcome.exit_code == EXIT_USER for outcome in self._of.values())

    def table(self) -> str:
        """A line per step; failed ones with their reason."""
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
    """Rows of text as lines with aligned cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
