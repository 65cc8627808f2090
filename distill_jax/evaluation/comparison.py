"""One report over several runs: an HTML page, and its tables as Markdown and CSV."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation import (
    ablations,
    breakdowns,
    choices,
    comparison_tables,
    deferral,
    figures,
    html_report,
    lengths,
    letters,
    pareto,
    published,
    summary,
    tables,
    written_text,
)
from distill_jax.evaluation import runs as finished_runs
from distill_jax.evaluation.calibration import calibration
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Annotation, Prediction
from distill_jax.workdir import local_path, write_text

Gold = Mapping[str, Annotation]
DIALOGUES = 10  # that are shown


def write_comparison(
    paths: Sequence[str],
    output: str | pathlib.Path,
    *,
    baseline: str = "",
    names: Sequence[str] = (),
    dialogues: int = DIALOGUES,
    all_evaluations: bool = False,
    more: Sequence[tables.Table] = (),
) -> list[pathlib.Path]:
    """Compare the headline evaluations of runs, or all of them; returns what was written.

    DIR/comparison.html, DIR/comparison.md and one DIR/tables/NAME.csv per table. `baseline` is
    one of the paths or names, "" the first run. `dialogues` says how many of the problems on which
    the runs differ are shown; `more` tables follow that of the runs.

    Raises UserError, before anything is written, where a run cannot be read, where names do not
    fit, and where no problem was answered by all runs; and where `output` cannot be written to.
    """
    all_runs, left_out = finished_runs.read_runs(paths, names), []
    reference = all_runs[_position(baseline, paths, all_runs)].name
    if all_evaluations:
        all_runs, left_out = ablations.with_all_evaluations(all_runs)
    runs = finished_runs.on_common_problems(all_runs)
    gold, gold_note = _gold(runs)
    runs = [finished_runs.with_gold_steps(run, gold) for run in runs]
    arms = finished_runs.arms(runs)
    results = published.results(runs[0].report["task"].rpartition(".")[2])
    wanted = [
        comparison_tables.runs_table(runs, arms),
        *more,
        comparison_tables.settings_table(runs),
        pareto.pareto_table(runs),
        comparison_tables.training_data_table(arms),
        comparison_tables.arms_table(arms),
        ablations.evaluations_table(runs),
        comparison_tables.paired_table(runs, next(run for run in runs if run.name == reference)),
        comparison_tables.errors_table(runs, gold),
        *comparison_tables.breakdown_tables(runs),
        comparison_tables.questions_table(runs, gold),
        letters.letters_table(runs),
        choices.choices_table(runs),
        comparison_tables.calibration_table(runs),
        written_text.written_text_table(runs),
        deferral.deferral_table(runs),
        lengths.step_sizes_table(runs),
        lengths.lengths_table(runs),
        comparison_tables.parity_table(runs),
        comparison_tables.published_table(results) if results else None,
    ]
    shown = [table for table in wanted if table is not None]
    facts = {
        "title": _title([run.name for run in runs if not run.variant]),
        "sentences": [
            *_about_problems(all_runs, runs),
            *_trained_on(runs),
            *_origins(runs),
            *_left_out(left_out),
            *gold_note,
        ],
        "protocol": _protocol(results, runs),
    }
    html = _html(facts, shown, runs, gold, dialogues)
    directory = local_path(output, "--output")
    written = {directory / "comparison.html": html, directory / "comparison.md": _md(facts, shown)}
    for table in shown:
        written[directory / "tables" / f"{table.name}.csv"] = tables.to_csv(table)
    _write(written, directory)
    return list(written)


def _write(files: Mapping[pathlib.Path, str], directory: pathlib.Path) -> None:
    try:
        for path, text in files.items():
            write_text(path, text)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise UserError(f"--output={directory}: {error.strerror}: choose another") from None


def _position(baseline: str, paths: Sequence[str], runs: Sequence[Run]) -> int:
    if not baseline:
        return 0
    place = local_path(baseline, "--baseline").resolve()
    for index, (path, run) in enumerate(zip(paths, runs, strict=True)):
        if baseline == run.name or place == local_path(path, "RUN").resolve():
            return index
    known = ", ".join(run.name for run in runs)
    raise UserError(f"--baseline={baseline}: not one of the runs: choose {known}")


def _gold(runs: Sequence[Run]) -> tuple[Gold, list[str]]:
    """Gold annotations of the common problems from the first run whose task can be read."""
    reason = "no annotation of the runs' tasks fits these problems"
    for run in runs:
        try:
            gold = finished_runs.gold_annotations(run)
        except UserError as error:
            reason = str(error)
            continue
        if gold:
            return gold, []
    return {}, [f"Gold steps are not known ({reason}): subquestions are not compared with them."]


def _title(names: Sequence[str]) -> str:
    """Names the runs, or only counts them if there are many."""
    return f"Comparison of {', '.join(names) if len(names) <= 4 else f'{len(names)} runs'}"


def _about_problems(all_runs: Sequence[Run], common: Sequence[Run]) -> list[str]:
    n = len(common[0].predictions)
    sizes = {len(run.predictions) for run in all_runs}
    if sizes == {n}:
        return [f"All runs answered the same {html_report.counted(n, 'problem')}."]
    own = ", ".join(f"{run.name} {len(run.predictions)}" for run in all_runs)
    return [
        f"The runs answered different problems ({own}): everything here is about the {n} that all "
        "of them answered, and may differ from their own reports."
    ]


def _trained_on(runs: Sequence[Run]) -> list[str]:
    """Which runs were trained on some of the problems, or on their split."""
    said = []
    for run in runs:
        known = sum(bool(prediction.trained_on) for prediction in run.predictions)
        if run.report.get("training_problems"):
            said.append(f"{run.name} was asked training problems.")
        elif known:
            said.append(
                f"{run.name} was trained on {known} of the {len(run.predictions)} questions."
            )
    return said


def _origins(runs: Sequence[Run]) -> list[str]:
    """What is not known of students that were something before their run, each once."""
    of_line: dict[str, list[str]] = {}
    for run in runs:
        for line in summary.origin_lines(run.report):
            of_line.setdefault(line, []).append(run.name)
    return [
        f"{line[0].upper()}{line[1:]}"
        + ("." if len(names) == len(runs) else f" ({', '.join(names)}).")
        for line, names in of_line.items()
    ]


def _left_out(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"Left out, with other problems than the headline of their run: {'; '.join(names)}."]


def _protocol(
    results: Sequence[published.Result], runs: Sequence[Run]
) -> list[tuple[str, Sequence[str]]]:
    """How the published numbers were measured, and how ours were."""
    if not results:
        return []
    papers = list({result.paper.title: result.paper for result in results}.values())
    ours = [
        f"{run.name}: scheme {run.identity['scheme']}, "
        f"{html_report.counted(len(set(run.students)), 'student')}, {100 * run.accuracy:.1f} % of "
        f"{html_report.counted(len(run.predictions), run.report['split'] + ' problem')}, "
        f"extractor {run.report['headline_extractor']}, checkpoint {run.report['checkpoint_rule']},"
        f" calculator {'on' if run.report['sampling']['calculator'] else 'off'}."
        for run in runs
    ]
    return [
        ("Runs compared here", ours),
        *((f"{p.title}, {p.url}; read in {p.source}", p.protocol) for p in papers),
    ]


def _html(
    facts: Mapping[str, Any], shown: Sequence[tables.Table], runs: Sequence[Run], gold: Gold,
    limit: int,
) -> str:  # fmt: skip
    different = _different(runs, limit)
    roles = [t.role for row in different for p in row for t in p.turns]
    drawn = {
        "runs": figures.accuracy_figure(
            [(html_report.visible(run.name), run.accuracy, _interval(run)) for run in runs]
        ),
        "pareto": figures.pareto_figure(
            [each._replace(name=html_report.visible(each.name)) for each in pareto.points(runs)]
        ),
        "steps": figures.groups_figure(
            "steps",
            "steps of the gold solution",
            {
                html_report.visible(r.name): breakdowns.by_attribute(r.predictions, "steps")
                for r in runs
            },
        ),
        "calibration": figures.reliability_figure(
            {
                html_report.visible(run.name): measured.bins
                for run in runs
                if (measured := calibration(run.predictions)) is not None
            }
        ),
        "chain_lengths": figures.lengths_figure(
            {html_report.visible(run.name): found for run in runs if (found := lengths.curves(run))}
        ),
        "deferral": figures.deferral_figure(
            {
                html_report.visible(run.name): run.report["combination"]["deferral"]["curve"]
                for run in deferral.switches(runs)
            }
        ),
    }
    return html_report.page_template("comparison.html.j2").render(
        **facts,
        tables=[(table, tables.shown(table), drawn.get(table.name)) for table in shown],
        dialogues=[
            (row[0], gold.get(row[0].id), [(html_report.outcome(p), p) for p in row])
            for row in different
        ],
        names=[run.name for run in runs],
        badges=html_report.BADGES,
        colors=html_report.speaker_colors(roles),
    )


def _different(runs: Sequence[Run], limit: int) -> list[tuple[Prediction, ...]]:
    """The first problems that some runs answered right and others wrong, all runs' answers."""
    rows = zip(*(run.predictions for run in runs), strict=True)
    return [row for row in rows if len({p.correct for p in row}) > 1][:limit]


def _interval(run: Run) -> tuple[float, float]:
    return wilson_interval(sum(p.correct for p in run.predictions), len(run.predictions))


def _md(facts: Mapping[str, Any], shown: Sequence[tables.Table]) -> str:
    parts = [f"# {tables.plain(facts['title'])}\n"]
    parts += [f"{tables.plain(sentence)}\n" for sentence in facts["sentences"]]
    parts += [tables.to_markdown(table) for table in shown]
    for heading, sentences in facts["protocol"]:
        lines = "\n".join(f"- {tables.plain(sentence)}" for sentence in sentences)
        parts.append(f"**{tables.plain(heading)}**\n\n{lines}\n")
    return "\n".join(parts)
