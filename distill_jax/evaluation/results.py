"""The students' right and wrong answers, for notebooks.

results = distill_jax.read_run("runs/demo")
results.accuracy, results.by_steps().tables[0].rows
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation import (
    breakdowns,
    comparison_tables,
    error_classes,
    figures,
    html_report,
    runs,
    summary,
    tables,
)
from distill_jax.evaluation.breakdowns import Group
from distill_jax.evaluation.displays import Exhibit, GradedDialogue
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.tables import Table
from distill_jax.records import Annotation, Prediction


class Results:
    """One evaluation of a run. Made by `distill_jax.read_run` and `distill_jax.evaluate_run`."""

    def __init__(self, run: Run):
        """`run` with the predictions of this evaluation."""
        self._run = run

    @property
    def report(self) -> dict[str, Any]:
        """report.json: task, settings, scores, guessers, cost."""
        return self._run.report

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The dialogues and their grades, in the order of the problems."""
        return self._run.predictions

    @property
    def accuracy(self) -> float:
        """The share of right answers, by the headline extractor."""
        return self._run.accuracy

    @functools.cached_property
    def gold(self) -> dict[str, Annotation]:
        """{id: gold steps} of the problems, as far as the run's task exists here and has them."""
        try:
            return runs.gold_annotations(self._run)
        except UserError:
            return {}

    def overview(self) -> Exhibit:
        """Accuracy by every extractor, and that of guessers that need no reasoning."""
        scores, guessers = self.report["scores"], self.report["guessers"]
        headline = self.report["headline_extractor"]
        scores = dict(sorted(scores.items(), key=lambda item: item[0] != headline))
        rows = [(f"students, {name}", score) for name, score in scores.items()]
        rows += [(f"guess: {name}", guesser) for name, guesser in guessers.items()]
        shares = [(name, each["accuracy"], tuple(each["interval"])) for name, each in rows]
        table = Table(
            "overview",
            f"{self._run.name}: {self._asked()}",
            (tables.text("who"), tables.share_with_interval("accuracy")),
            [(name, (accuracy, *interval)) for name, accuracy, interval in shares],
            f"With Wilson 95 % intervals. The headline is by the extractor {headline}.",
        )
        colors = [0] * len(scores) + [3] * len(guessers)
        return Exhibit((table,), figures.accuracy_figure(shares, colors))

    def by_steps(self) -> Exhibit:
        """Accuracy by the number of steps of the gold solution, for problems that have it."""
        run = runs.with_gold_steps(self._run, self.gold)
        groups = breakdowns.by_attribute(run.predictions, "steps")
        name = html_report.visible(run.name)
        table = _accuracies("steps", "Accuracy by steps of the gold solution", "steps", groups)
        drawn = {name: groups}
        return Exhibit(
            (table,), figures.groups_figure("steps", "steps of the gold solution", drawn)
        )

    def errors(self) -> Exhibit:
        """How many wrong answers are of each class (evaluation/error_classes.py)."""
        counts = error_classes.count(self.predictions, self.gold, given=self._run.given)
        wrong = sum(counts.values())
        note = (
            "The first class that fits, from top to bottom. Decomposition: another number of steps "
            "than gold. Arithmetic: as many, but an equation is false. Operation: as many, and no "
            "equation is false."
        )
        table = Table(
            "errors",
            f"Why answers are wrong: {wrong} of {len(self.predictions)}",
            (tables.text("class"), tables.count("answers"), tables.share("of the wrong ones")),
            [(name, count, count / wrong if wrong else None) for name, count in counts.items()],
            note,
        )
        return Exhibit((table,), figures.counts_figure("errors", "wrong answers", counts))

    def wrong(self, limit: int = 3) -> list[GradedDialogue]:
        """At most `limit` wrong answers: unfinished, unparsable and finished ones in turn."""
        wrong = [p for p in self.predictions if not p.correct]
        return [
            GradedDialogue(
                p,
                error_classes.classify(p, self.gold.get(p.id), given=self._run.given),
                self.gold.get(p.id),
            )
            for p in html_report.choose_dialogues(wrong, limit)
        ]

    def __repr__(self) -> str:
        return f"{self._run.name}: {summary.closing_lines(self.report)[0]}"

    def _repr_html_(self) -> str:
        return self.overview()._repr_html_()

    def _asked(self) -> str:
        """ "200 test problems of arithmetic"."""
        r = self.report
        what = summary.asked(r["n"], r["problems"], summary.split_name(r), self._run.given)
        return f"{what} of {r['task'].rpartition('.')[2]}"


def read_run(workdir: str | os.PathLike[str]) -> Results:
    """See `distill_jax.read_run`."""
    [run] = runs.read_runs([os.fspath(workdir)])
    return Results(run)


def read_evaluation(directory: pathlib.Path) -> Results:
    """The evaluation in RUN/evaluations/NAME, called after RUN."""
    return Results(runs.read_evaluation(directory, directory.resolve().parents[1].name))


def compare(results: Mapping[str, Results]) -> Exhibit:
    """See `distill_jax.compare`."""
    if len(results) < 2:
        raise UserError("compare() needs at least two evaluations: compare({name: results, ...})")
    named = [dataclasses.replace(each._run, name=name) for name, each in results.items()]
    common = runs.on_common_problems(named)
    groups = [breakdowns.group(run.name, run.predictions) for run in common]
    title = f"On the {groups[0].n} problems that all answered"
    paired = comparison_tables.paired_table(common, common[0])
    assert paired is not None  # there are two or more
    drawn = [(html_report.visible(g.name), g.accuracy, g.interval) for g in groups]
    return Exhibit(
        (_accuracies("accuracy", title, "evaluation", groups), paired),
        figures.accuracy_figure(drawn),
    )


def _accuracies(name: str, title: str, column: str, groups: Sequence[Group]) -> Table:
    columns = (
        tables.text(column),
        tables.count("problems"),
        tables.count("right"),
        tables.share_with_interval("accuracy"),
    )
    rows = [(g.name, g.n, g.correct, (g.accuracy, *g.interval)) for g in groups]
    return Table(name, title, columns, rows)
