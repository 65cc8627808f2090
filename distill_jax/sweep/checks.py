"""Checks of a sweep's runs before they start: whether they may run, and how far they are."""

import collections
import importlib.util
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from distill_jax.errors import UserError
from distill_jax.run import from_first, stages
from distill_jax.run.run import Run, make_run
from distill_jax.sweep import definition, sources
from distill_jax.sweep.definition import Ask, Make
from distill_jax.sweep.outcomes import DONE, HALF_DONE, NOT_BEGUN
from distill_jax.sweep.plan import SweepStep
from distill_jax.workdir import Workdir, read_json, some_of, write_json


def leave_devices_alone() -> None:
    """This process uses only the CPU, so that its runs, in their own processes, get the
    accelerator."""
    jax.config.update("jax_platforms", "cpu")


def check(steps: Sequence[SweepStep], directory: pathlib.Path) -> dict[str, Run]:
    """{name: the run of a Run, or the run that an Ask evaluates, with its changes}; writes nothing.

    Raises one UserError that lists everything that is wrong with any config, and every working
    directory that holds another run; mistakes that several steps share are listed once.
    """
    if Workdir(directory).config.exists():
        raise UserError(f"--workdir={directory} holds a run, not a sweep: choose another")
    checked: dict[str, Run] = {}
    wrong: dict[str, list[str]] = collections.defaultdict(list)
    for step in steps:
        try:
            if isinstance(step.step, Make):
                _check_module(step.module)
            else:
                run = checked[step.name] = _check(step, directory)
                if isinstance(step.step, definition.Run) and run.workdir.config.exists():
                    sources.check(step.name, step.sources, directory)
        except UserError as error:
            wrong[str(error)].append(step.name)
    if wrong:
        raise UserError(
            "; ".join(f"{some_of(names, 3)}: {mistake}" for mistake, names in wrong.items())
        )
    return checked


def _check_module(module: str) -> None:
    try:
        there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise UserError(f"Make({module!r}): there is no such module")


def _check(planned: SweepStep, directory: pathlib.Path) -> Run:
    if planned.config.distributed.processes != 1:
        raise UserError(
            "config.distributed.processes: a sweep runs on one machine: start each run of --list "
            "by its own command on all of them"
        )
    if planned.config.train.students:
        raise UserError("config.train.students: a sweep trains all students of a run: leave it out")
    workdir = Workdir(directory / (planned.run or planned.name))
    run = make_run(planned.config, workdir)
    try:
        return from_first.checked(run, may_take_over=True)
    except UserError:
        different = workdir.differences(run.identity()) if workdir.config.exists() else []
        if not different:
            raise
        # Without the directory's name, so that a mistake of all runs is listed once.
        raise UserError(
            f"another run is in its directory ({some_of(different)}): choose another --workdir, or "
            "give the values that the sweep was begun with"
        ) from None


def state(step: SweepStep, run: Run | None, directory: pathlib.Path) -> str:
    """NOT_BEGUN, HALF_DONE, or DONE: then its command would say that nothing is left to do.

    `run` as from `check`.
    """
    if run is None:
        return _state_of_make(step, directory)
    workdir = run.workdir
    if run.takes_over or not workdir.config.exists():
        return NOT_BEGUN
    try:
        evaluated = stages.is_evaluated(run)
    except UserError:  # the checkpoint to evaluate is missing: the run will say so
        return HALF_DONE
    if isinstance(step.step, Ask):
        return DONE if evaluated else NOT_BEGUN
    return DONE if evaluated and _is_headline(run) else HALF_DONE


def begin(step: SweepStep, run: Run | None, directory: pathlib.Path) -> None:
    """Mark on the disk what a step that has not begun is made from."""
    if isinstance(step.step, Make):
        # If it is stopped, its files are not those of an earlier command.
        (directory / step.name / "made_by.json").unlink(missing_ok=True)
    elif run is not None and not run.workdir.config.exists():
        sources.remember(step.name, step.sources, directory)


def settle(step: SweepStep, run: Run | None, directory: pathlib.Path) -> None:
    """Mark on the disk that a step is done. The directory of an Ask becomes a link to that of its
    evaluation; that of a Make remembers by which command it was made."""
    place = directory / step.name
    if isinstance(step.step, Ask):
        assert run is not None
        evaluation = stages.evaluation_directory(run, from_first.known_students(run))
        target = os.path.relpath(evaluation, place.parent)
        if not (place.is_symlink() and os.readlink(place) == target):
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f".{place.name}.tmp")
            beside.unlink(missing_ok=True)
            beside.symlink_to(target)
            os.replace(beside, place)
    elif isinstance(step.step, Make):
        write_json(place / "made_by.json", _made_by(step, directory))


def _state_of_make(step: SweepStep, directory: pathlib.Path) -> str:
    made_by = directory / step.name / "made_by.json"
    if made_by.exists():
        return DONE if read_json(made_by) == _made_by(step, directory) else NOT_BEGUN
    return HALF_DONE if made_by.parent.exists() else NOT_BEGUN


def _made_by(step: SweepStep, directory: pathlib.Path) -> dict[str, Any]:
    found = {"module": step.module, "arguments": step.arguments(directory)}
    return found | ({"sources": dict(step.sources)} if step.sources else {})


def _is_headline(run: Run) -> bool:
    """Whether the evaluation that the config asks for is the one in report.json."""
    workdir = run.workdir
    if not workdir.report_json.exists():
        return False
    report = read_json(workdir.report_json)
    known = from_first.known_students(run)
    return report == read_json(stages.evaluation_directory(run, known) / "report.json")
