"""What is known of a sweep's runs before they run: whether they may, and how far they are."""

import collections
import pathlib
from collections.abc import Sequence

import jax

from distill_jax.errors import UserError
from distill_jax.run import experiment
from distill_jax.run.run_inputs import RunInputs
from distill_jax.sweep.definition import SweepRun
from distill_jax.sweep.outcomes import DONE, HALF_DONE, NOT_BEGUN
from distill_jax.workdir import Workdir, read_json, some_of


def leave_devices_alone() -> None:
    """This process only looks: the accelerator is for its runs, each in a process of its own."""
    jax.config.update("jax_platforms", "cpu")


def check(runs: Sequence[SweepRun], directory: pathlib.Path) -> dict[str, RunInputs]:
    """{name of the run: its inputs}, in `directory`/<name>; nothing is written.

    Raises one UserError that lists everything that is wrong with any config, and every working
    directory that holds another run; what several runs have in common is said once.
    """
    if Workdir(directory).config.exists():
        raise UserError(f"--workdir={directory} holds a run, not a sweep: choose another")
    checked: dict[str, RunInputs] = {}
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


def _check(run: SweepRun, directory: pathlib.Path) -> RunInputs:
    if run.config.distributed.processes != 1:
        raise UserError(
            "config.distributed.processes: a sweep runs on one machine: start each run of --list "
            "by its own command on all of them"
        )
    if run.config.train.students:
        raise UserError("config.train.students: a sweep trains all students of a run: leave it out")
    workdir = Workdir(directory / run.name)
    inputs = RunInputs(run.config, workdir)
    try:
        inputs.check_workdir(may_take_over=True)
    except UserError:
        different = workdir.differences(inputs.identity()) if workdir.config.exists() else []
        if not different:
            raise
        # Without the directory's name: what all runs have in common is said once.
        raise UserError(
            f"another run is in its directory ({some_of(different)}): choose another --workdir, or "
            "give the values that the sweep was begun with"
        ) from None
    return inputs


def state(inputs: RunInputs) -> str:
    """NOT_BEGUN, HALF_DONE, or DONE: then its command would say that nothing is left to do."""
    workdir = inputs.workdir
    if inputs.takes_over or not workdir.config.exists():
        return NOT_BEGUN
    try:
        evaluated = experiment.is_evaluated(inputs)
    except UserError:  # a checkpoint to evaluate that is not there: the run will say so
        return HALF_DONE
    return DONE if evaluated and _is_headline(inputs) else HALF_DONE


def _is_headline(inputs: RunInputs) -> bool:
    """Whether the evaluation that the config asks for is the one in report.json."""
    workdir = inputs.workdir
    if not workdir.report_json.exists():
        return False
    report = read_json(workdir.report_json)
    return report == read_json(experiment.evaluation_directory(inputs) / "report.json")
