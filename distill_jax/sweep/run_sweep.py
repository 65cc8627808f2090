"""A sweep from its checks to its report."""

import pathlib
import sys

from distill_jax import errors
from distill_jax.evaluation import tasks_report
from distill_jax.evaluation.comparison import write_comparison
from distill_jax.sweep import checks, shared_data, way
from distill_jax.sweep.definition import Make, Run, Sweep
from distill_jax.sweep.outcomes import DONE, FAILED, INTERRUPTED, Outcomes, columns
from distill_jax.sweep.plan import Plan, SweepStep
from distill_jax.sweep.processes import StepProcess, run_all
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir, local_path, some_of


def show(plan: Plan, path: str) -> None:
    """Print every step, its progress, and its changes of the base; needs no lock."""
    checks.leave_devices_alone()
    directory = local_path(path, "--workdir")
    runs = checks.check(plan.steps, directory)
    rows = [
        [
            step.name,
            checks.state(step, runs.get(step.name), directory),
            *([step.module] if isinstance(step.step, Make) else []),
            " ".join(f"{key}={text}" for key, text in step.changes.items()),
        ]
        for step in plan.steps
    ]
    rows = [[*row[:2], " ".join(row[2:])] for row in rows]
    print("\n".join(columns([["run", "state", f"changes of {plan.steps[0].base}"], *rows])))


def dry_run(plan: Plan, path: str) -> None:
    """Only the checks."""
    checks.leave_devices_alone()
    checks.check(plan.steps, local_path(path, "--workdir"))
    print(f"{len(plan.steps)} runs: nothing wrong with their configs")


def run(sweep: Sweep, plan: Plan, path: str, *, jobs: int, yes: bool) -> None:
    """Do the steps that are not done yet, write sweep.json after each, and the report at the end.

    Raises UserError if one has failed by something that its user must change; exits with code 1 if
    all failures are of another kind, and as `errors.Interrupted` if one was stopped.
    """
    checks.leave_devices_alone()
    directory, terminal = local_path(path, "--workdir"), Terminal()
    runs = checks.check(plan.steps, directory)
    with Workdir(directory).locked() as lock:
        states = {
            step.name: checks.state(step, runs.get(step.name), directory) for step in plan.steps
        }
        done = [step for step in plan.steps if states[step.name] == DONE]
        for step in done:
            checks.settle(step, runs.get(step.name), directory)
        outcomes = Outcomes(directory, plan, states)
        outcomes.write()
        todo = [step for step in plan.steps if states[step.name] != DONE]
        # Seed by seed, so that a sweep that is cut short has compared all arms.
        todo.sort(key=lambda step: sweep.seeds.index(step.seed))
        terminal.say(f"{len(plan.steps)} runs, {len(done)} of them are done")
        workdirs = [runs[step.name].workdir for step in plan.steps if isinstance(step.step, Run)]

        def start(step: SweepStep) -> StepProcess:
            sister = None
            if isinstance(step.step, Run):
                own = runs[step.name].workdir
                sister = shared_data.share_data(step.config, own, workdirs)
            checks.begin(step, runs.get(step.name), directory)
            process = StepProcess(step, directory, lock, yes)
            data = f", with the data of {sister.path.relative_to(directory)}" if sister else ""
            terminal.say(f"{step.name}: begins{data} ({process.log})")
            return process

        def on_end(process: StepProcess) -> None:
            step = process.step
            if isinstance(step.step, Run):
                shared_data.take_back(runs[step.name].workdir)
            if process.exit_code == 0:
                checks.settle(step, runs.get(step.name), directory)
            message = process.last_words() if process.exit_code else ""
            outcome = outcomes.record(step, process.exit_code, message, process.seconds())
            accuracy = "" if outcome.accuracy is None else f", accuracy {outcome.accuracy:.1%}"
            why = f": {message}" if outcome.status == FAILED else ""
            terminal.say(
                f"{step.name}: {outcome.status}{why}{accuracy} after {process.seconds():.0f} s"
            )

        def may_begin(step: SweepStep) -> bool:
            return outcomes.are_done(step.needs)

        run_all(todo, jobs, start, on_end, may_begin)
        terminal.show(outcomes.table())
        _report(sweep, plan, outcomes, directory, terminal)
    _leave(outcomes, directory)


def _report(
    sweep: Sweep, plan: Plan, outcomes: Outcomes, directory: pathlib.Path, terminal: Terminal
) -> None:
    """The comparison of the arms that are done, by their last steps, against the baseline arm's
    first one; of several tasks the report over tasks."""
    ways = {name: steps for name, steps in plan.ways.items() if outcomes.are_done(steps)}
    if not ways:
        return
    # Follow a link to an evaluation, because its run is found from its path.
    paths = [str((directory / steps[-1]).resolve()) for steps in ways.values()]
    if tasks_report.of_several_tasks(paths, list(ways)):
        written = tasks_report.write_tasks_report(paths, directory / "report", names=list(ways))
        terminal.say(f"report: {written[0]}")
        return
    baseline = sweep.baseline or next(iter(sweep.arms))
    names = [f"{baseline}-seed{seed}" for seed in sweep.seeds]
    table = way.table(plan, ways, directory)
    written = write_comparison(
        paths,
        directory / "report",
        names=list(ways),
        baseline=next((name for name in names if name in ways), ""),
        more=() if table is None else (table,),
    )
    terminal.say(f"report: {written[0]}")


def _leave(outcomes: Outcomes, directory: pathlib.Path) -> None:
    """Return if all runs are done; otherwise see `run`."""
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
