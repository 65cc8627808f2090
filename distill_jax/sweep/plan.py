"""The processes of a sweep, their order, and where they write."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from distill_jax.errors import UserError
from distill_jax.settings import command_line, task_module
from distill_jax.sweep import sources
from distill_jax.sweep.definition import Ask, Make, Run, Step, Sweep, steps_of
from distill_jax.workdir import some_of

_SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*", re.ASCII)
_PLACE = re.compile(r"\{(\d+)\}(?=/|$)")  # a value that begins like this names an earlier step
_ASKABLE = ("evaluation.", "sampling.")


@dataclasses.dataclass(frozen=True)
class SweepStep:
    """One process.

    name     of its directory, in that of the sweep: ARM-seedN, or ARM-seedN/0 and so on
    label    of its arm in tables: ARM, or ARM/0 and so on
    step     as the sweep file says
    changes  {key: text after `--config.key=`} of a Run and of an Ask, {name: text after `--name=`}
             of a Make; directories of earlier steps are filled in
    config   of a Run its config, of an Ask that of the run it asks with its changes; None of a Make
    run      of an Ask: the name of the run that it asks
    needs    names of the steps that must be done before
    sources  {name: digest of its settings} of every Ask and Make whose files it reads, itself or by
             another one of them
    """

    name: str
    label: str
    seed: int
    base: str
    step: Step
    changes: dict[str, str]
    config: Any = None
    run: str = ""
    needs: tuple[str, ...] = ()
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        if isinstance(self.step, Make):
            return self.step.module
        return "distill_jax.main" if isinstance(self.step, Run) else "distill_jax.evaluate"

    def arguments(self, directory: pathlib.Path) -> list[str]:
        """The arguments of `module`, for the sweep in `directory`."""
        if isinstance(self.step, Make):
            given = [f"--{name}={text}" for name, text in self.changes.items()]
            return [*given, f"--output={directory / self.name}"]
        changes = [f"{command_line.PREFIX}{key}={text}" for key, text in self.changes.items()]
        if isinstance(self.step, Ask):
            return [*changes, f"--workdir={directory / self.run}"]
        return [f"--config={self.base}", *changes, f"--workdir={directory / self.name}"]


class Plan(NamedTuple):
    """All processes, those that come before others first; {ARM-seedN: the names of its steps, in
    order}; and the names of all steps of the sweep, those that were not chosen as well."""

    steps: list[SweepStep]
    ways: dict[str, tuple[str, ...]]
    names: frozenset[str]

    def of(self, name: str) -> SweepStep:
        """The step of this name."""
        return next(step for step in self.steps if step.name == name)


def plan(
    sweep: Sweep, overrides: Mapping[str, str], directory: pathlib.Path, whole: Sweep | None = None
) -> Plan:
    """The processes of a sweep in `directory`, arm by arm. `overrides`, of the command line, are
    for all of its runs. If the sweep has only some arms of `whole`, or other seeds, its steps have
    the names that they have there, so that the parts of a sweep can be run one after another.

    Raises one UserError that lists every mistake of the sweep and of its overrides.
    """
    everywhere = {key: command_line.as_text(value) for key, value in sweep.overrides.items()}
    everywhere |= overrides
    base = command_line.load_config(sweep.config)
    mistakes = [*_mistakes(sweep, overrides), *_apply(base, everywhere, "all runs")]
    whole = whole or sweep
    planner = _Planner(whole, base, everywhere, directory)
    for arm in whole.arms:
        others = (seed for seed in sweep.seeds if seed not in whole.seeds)
        for seed in (*whole.seeds, *others):
            found = planner.add(arm, seed)
            mistakes += found if arm in sweep.arms else []
    mistakes = list(dict.fromkeys(mistakes))
    chosen = [f"{arm}-seed{seed}" for arm in sweep.arms for seed in sweep.seeds]
    ways = {name: planner.ways[name] for name in chosen}
    used = {name for way in ways.values() for name in way}
    names = frozenset(step.name for step in planner.steps.values())
    planned = Plan([step for step in planner.steps.values() if step.name in used], ways, names)
    if mistakes:
        raise UserError("; ".join([*mistakes, *_wrong_values(planned.steps)]))
    # Without the wrong values, some runs may be the same.
    if mistakes := [*_twins(planned.ways, sweep), *_sampled_evaluations(planned)]:
        raise UserError("; ".join(mistakes))
    return planned


class _Planner:
    """The steps planned so far."""

    def __init__(
        self, sweep: Sweep, base: Any, everywhere: dict[str, str], directory: pathlib.Path
    ):
        self._sweep, self._base, self._everywhere = sweep, base, everywhere
        self._directory = directory
        self.steps: dict[str, SweepStep] = {}  # by all that a step is made of
        self.ways: dict[str, tuple[str, ...]] = {}
        self._mistakes: list[str] = []

    def add(self, arm: str, seed: int) -> list[str]:
        """Plan the steps of an arm with a seed that no arm before has. Returns its mistakes."""
        self._mistakes = []
        way: list[SweepStep] = []
        steps = steps_of(self._sweep.arms[arm])
        for number, step in enumerate(steps):
            alone = len(steps) == 1
            name = f"{arm}-seed{seed}" if alone else f"{arm}-seed{seed}/{number}"
            label = arm if alone else f"{arm}/{number}"
            made = self._step(step, way, SweepStep(name, label, seed, self._sweep.config, step, {}))
            key = json.dumps([seed, *_made_of(made)], sort_keys=True)
            way.append(self.steps.setdefault(key, made))
        self.ways[f"{arm}-seed{seed}"] = tuple(each.name for each in way)
        return self._mistakes

    def _step(self, step: Step, way: Sequence[SweepStep], named: SweepStep) -> SweepStep:
        """`named` with all that it is made of, after the steps of `way`."""
        values = step.arguments if isinstance(step, Make) else step.changes
        places = [str(self._directory / each.name) for each in way]
        own = {
            key: command_line.as_text(_filled_in(value, places)) for key, value in values.items()
        }
        named = dataclasses.replace(
            named,
            needs=tuple(each.name for each in way),
            sources=_sources(step, way, self._directory),
        )
        if isinstance(step, Make):
            return dataclasses.replace(named, changes=own)
        if isinstance(step, Ask):
            runs = [each for each in way if isinstance(each.step, Run)]
            config = (runs[-1].config if runs else self._base).copy_and_resolve_references()
            self._mistakes += _apply(config, own, f"arm {named.label}")
            asked = runs[-1].name if runs else ""
            return dataclasses.replace(named, changes=own, config=config, run=asked)
        config = self._base.copy_and_resolve_references()
        self._mistakes += _apply(config, own, f"arm {named.label}")
        places_of_run = {"seed": str(named.seed)}
        if config.checkpoint_dir:  # outside the working directories, and shared by all runs
            places_of_run["checkpoint_dir"] = f"{config.checkpoint_dir.rstrip('/')}/{named.name}"
        _apply(config, places_of_run, named.label)  # seeds are checked elsewhere
        changes = self._everywhere | own | places_of_run
        return dataclasses.replace(named, changes=changes, config=config)


def _sources(step: Step, way: Sequence[SweepStep], directory: pathlib.Path) -> dict[str, str]:
    """See `SweepStep.sources`, of a step after those of `way`."""
    found: dict[str, str] = {}
    for read in (way[place] for place in sorted(_named(step)) if place < len(way)):
        found |= read.sources
        if not isinstance(read.step, Run):
            found[read.name] = sources.digest(read.module, read.changes, read.config, directory)
    return found


def _made_of(step: SweepStep) -> tuple[Any, ...]:
    """Equal for steps that do the same."""
    if isinstance(step.step, Make):
        return step.step.module, step.changes
    config = command_line.flatten(step.config)
    config.pop("checkpoint_dir")  # it follows from the name
    return type(step.step).__name__, step.run, config


def _filled_in(value: Any, places: Sequence[str]) -> Any:
    """A value with the directories of earlier steps."""
    if isinstance(value, tuple | list):
        return tuple(_filled_in(each, places) for each in value)
    found = _PLACE.match(value) if isinstance(value, str) else None
    if found is None or int(found[1]) >= len(places):
        return value
    return places[int(found[1])] + value[found.end() :]


def _named(step: Step) -> set[int]:
    """The numbers of the steps whose directories a step names."""
    values = step.arguments if isinstance(step, Make) else step.changes
    parts = [
        part
        for value in values.values()
        for part in (value if isinstance(value, tuple | list) else (value,))
    ]
    found = (_PLACE.match(part) for part in parts if isinstance(part, str))
    return {int(each[1]) for each in found if each is not None}


def _apply(config: Any, changes: Mapping[str, str], of: str) -> list[str]:
    try:
        task_module.apply_overrides(config, changes)
    except UserError as error:
        return [f"{of}: {error}"]
    return []


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
        yield from _mistakes_of_steps(arm, steps_of(sweep.arms[arm]))
    if sweep.baseline and sweep.baseline not in sweep.arms:
        yield f"baseline={sweep.baseline!r}: choose one of {', '.join(sweep.arms)}"
    changes = {arm: list(_changes(steps_of(steps))) for arm, steps in sweep.arms.items()}
    places = {"all runs": [{**sweep.overrides, **overrides}]} | {
        f"arm {arm}": values for arm, values in changes.items()
    }
    for place, values in places.items():
        if any("seed" in each for each in values):
            yield f"{place}: config.seed is set by the sweep's seeds: leave it out"
    for key in overrides:
        arms = [arm for arm, values in changes.items() if any(key in each for each in values)]
        if arms:
            where = f"the sweep sets it in {', '.join(arms)}"
            yield f"{command_line.PREFIX}{key}: {where}: leave it out"


def _wrong_values(steps: Sequence[SweepStep]) -> list[str]:
    """The wrong values of configs: they are told together with keys that do not exist. Each comes
    once, with the arms that have it."""
    from distill_jax.run import checks  # heavy: --help does without it

    arms: dict[str, list[str]] = {}
    for step in steps:
        for mistake in checks.mistakes(step.config) if step.config is not None else ():
            arms.setdefault(mistake, []).append(step.label)
    return [
        f"arm {some_of(list(dict.fromkeys(labels)), 3)}: {mistake}"
        for mistake, labels in arms.items()
    ]


def _changes(steps: Sequence[Step]) -> Iterator[Mapping[str, Any]]:
    """What the steps change of configs."""
    return (step.changes for step in steps if not isinstance(step, Make))


def _mistakes_of_steps(arm: str, steps: Sequence[Step]) -> Iterator[str]:
    if not steps or isinstance(steps[-1], Make):
        yield f"arm {arm}: its last step must be a Run or an Ask, which can be compared"
    for number, step in enumerate(steps):
        place = f"arm {arm}, step {number}"
        if isinstance(step, Ask):
            if not any(isinstance(each, Run) for each in steps[:number]):
                yield f"{place}: an Ask needs a Run before it, whose students it asks"
            other = [key for key in step.changes if not key.startswith(_ASKABLE)]
            if other:
                yield (
                    f"{place}: an Ask changes {' and '.join(f'{a}*' for a in _ASKABLE)} alone, not "
                    f"{', '.join(other)}"
                )
        for named in sorted(_named(step)):
            if named >= number:
                yield f"{place}: {{{named}}} is not an earlier step: count them from 0"


def _sampled_evaluations(plan: Plan) -> list[str]:
    """Steps that sample answers to questions on which a later step, which uses these answers, is
    evaluated: students must not learn from samples of their test questions."""
    found = {}
    for way in plan.ways.values():
        steps = [plan.of(name) for name in way]
        for number, asked in enumerate(steps):
            later = steps[number + 1 :]
            if not isinstance(asked.step, Ask) or not any(
                number in _named(each.step) for each in later
            ):
                continue
            for each in later:
                if isinstance(each.step, Run) and _questions(asked) == _questions(each):
                    task, split = _questions(asked)
                    found[asked.label] = (
                        f"arm {asked.label} asks the {split} split of {task} for what is learned "
                        f"from, and {each.label} is evaluated on it: set evaluation.split to the "
                        "training problems"
                    )
    return list(found.values())


def _questions(step: SweepStep) -> tuple[str, str]:
    evaluation = step.config.evaluation
    return evaluation.task or step.config.task, evaluation.split


def _twins(ways: Mapping[str, tuple[str, ...]], sweep: Sweep) -> list[str]:
    """A report would treat two arms with one config as one arm."""
    arm_of: dict[str, str] = {}
    twins = []
    for arm in sweep.arms if sweep.seeds else ():
        last = ways[f"{arm}-seed{sweep.seeds[0]}"][-1:]
        if arm_of.setdefault("".join(last), arm) != arm:
            twins.append(f"arms {arm_of[''.join(last)]} and {arm} are the same")
    return twins
