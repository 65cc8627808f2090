"""When small students ask others: a threshold that is given, or that of a combined evaluation."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from distill_jax.dialogues.votes import MAJORITY
from distill_jax.errors import UserError
from distill_jax.evaluation.deferral import ALL, NONE, UNCERTAINTIES
from distill_jax.workdir import Workdir, local_path, read_json

KEY = "escalate_to"
VOTES = "votes"
BY = "answer"  # the measure of uncertainty if none is named
# Keys of config.sampling that change what students write, and how sure of it they are.
_WRITING = (
    *("samples", "temperature", "top_k", "top_p", "calculator"),
    *("max_turns", "max_turn_tokens", "max_tokens"),
    *("vote", "vote_width", "vote_buckets"),
)


@dataclasses.dataclass(frozen=True)
class Rule:
    """When the small students ask.

    first      the name of the small students
    by         a measure of uncertainty (evaluation/deferral.py)
    threshold  others are asked if the uncertainty is above it
    sampling   keys of config.sampling by which the small students write, instead of their run's
    """

    first: str
    by: str
    threshold: float
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Member:
    """An evaluation of which a combination was made."""

    name: str
    evaluation: pathlib.Path
    identity: dict[str, Any]
    steps: dict[str, int]  # of the checkpoints
    checkpoint: str  # config.evaluation.checkpoint
    sampling: dict[str, Any]  # the keys of config.sampling that change what was written

    @property
    def workdir(self) -> pathlib.Path:
        """The directory of its run."""
        return self.evaluation.parents[1]


@dataclasses.dataclass(frozen=True)
class Switch:
    """A combination by the rule `switch` of one small and one large run."""

    path: pathlib.Path
    by: str
    threshold: float
    small: Member
    large: Member


def read_switch(name: str) -> Switch | None:
    """The combination in a directory; None if it is that of a run.

    Raises UserError if it holds neither, or another combination than a switch from one run to
    another one.
    """
    path = local_path(name, KEY)
    if Workdir(path).config.exists():
        return None
    report = path / "report.json"
    if not report.exists():
        raise UserError(
            f"{KEY}={name}: neither the directory of a run nor a combination by --rule switch"
        )
    combined = read_json(report).get("combination", {})
    if combined.get("rule") != "switch":
        raise UserError(f"{KEY}={name}: not a combination by --rule switch, which has a threshold")
    members = [_member(each) for each in combined["members"]]
    if len(members) != 2:
        raise UserError(
            f"{KEY}={name}: a switch from a committee of {len(members) - 1} runs: only one run "
            "can be asked first: combine --rule switch SMALL LARGE"
        )
    for member in members:
        if not (member.workdir / "config.json").exists():
            raise UserError(
                f"{KEY}={name}: its run {member.workdir} is not there: name the large run itself, "
                "and the threshold"
            )
    return Switch(path, combined["settings"]["by"], combined["threshold"]["value"], *members)


def _member(found: dict[str, Any]) -> Member:
    if found["sampling"]["given"]:
        raise UserError(
            f"{KEY}: {found['path']} was given turns (config.sampling.given), as nobody gives them "
            "here: combine evaluations without"
        )
    return Member(
        found["name"],
        pathlib.Path(found["path"]),
        dict(found["identity"]),
        dict(found["checkpoint_steps"]),
        found["checkpoint_rule"],
        # An evaluation says nothing of votes if the majority wins.
        {"vote": MAJORITY}
        | {key: found["sampling"][key] for key in _WRITING if key in found["sampling"]},
    )


def check_is(member: Member, run: Workdir, identity: dict[str, Any], steps: dict[str, int]) -> None:
    """Raise UserError unless a run and its checkpoints are those of a member of a switch."""
    if json.dumps(member.identity, sort_keys=True) != json.dumps(identity, sort_keys=True):
        raise UserError(
            f"{KEY}: the combination is of the run {member.workdir}, and {run.path} is another one"
        )
    if member.steps != steps:
        shown = [
            ",".join(f"{student}={step}" for student, step in each.items())
            for each in (member.steps, steps)
        ]
        raise UserError(
            f"{KEY}: the threshold is that of other checkpoints of {run.path} ({shown[0]}) than "
            f"are loaded ({shown[1]}): set --config.evaluation.checkpoint={shown[0]}"
        )


def choose(switch: Switch | None, threshold: float | None, by: str | None) -> tuple[str, float]:
    """(measure, threshold) as given, or else those of the switch.

    Raises UserError for an unknown measure, a threshold out of range or none, and for a switch's
    threshold of another measure.
    """
    if by is not None and by not in UNCERTAINTIES:
        raise UserError(f"by={by!r}: no measure of uncertainty; choose {', '.join(UNCERTAINTIES)}")
    if threshold is None:
        if switch is None:
            raise UserError(
                f"{KEY} needs a threshold: give one from {ALL:g} to {NONE:g}, or instead of the "
                "run the directory of a combination by --rule switch, which chose one on dev"
            )
        if by not in (None, switch.by):
            raise UserError(
                f"by={by!r}: the threshold of {switch.path} is for {switch.by!r}: give a threshold "
                "as well"
            )
        return switch.by, switch.threshold
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or math.isnan(threshold) or not ALL <= threshold <= NONE:
        raise UserError(f"threshold={threshold!r}: give a number from {ALL:g} to {NONE:g}")
    return by or (switch.by if switch else BY), float(threshold)
