"""What is known of a sweep's runs before they run: whether they may, and how far they are."""

import collections
import pathlib
from collections.abc import Sequence

import jax

from distill_jax.errors import UserError
from distill_jax.run import from_first, stages
from distill_jax.run.run import Run, make_run
from distill_jax.sweep.definition import SweepRun
from distill_jax.sweep.outcomes import DONE, HALF_DONE, NOT_BEGUN
from distill_jax.workdir import Workdir, read_json, some_of


def leave_devices_alone() -> None:
    """This process only looks: the accelerator is for its runs, each in a process of its own."""
    jax.config.update("jax_platforms", "cpu")


def check(runs: Sequence[SweepRun], directory: pathlib.Path) -> dict[str, Run]:
    """{name: the run}, in `directory`/<name>; nothing is written.

    Raises one UserError that lists everything that is wrong with any config, and every working
    directory that holds another run; what several runs have in common is said once.
    """
    if Workdir(directory).config.exists():
        raise UserError(f"--workdir={directory} holds a run, not a sweep: choose another")
    checked: dict[str, Run] = {}
    wrong: dict[str, list[str]] = collections.defaultdict(list)
    for run in runs:
        try:
            checked[run.name] = _check(run, directory)
        except UserError as error:
            wrong[str(error)].append(run.name)
    if wrong:
        raise UserError(
            "; ".join(f"{some_of(names, 3)}: {mistake}" for mistake, names in wrong.items())
        )
    return checked


def _check(planned: SweepRun, directory: pathlib.Path) -> Run:
    if planned.config.distributed.processes != 1:
        raise UserError(
            "config.distributed.processes: a sweep runs on one machine: start each run of --list "
            "by its own command on all of them"
        )
    if planned.config.train.students:
        raise UserError("config.train.students: a sweep trains all students of a run: leave it out")
    workdir = Workdir(directory / planned.name)
    run = make_run(planned.config, workdir)
    try:
        return from_first.checked(run, may_take_over=True)
    except UserError:
        different = workdir.differences(run.identity()) if workdir.config.exists() else []
        if not different:
            raise
        # Without the directory's name: what all runs have in common is said once.
        raise UserError(
            f"another run is in its directory ({some_of(different)}): choose another --workdir, or "
            "give the values that the sweep was begun with"
        ) from None


def state(run: Run) -> str:
    """NOT_BEGUN, HALF_DONE, or DONE: then its command would say that nothing is left to do."""
    workdir = run.workdir
    if run.takes_over or not workdir.config.exists():
        return NOT_BEGUN
    try:
        evaluated = stages.is_evaluated(run)
    except UserError:  # a checkpoint to evaluate that is not there: the run will say so
        return HALF_DONE
    return DONE if evaluated and _is_headline(run) else HALF_DONE


def _is_headline(run: Run) -> bool:
    """Whether the evaluation that the config asks for is the one in report.json."""
    workdir = run.workdir
    if not workdir.report_json.exists():
        return False
    report = read_json(workdir.report_json)
    known = from_first.known_students(run)
    return report == read_json(stages.evaluation_directory(run, known) / "report.json")
