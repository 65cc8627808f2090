"""Compares all evaluations of a run: how their settings differ, and what that changes."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation import paired, tables
from distill_jax.evaluation.listing import as_text, settings
from distill_jax.evaluation.runs import Run, problem_key, read_predictions
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.tables import Table
from distill_jax.workdir import Workdir, read_json

SLOTS = "sampling.slots"  # follows from the number of dialogues, and changes nothing


def with_all_evaluations(headlines: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """(the runs, each followed by its other evaluations; names of those that are left out).

    An evaluation is left out if it has no problem in common with its run's headline: another split
    or task, or the steps of config.sampling.given="history". The names of the others say how they
    differ from the headline. Raises UserError if two of `headlines` are of one run.
    """
    if len({run.path for run in headlines}) < len(headlines):
        raise UserError(
            "--evaluations all: two evaluations of one run are given: give its --workdir once"
        )
    runs: list[Run] = []
    left_out: list[str] = []
    for headline in headlines:
        runs.append(headline)
        asked = {problem_key(prediction) for prediction in headline.predictions}
        files = sorted(Workdir(headline.path).evaluations.glob("*/report.json"))
        reports = {file.parent: read_json(file) for file in files}
        others = {path: other for path, other in reports.items() if other != headline.report}
        names = variants(headline.report, {p.name: r for p, r in others.items()})
        for name, (path, other) in sorted(zip(names, others.items(), strict=True)):
            run = dataclasses.replace(
                headline, name=f"{headline.name}: {name}", variant=name, report=other,
                evaluation=path, predictions=read_predictions(path, other),
                # Several runs together have the students of all of them.
                facts=other.get("combination", {}).get("students", headline.facts),
            )  # fmt: skip
            if any(problem_key(prediction) in asked for prediction in run.predictions):
                runs.append(run)
            else:
                left_out.append(run.name)
    return runs, left_out


def variants(headline: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names for evaluations, made of the settings in which they differ from the headline.

    `others`: {name of the directory: report.json}. If two would have the same name, the hash at the
    end of the directory's name is added.
    """
    names = [_difference(headline, other) for other in others.values()]
    times = Counter(names)
    return [
        name if name and times[name] == 1 else f"{name} ({directory.rpartition('-')[2]})".strip()
        for name, directory in zip(names, others, strict=True)
    ]


def evaluations_table(runs: Sequence[Run]) -> Table | None:
    """One row per evaluation, each against the headline of its own run; None if no run has
    more than that one."""
    if not any(run.variant for run in runs):
        return None
    headlines = {run.path: run for run in runs if not run.variant}
    columns = (
        tables.text("run"),
        tables.text("differs in"),
        tables.text("given"),
        tables.text("calculator"),
        tables.count("samples"),
        tables.text("checkpoint"),
        tables.share_with_interval("accuracy"),
        tables.points_with_interval("difference in points"),
        tables.p_value("McNemar p"),
    )
    note = (
        "The headline evaluation of each run, then its others, by what differs from it. The "
        "difference is that to the headline of the same run, on the same problems, with its 95 % "
        "bootstrap interval; the p-value of the exact McNemar test is not adjusted for the number "
        "of rows."
    )
    rows = [_row(run, headlines[run.path]) for run in runs]
    return Table("evaluations", "Evaluations of one run", columns, rows, note)


def _row(run: Run, headline: Run) -> tuple[Any, ...]:
    sampling = run.report["sampling"]
    right = [prediction.correct for prediction in run.predictions]
    difference, p_value = None, None
    if run.variant:
        result = paired.compare([p.correct for p in headline.predictions], right)
        difference, p_value = (result.difference, *result.interval), result.p_value
    steps = sampling["given_steps"]
    return (
        headline.name,
        run.variant or "(headline)",
        (sampling["given"] or "nothing given") + (f", {steps} steps" if steps else ""),
        "on" if sampling["calculator"] else "off",
        sampling["samples"],
        run.report["checkpoint_rule"],
        (run.accuracy, *wilson_interval(sum(right), len(right))),
        difference,
        p_value,
    )


def _difference(headline: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """ "given=nothing, calculator=True"; "" if nothing differs."""
    before = settings(headline)
    changed = {key: value for key, value in settings(other).items() if before.get(key) != value}
    if len(changed) > 1:
        changed.pop(SLOTS, None)
    return ", ".join(f"{key.partition('.')[2]}={as_text(value)}" for key, value in changed.items())
