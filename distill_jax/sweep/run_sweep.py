"""A sweep from its checks to its report."""

import pathlib
import sys
from collections.abc import Sequence

from distill_jax import errors
from distill_jax.evaluation.comparison import write_comparison
from distill_jax.sweep import checks, shared_data
from distill_jax.sweep.definition import Sweep, SweepRun
from distill_jax.sweep.outcomes import DONE, FAILED, INTERRUPTED, Outcomes, columns
from distill_jax.sweep.processes import RunProcess, run_all
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir, some_of


def show(runs: Sequence[SweepRun], path: str) -> None:
    """Every run, how far it is, and what it changes of the base; needs no lock."""
    checks.leave_devices_alone()
    inputs = checks.check(runs, pathlib.Path(path))
    rows = [
        [
            run.name,
            checks.state(inputs[run.name]),
            " ".join(f"{key}={text}" for key, text in run.changes.items()),
        ]
        for run in runs
    ]
    print("\n".join(columns([["run", "state", f"changes of {runs[0].base}"], *rows])))


def dry_run(runs: Sequence[SweepRun], path: str) -> None:
    """Only the checks."""
    checks.leave_devices_alone()
    checks.check(runs, pathlib.Path(path))
    print(f"{len(runs)} runs: nothing wrong with their configs")


def run(sweep: Sweep, runs: Sequence[SweepRun], path: str, *, jobs: int, yes: bool) -> None:
    """Run what is not done yet, write sweep.json after each run, and the report at the end.

    Raises UserError if a run has failed by what its user must change; leaves with exit code 1
    where all failures are of another kind, and as `errors.Interrupted` where a run was stopped.
    """
    checks.leave_devices_alone()
    directory, terminal = pathlib.Path(path), Terminal()
    inputs = checks.check(runs, directory)
    with Workdir(directory).locked() as lock:
        states = {name: checks.state(each) for name, each in inputs.items()}
        outcomes = Outcomes(directory, runs, states)
        outcomes.write()
        todo = [run for run in runs if states[run.name] != DONE]
        # Seed by seed: a sweep that is cut short has compared all arms.
        todo.sort(key=lambda run: sweep.seeds.index(run.seed))
        terminal.say(f"{len(runs)} runs, {len(runs) - len(todo)} of them are done")
        workdirs = [each.workdir for each in inputs.values()]

        def start(run: SweepRun) -> RunProcess:
            sister = shared_data.share_data(run.config, inputs[run.name].workdir, workdirs)
            process = RunProcess(run, directory, lock, yes)
            data = f", with the data of {sister.path.name}" if sister else ""
            terminal.say(f"{run.name}: begins{data} ({process.log})")
            return process

        def on_end(process: RunProcess) -> None:
            shared_data.take_back(inputs[process.run.name].workdir)
            message = process.last_words() if process.exit_code else ""
            outcome = outcomes.record(process.run, process.exit_code, message, process.seconds())
            accuracy = "" if outcome.accuracy is None else f", accuracy {outcome.accuracy:.1%}"
            why = f": {message}" if outcome.status == FAILED else ""
            terminal.say(
                f"{process.run.name}: {outcome.status}{why}{accuracy} "
                f"after {process.seconds():.0f} s"
            )

        run_all(todo, jobs, start, on_end)
        terminal.show(outcomes.table())
        _report(sweep, outcomes, directory, terminal)
    _leave(outcomes, directory)


def _report(sweep: Sweep, outcomes: Outcomes, directory: pathlib.Path, terminal: Terminal) -> None:
    """The comparison of the runs that are done, against the baseline arm's first of them."""
    done = outcomes.of(DONE)
    if not done:
        return
    baseline = sweep.baseline or next(iter(sweep.arms))
    names = [f"{baseline}-seed{seed}" for seed in sweep.seeds]
    written = write_comparison(
        [str(directory / name) for name in done],
        directory / "report",
        baseline=next((name for name in names if name in done), ""),
    )
    terminal.say(f"report: {written[0]}")


def _leave(outcomes: Outcomes, directory: pathlib.Path) -> None:
    """Nothing if all runs are done; see `run`."""
    failed = outcomes.of(FAILED)
    if failed:
        line = (
            f"{len(failed)} runs failed ({some_of(failed)}), for the reasons above and in "
            f"{directory / 'sweep.json'}: mend them and run the same command again"
        )
        if outcomes.user_can_mend():
            raise errors.UserError(line)
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(errors.EXIT_BUG)
    if outcomes.of(INTERRUPTED):
        raise errors.Interrupted()
