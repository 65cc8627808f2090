"""The contents of a sweep file. Imports nothing heavy.

from distill_jax.sweep.definition import Ask, Run, Sweep

def get_sweep():
    return Sweep(
        config="configs/demo.py",
        arms={
            "chain": {"scheme": "chain"},
            "socratic": {"scheme": "socratic"},
            # An arm of several steps; {0} is the directory of its first one.
            "self_training": (
                Run({"scheme": "chain"}),
                Ask({"evaluation.split": "train"}),
                Run({"scheme": "chain", "data.annotations": "{1}/predictions.jsonl"}),
            ),
        },
        seeds=(0, 1, 2),
    )

plan.py turns it into the processes to run.
"""

import collections
import dataclasses
import fnmatch
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.settings import command_line

SHIPPED = command_line.PACKAGED_CONFIGS / "sweeps"


@dataclasses.dataclass(frozen=True)
class Run:
    """A step of an arm that trains and evaluates students: `python -m distill_jax.main`.

    changes  {key: value} of the base config. A value, or an element of a tuple, that begins with
             {0}, {1} and so on names the directory of that earlier step of the arm
    """

    changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Ask:
    """A step of an arm that evaluates the students of an earlier run: `python -m
    distill_jax.evaluate`.

    changes  {key: value} of config.evaluation and config.sampling. The step's directory is that of
             the evaluation: {1}/predictions.jsonl are the answers
    """

    changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Make:
    """A step of an arm: `python -m MODULE --NAME=VALUE ... --output=DIRECTORY` writes files.

    arguments  {name: value}, the values as in Run; --output is the step's own directory
    """

    module: str
    arguments: Mapping[str, Any]


Step = Run | Ask | Make
Arm = Mapping[str, Any] | tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Several runs of one base config, as `get_sweep()` of a sweep file returns it.

    config     the base config: a file with get_config(), as for distill_jax.main
    arms       {name: {key: value}}: what an arm changes of it, as in {"scheme": "chain"}; or
               {name: (Run(...), Ask(...), Make(...), Run(...))}: steps, of which the last counts.
               A step that several arms share, with everything it depends on, is done once
    seeds      config.seed of the runs of every arm
    overrides  {key: value} that all runs change of the base
    baseline   the arm that the report compares with, by its first seed; "" = the first arm
    """

    config: str
    arms: Mapping[str, Arm]
    seeds: Sequence[int] = (0,)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    baseline: str = ""


def steps_of(arm: Arm) -> tuple[Step, ...]:
    """The steps of an arm: one for a Mapping."""
    return (Run(arm),) if isinstance(arm, Mapping) else arm


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
    if not (isinstance(sweep.overrides, Mapping) and all(map(_is_arm, arms))):
        raise UserError(
            f"--config={path}: arms={{NAME: {{KEY: VALUE}}}} and overrides={{KEY: VALUE}} are "
            "expected; an arm may be a tuple of Run({KEY: VALUE}), Ask({KEY: VALUE}) and "
            "Make(MODULE, {NAME: VALUE}), too"
        )
    if not isinstance(sweep.seeds, Sequence):
        raise UserError(f"--config={path}: seeds={sweep.seeds!r}: a tuple such as (0, 1, 2)")
    return sweep


def only(sweep: Sweep, patterns: str) -> Sweep:
    """The sweep with those arms that one of the patterns `A,B*` fits; "" = all. If the baseline is
    not one of them, the first arm takes its place. Raises UserError for a pattern that fits none.
    """
    chosen: set[str] = set()
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        fitting = fnmatch.filter(sweep.arms, pattern)
        if not fitting:
            raise UserError(f"--arms: {pattern!r} fits none of {', '.join(sweep.arms)}")
        chosen.update(fitting)
    if not chosen:
        return sweep
    arms = {name: arm for name, arm in sweep.arms.items() if name in chosen}
    baseline = sweep.baseline if sweep.baseline in arms else ""
    return dataclasses.replace(sweep, arms=arms, baseline=baseline)


def with_seeds(sweep: Sweep, seeds: str) -> Sweep:
    """The sweep with the seeds `0,1` in place of its own; "" = its own. Raises UserError for text
    that is not a list of whole numbers from 0 on."""
    parts = [part.strip() for part in seeds.split(",")] if seeds else []
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UserError(f"--seeds={seeds}: write whole numbers, as in --seeds=0,1")
    chosen = tuple(dict.fromkeys(int(part) for part in parts))
    return dataclasses.replace(sweep, seeds=chosen) if chosen else sweep


def _is_arm(arm: Any) -> bool:
    steps = steps_of(arm) if isinstance(arm, Mapping | tuple) else (None,)
    said = [each.arguments if isinstance(each, Make) else getattr(each, "changes", None)
            for each in steps]  # fmt: skip
    kinds = all(isinstance(each, Run | Ask | Make) for each in steps)
    return kinds and all(isinstance(each, Mapping) for each in said)
