"""How long chains are, and how long they should be, of evaluations whose problems have sizes.

    python -m distill_jax.evaluation.lengths --evaluations RUN/evaluations/NAME --output DIR

writes DIR/best_steps.json: the step size with which most problems of a size were solved. The task
`step_size` reads it, so that students can be trained on chains of the best length alone. The
evaluation gave the step sizes (config.sampling.given=plan), and was not of the test problems.
"""

import collections
import sys
from collections.abc import Sequence
from typing import NamedTuple

from distill_jax import errors
from distill_jax.errors import UserError
from distill_jax.evaluation import tables
from distill_jax.evaluation.length_fits import best_steps, cells, fit, optimal_steps
from distill_jax.evaluation.runs import Run, read_runs
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.summary import split_name
from distill_jax.evaluation.tables import Table
from distill_jax.records import Prediction
from distill_jax.settings import command_line
from distill_jax.text.transcript import written_steps
from distill_jax.workdir import local_path, write_json

FEWEST = 10  # a length needs so many dialogues to be in a table


class Given(NamedTuple):
    """The dialogues about problems of one size, to which one step size was given."""

    size: int
    step_size: int
    n: int
    correct: int
    followed: int  # with as many steps as a chain of this step size has


def by_step_size(predictions: Sequence[Prediction]) -> list[Given]:
    """All dialogues, those of all samples, by size and step size; problems that lack one of the
    attributes size, step_size and steps are left out."""
    found: dict[tuple[int, int], list[tuple[bool, bool]]] = collections.defaultdict(list)
    for prediction in predictions:
        size, step_size, steps = (
            prediction.attributes.get(name) for name in ("size", "step_size", "steps")
        )
        if not (isinstance(size, int) and isinstance(step_size, int) and isinstance(steps, int)):
            continue
        for dialogue in prediction.samples or (prediction,):
            followed = written_steps(dialogue.turns) == steps
            found[size, step_size].append((dialogue.correct, followed))
    return [
        Given(*key, len(rows), sum(right for right, _ in rows), sum(done for _, done in rows))
        for key, rows in sorted(found.items())
    ]


def best_step_sizes(found: Sequence[Given]) -> dict[int, Given]:
    """{size: the step size with the highest accuracy; of equals the largest, whose chain is the
    shortest}."""
    best: dict[int, Given] = {}
    for each in sorted(found, reverse=True):
        other = best.get(each.size)
        if other is None or each.correct * other.n > other.correct * each.n:
            best[each.size] = each
    return dict(sorted(best.items()))


def step_sizes_table(runs: Sequence[Run]) -> Table | None:
    """One row per size and run: the accuracy with each step size; None if none was given."""
    planned = {run.name: by_step_size(run.predictions) for run in runs if run.given == "plan"}
    step_sizes = sorted({each.step_size for found in planned.values() for each in found})
    rows = []
    for name, found in planned.items():
        best = best_step_sizes(found)
        for size in best:
            same = {each.step_size: each for each in found if each.size == size}
            n = sum(each.n for each in same.values())
            shares = [same[k].correct / same[k].n if k in same else None for k in step_sizes]
            followed = sum(each.followed for each in same.values()) / n
            rows.append((str(size), name, n, *shares, best[size].step_size, followed))
    rows.sort(key=lambda row: int(row[0]))
    columns = (
        tables.text("size"),
        tables.text("run"),
        tables.count("dialogues"),
        *(tables.share(f"step size {k}") for k in step_sizes),
        tables.count("best"),
        tables.share("written as given"),
    )
    note = (
        "The step size, in operators, was given. Best: the one with the highest accuracy. Written "
        "as given: dialogues with as many steps as a chain of the step size has; if these are few, "
        "the accuracies are not those of the step sizes."
    )
    title = "Accuracy by the step size that was given"
    return Table("step_sizes", title, columns, rows, note) if rows else None


def lengths_table(runs: Sequence[Run]) -> Table | None:
    """One row per size and run: the best length, and that of the fit; None if no size has two
    lengths with FEWEST dialogues each."""
    rows = []
    for run in runs:
        enough = [cell for cell in cells(run.predictions) if cell.n >= FEWEST]
        fitted, best = fit(enough), best_steps(enough)
        seen = {cell.steps for cell in enough}
        for size, cell in best.items():
            same = [other for other in enough if other.size == size]
            if len(same) < 2:
                continue
            n = sum(other.n for other in same)
            optimum = None  # nor is there one for a problem without operations
            if fitted and size > 0:
                optimum = optimal_steps(size, fitted.capability, fitted.noise)
            # The formula says nothing of lengths far from those that it was fitted to.
            if optimum is not None and not min(seen) <= optimum <= max(seen):
                optimum = None
            rows.append(
                (
                    str(size),
                    run.name,
                    n,
                    sum(other.n * other.steps for other in same) / n,
                    cell.steps,
                    (cell.correct / cell.n, *wilson_interval(cell.correct, cell.n)),
                    optimum,
                    fitted and fitted.capability,
                    fitted and fitted.noise,
                )
            )
    rows.sort(key=lambda row: int(row[0]))
    sized = any("size" in p.attributes for run in runs for p in run.predictions)
    columns = (
        tables.text("size" if sized else "steps of the gold solution"),
        tables.text("run"),
        tables.count("dialogues"),
        tables.decimal("steps written"),
        tables.count("best"),
        tables.share_with_interval("accuracy there"),
        tables.decimal("best by the fit"),
        tables.decimal("capability"),
        tables.decimal("noise"),
    )
    note = (
        f"Of lengths that {FEWEST} dialogues or more have. Steps written: the mean. Best: the "
        "length at which most answers are right, which is not what a student should be made to "
        "write unless lengths were given to it: students also write another number of steps "
        "because they are on the wrong way. Best by the fit: the optimum of capability and noise "
        "as fitted to all sizes of a run together; empty if there are too few lengths for a fit, "
        "if accuracy does not depend on both, or if the optimum is shorter or longer than all that "
        "were written."
    )
    if any(prediction.samples for run in runs for prediction in run.predictions):
        note += (
            " Samples of one problem count as independent of one another, so the intervals are "
            "too narrow."
        )
    title = "Accuracy by steps written"
    return Table("chain_lengths", title, columns, rows, note) if rows else None


def curves(run: Run) -> dict[int, list[tuple[int, float]]]:
    """{size: (steps written, accuracy), in order} of the sizes for which `lengths_table` has a
    row."""
    found: dict[int, list[tuple[int, float]]] = collections.defaultdict(list)
    for cell in cells(run.predictions):
        if cell.n >= FEWEST:
            found[cell.size].append((cell.steps, cell.correct / cell.n))
    return {size: points for size, points in found.items() if len(points) > 1}


def main(argv: list[str]) -> None:
    """Read evaluations, choose the best step sizes, write them."""
    parser = command_line.parser(
        "evaluation.lengths", "Choose the best step size for each size of problems.", keys=""
    )
    parser.add_argument(
        "--evaluations", required=True, metavar="A,B,...", help="evaluations of the same students "
        "with config.sampling.given=plan, not of the test problems",
    )  # fmt: skip
    parser.add_argument("--output", required=True, help="the directory to write to")
    arguments = parser.parse_args(argv)
    output = local_path(arguments.output, "--output")
    names = [name.strip() for name in arguments.evaluations.split(",") if name.strip()]
    # A step of a sweep is a link to its evaluation, which lies in the directory of its run.
    paths = [str(local_path(name, "--evaluations").resolve()) for name in names]
    runs = read_runs(paths, [str(number) for number, _ in enumerate(paths, start=1)])
    for run in runs:
        learned = run.report.get("training_problems")
        if run.given != "plan" or run.report["split"] == "test" or learned:
            raise UserError(
                f"--evaluations: {run.evaluation} is of the {split_name(run.report)} problems with "
                f"config.sampling.given={run.given!r}: evaluate with "
                "--config.evaluation.split=dev --config.sampling.given=plan"
            )
    found = by_step_size([prediction for run in runs for prediction in run.predictions])
    enough = [each for each in found if each.n >= FEWEST]
    if not found:
        raise UserError(
            f"--evaluations={arguments.evaluations}: the problems have no size and step size: "
            "evaluate the task step_size"
        )
    if lacking := sorted({each.size for each in found} - {each.size for each in enough}):
        raise UserError(
            f"--evaluations={arguments.evaluations}: no step size has {FEWEST} dialogues for size "
            f"{lacking[0]}: raise config.evaluation.problems"
        )
    best = best_step_sizes(enough)
    write_json(
        output / "best_steps.json",
        {
            "step_size": {str(size): each.step_size for size, each in best.items()},
            "accuracy": {str(size): each.correct / each.n for size, each in best.items()},
            "of": [each._asdict() for each in found],
        },
    )
    for size, each in best.items():
        low, _ = wilson_interval(each.correct, each.n)
        others = [other for other in enough if other.size == size and other != each]
        close = [str(other.step_size) for other in others if other.correct / other.n >= low]
        undecided = f", and step size {', '.join(close)} within the 95 % interval" if close else ""
        print(f"size {size}: {each.correct} of {each.n} right{undecided}")
    told = ", ".join(f"{size}: {each.step_size}" for size, each in best.items())
    print(f"best step size for each size: {told} ({output / 'best_steps.json'})")


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
