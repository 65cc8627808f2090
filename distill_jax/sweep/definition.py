"""What a sweep file says, and the runs that it stands for. Imports nothing heavy.

from distill_jax.sweep.definition import Sweep

def get_sweep():
    return Sweep(
        config="configs/demo.py",
        arms={"chain": {"scheme": "chain"}, "socratic": {"scheme": "socratic"}},
        seeds=(0, 1, 2),
    )
"""

import collections
import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.settings import command_line

SHIPPED = command_line.PACKAGED_CONFIGS / "sweeps"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Several runs of one base config, as `get_sweep()` of a sweep file returns it.

    config     the base: a file with get_config(), as for distill_jax.main
    arms       {name: {key: value}}: what an arm changes of it, as in {"scheme": "chain"}
    seeds      config.seed of the runs of every arm
    overrides  {key: value} that all runs change of the base
    baseline   the arm that the report compares with, by its first seed; "" = the first arm
    """

    config: str
    arms: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int] = (0,)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    baseline: str = ""


def grid(values: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """The arms of all combinations: {"data.train_problems": [500, 1000]} makes the two arms
    `train_problems=500` and `train_problems=1000`. Raises UserError if two have one name."""
    last = {key: key.rpartition(".")[2] for key in values}
    times = collections.Counter(last.values())
    labels = {key: name if times[name] == 1 else key for key, name in last.items()}
    arms: dict[str, dict[str, Any]] = {}
    for point in itertools.product(*values.values()):
        arm = dict(zip(values, point, strict=True))
        parts = (f"{labels[key]}={command_line.as_text(value)}" for key, value in arm.items())
        name = re.sub(r"[^\w.+=-]+", "_", "-".join(parts), flags=re.ASCII)
        if name in arms:
            raise UserError(f"grid: two arms would be called {name!r}: write the arms out")
        arms[name] = arm
    return arms


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """One run: `config` is the base with `changes`, {key: text after `--config.key=`}."""

    arm: str
    seed: int
    base: str
    changes: dict[str, str]
    config: Any

    @property
    def name(self) -> str:
        """Of its working directory, in that of the sweep."""
        return f"{self.arm}-seed{self.seed}"

    def arguments(self, workdir: pathlib.Path) -> list[str]:
        """Those of `python -m distill_jax.main`: the run is an ordinary one."""
        changes = [f"{command_line.PREFIX}{key}={text}" for key, text in self.changes.items()]
        return [f"--config={self.base}", *changes, f"--workdir={workdir}"]


def load_sweep(path: str) -> Sweep:
    """The sweep of a file; those of configs/sweeps/ come with the package. Raises UserError."""
    sweep = command_line.from_file(path, "get_sweep", SHIPPED)
    if not isinstance(sweep, Sweep):
        kind = type(sweep).__name__
        raise UserError(
            f"--config={path}: get_sweep() returns {kind}: distill_jax.sweep.definition.Sweep "
            "is expected"
        )
    arms = sweep.arms.values() if isinstance(sweep.arms, Mapping) else [None]
    if not all(isinstance(each, Mapping) for each in [*arms, sweep.overrides]):
        raise UserError(
            f"--config={path}: arms={{NAME: {{KEY: VALUE}}}} and overrides={{KEY: VALUE}} are "
            "expected"
        )
    if not isinstance(sweep.seeds, Sequence):
        raise UserError(f"--config={path}: seeds={sweep.seeds!r}: a tuple such as (0, 1, 2)")
    return sweep


def planned_runs(sweep: Sweep, overrides: Mapping[str, str]) -> list[SweepRun]:
    """The runs, arm by arm. `overrides`, of the command line, are for all of them.

    Raises one UserError that lists every mistake of the sweep and of its overrides.
    """
    everywhere = {key: command_line.as_text(value) for key, value in sweep.overrides.items()}
    everywhere |= overrides
    base = command_line.load_config(sweep.config)
    mistakes = [*_mistakes(sweep, overrides), *_apply(base, everywhere, "all runs")]
    runs = []
    for arm, values in sweep.arms.items():
        own = {key: command_line.as_text(value) for key, value in values.items()}
        config = base.copy_and_resolve_references()
        mistakes += _apply(config, own, f"arm {arm}")
        runs += [_run(sweep, config, arm, seed, everywhere | own) for seed in sweep.seeds]
    # Runs that lack what was mistaken may well be the same.
    mistakes = mistakes or _twins(runs)
    if mistakes:
        raise UserError("; ".join(mistakes))
    return runs


def _apply(config: Any, changes: Mapping[str, str], of: str) -> list[str]:
    try:
        command_line.apply_overrides(config, dict(changes))
    except UserError as error:
        return [f"{of}: {error}"]
    return []


def _run(sweep: Sweep, config: Any, arm: str, seed: int, changes: dict[str, str]) -> SweepRun:
    own = {"seed": str(seed)}
    if config.checkpoint_dir:  # a place outside of the working directories, shared by all runs
        own["checkpoint_dir"] = f"{config.checkpoint_dir.rstrip('/')}/{arm}-seed{seed}"
    config = config.copy_and_resolve_references()
    _apply(config, own, arm)  # what a seed may be is looked at below
    return SweepRun(arm, seed, sweep.config, changes | own, config)


def _mistakes(sweep: Sweep, overrides: Mapping[str, str]) -> Iterator[str]:
    if not sweep.arms or not sweep.seeds:
        yield "the sweep has no runs: give it arms and seeds"
    for seed in sweep.seeds:
        if type(seed) is not int or seed < 0 or list(sweep.seeds).count(seed) > 1:
            yield f"seeds={sweep.seeds!r}: whole numbers from 0 are expected, each once"
            break
    for arm in sweep.arms:
        if not _SAFE_NAME.fullmatch(arm):
            yield f"arm {arm!r}: letters, digits and _.+=- make a name, of a directory too"
    if sweep.baseline and sweep.baseline not in sweep.arms:
        yield f"baseline={sweep.baseline!r}: choose one of {', '.join(sweep.arms)}"
    places = {"all runs": {**sweep.overrides, **overrides}} | {
        f"arm {arm}": values for arm, values in sweep.arms.items()
    }
    for place, values in places.items():
        if "seed" in values:
            yield f"{place}: config.seed is set by the sweep's seeds: leave it out"
    for key in overrides:
        arms = [arm for arm, values in sweep.arms.items() if key in values]
        if arms:
            where = f"the sweep sets it in {', '.join(arms)}"
            yield f"{command_line.PREFIX}{key}: {where}: leave it out"


def _twins(runs: Sequence[SweepRun]) -> list[str]:
    """A report would take two arms of one config for one."""
    arm_of: dict[str, str] = {}
    twins = []
    for run in (run for run in runs if run.seed == runs[0].seed):
        config = json.dumps(command_line.flatten(run.config), sort_keys=True)
        if arm_of.setdefault(config, run.arm) != run.arm:
            twins.append(f"arms {arm_of[config]} and {run.arm} are the same")
    return twins
