"""One report over several tasks: tables as a page, Markdown and CSV, and a comparison per task."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from distill_jax.evaluation import html_report, over_tasks, published, tables
from distill_jax.evaluation import runs as finished_runs
from distill_jax.evaluation.comparison import DIALOGUES, write_comparison
from distill_jax.evaluation.over_tasks import Score
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import mean_and_deviation
from distill_jax.evaluation.tables import Table
from distill_jax.workdir import local_path, write_text

PAGE = "tasks.html"


def write_tasks_report(
    paths: Sequence[str],
    output: str | pathlib.Path,
    *,
    names: Sequence[str] = (),
    dialogues: int = DIALOGUES,
) -> list[pathlib.Path]:
    """Report the headline evaluations of runs on several tasks; returns what was written.

    DIR/tasks.html, DIR/tasks.md, DIR/tables/NAME.csv, and for each task DIR/TASK/comparison.html
    and so on (evaluation/comparison.py), in which the first run is the baseline.

    Raises UserError where a run cannot be read, where names do not fit, and where runs that differ
    in their seed answered different problems.
    """
    runs = finished_runs.read_runs(paths, names)
    found = over_tasks.scores(runs)
    directory = local_path(output, "--output")
    wanted = (
        _overview(found),
        _scores_table(found),
        _splits_table(found),
        _shared_table(found),
    )
    shown = [table for table in wanted if table is not None]
    places = _of_each_task(runs, paths)
    facts = {
        "title": f"{len({score.task for score in found})} tasks",
        "sentences": [
            f"{html_report.counted(len(runs), 'run')}; a mean over seeds has the interval of one "
            "run on as many problems, which other seeds make wider. No published accuracy here is "
            "a fair comparison: see the differences of protocol."
        ],
        "protocol": [
            ("Runs compared here", _ours(runs)),
            (
                f"{published.FINE_TUNE_COT.title}, {published.FINE_TUNE_COT.url}; read in "
                f"{published.FINE_TUNE_COT.source}",
                published.FINE_TUNE_COT.protocol,
            ),
        ],
    }
    page = html_report.page_template("tasks.html.j2").render(
        **facts, tables=[(table, tables.shown(table)) for table in shown], comparisons=list(places)
    )
    written = {directory / PAGE: page, directory / "tasks.md": _md(facts, shown)}
    for table in shown:
        written[directory / "tables" / f"{table.name}.csv"] = tables.to_csv(table)
    for path, text in written.items():
        write_text(path, text)
    for task, members in places.items():
        write_comparison(
            [path for path, _ in members],
            directory / task,
            names=[run.name for _, run in members],
            dialogues=dialogues,
        )
    return list(written)


def of_several_tasks(paths: Sequence[str], names: Sequence[str] = ()) -> bool:
    """Whether these runs were asked different tasks."""
    return len({run.report["task"] for run in finished_runs.read_runs(paths, names)}) > 1


def _of_each_task(runs: Sequence[Run], paths: Sequence[str]) -> dict[str, list[tuple[str, Run]]]:
    """{directory of the comparison: its runs with their paths}."""
    places: dict[str, list[tuple[str, Run]]] = {}
    for path, run in zip(paths, runs, strict=True):
        name = "".join(c if c.isalnum() or c in "_.=," else "-" for c in over_tasks.task_name(run))
        places.setdefault(name, []).append((path, run))
    return places


def _overview(found: Sequence[Score]) -> Table:
    """A row per method, a column per task."""
    tasks = over_tasks.of_each_task(found)
    methods = list(dict.fromkeys(score.method for score in found))
    by_place = {(score.method, score.task): score for score in found}
    common = [task for task in tasks if all((method, task) in by_place for method in methods)]
    rows = []
    for method in methods:
        known = {task: by_place[method, task] for task in tasks if (method, task) in by_place}
        means = {task: score.mean for task, score in known.items()}
        macro = over_tasks.macro_average(known.values())
        rows.append((method, *_of(tasks, means), len(known), macro, _mean_of(common, means)))
    for kind, wanted in (
        ("published, answer only", [published.ANSWER_ONLY]),
        ("published, chains", [published.COT, published.DIVERSE]),
    ):
        best = {task: _best(score, wanted) for task, score in tasks.items()}
        shares = {task: each.accuracy / 100 for task, each in best.items() if each is not None}
        name = f"{kind} (chosen on test)"
        rows.append((name, *_of(tasks, shares), len(shares), None, _mean_of(common, shares)))
    columns = (
        tables.text("method"),
        *(tables.share(task) for task in tasks),
        tables.count("tasks"),
        tables.share_with_interval("macro average"),
        tables.share(f"over {len(common)} common tasks"),
    )
    note = (
        "Means over seeds. The macro average gives each task the same weight; its interval is for "
        "other problems of these tasks. Methods with different tasks can be compared only over the "
        f"common ones ({', '.join(common) or 'there are none'}). Published: the best of "
        f"{', '.join(published.SMALL)}, which the paper chose among 20 epochs, and we among these "
        "students, by their accuracy on the test set."
    )
    return Table("overview", "Methods and tasks", columns, rows, note)


def _of(tasks: Iterable[str], shares: Mapping[str, float]) -> list[float | None]:
    return [shares.get(task) for task in tasks]


def _mean_of(tasks: Sequence[str], shares: Mapping[str, float]) -> float | None:
    """Of the tasks, if all are known."""
    known = [shares[task] for task in tasks if task in shares]
    return fmean(known) if known and len(known) == len(tasks) else None


def _scores_table(found: Sequence[Score]) -> Table:
    """A row per task and method, with the published accuracies beside it."""
    rows = []
    for score in found:
        answers = _best(score, [published.ANSWER_ONLY])
        chains = _best(score, [published.COT, published.DIVERSE])
        _, deviation, seeds = mean_and_deviation(score.accuracies)
        rows.append(
            (
                score.task,
                score.method,
                score.n,
                seeds,
                (score.mean, *score.interval),
                deviation,
                score.half_width,
                *_cells(answers),
                *_cells(chains),
            )
        )
    columns = (
        tables.text("task"),
        tables.text("method"),
        tables.count("problems"),
        tables.count("seeds"),
        tables.share_with_interval("accuracy"),
        tables.share("sd over seeds"),
        tables.points("half of the interval"),
        tables.share("published, answer only"),
        tables.text("by"),
        tables.share("published, chains"),
        tables.text("by, with"),
    )
    note = (
        "Accuracy by the headline extractor with its Wilson 95 % interval. Half of the interval "
        "says what so few problems leave open. Published: the best small student, chosen on test."
    )
    return Table("scores", "Accuracies", columns, rows, note)


def _best(score: Score, methods: Sequence[str]) -> published.Best | None:
    return None if score.published is None else published.best(score.published, methods)


def _cells(best: published.Best | None) -> tuple[float | None, str]:
    if best is None:
        return None, ""
    return best.accuracy / 100, f"{best.student}, {best.method}"


def _splits_table(found: Sequence[Score]) -> Table | None:
    """What the test problems of a task share with its training problems; None if none says so."""
    rows = [
        (task, what, count, score.n)
        for task, score in over_tasks.of_each_task(found).items()
        for what, count in over_tasks.overlaps(score).items()
    ]
    columns = (
        tables.text("task"),
        tables.text("overlap"),
        tables.count("problems"),
        tables.count("of"),
    )
    note = (
        "What of a test problem is in a training problem of the same split, by attributes. "
        "Conclusions should come from grouped splits and from fresh problems. A run with "
        "data.templated=False does not train on questions that differ from a test question only in "
        "numbers."
    )
    return Table("splits", "What the splits share", columns, rows, note) if rows else None


def _shared_table(found: Sequence[Score]) -> Table | None:
    """Test questions that were trained on for another task; None if there are none."""
    rows = [
        (each.tested, each.trained, each.same, each.other_numbers, each.n)
        for each in over_tasks.shared_questions(found)
    ]
    columns = (
        tables.text("tested"),
        tables.text("trained"),
        tables.count("same question"),
        tables.count("with other numbers"),
        tables.count("of"),
    )
    note = (
        "Test questions of one task among the training questions of another: a student of both, or "
        "of the second, has seen them."
    )
    title = "Questions that tasks share"
    return Table("shared_questions", title, columns, rows, note) if rows else None


def _ours(runs: Sequence[Run]) -> list[str]:
    """How the runs differ from the paper, as far as their configs say."""
    sentences = []
    for run in runs:
        identity = run.identity
        first = {
            identity.get(f"model.{student}.init_from") or "random parameters"
            for student in run.students
        }
        sentences.append(
            f"{run.name}: scheme {identity['scheme']}, text format "
            f"{identity.get('text_format', 'turns')}, {' and '.join(sorted(first))}, "
            f"{html_report.counted(run.trained_tokens(), 'token')} trained, checkpoint "
            f"{run.report['checkpoint_rule']}, extractor {run.report['headline_extractor']}."
        )
    return [
        "Answers with choices are learned and graded as `(B) text`, in the paper as `B`.",
        "Steps of rule-made tasks are exact and by program, in the paper by text-davinci-002; "
        "those of word problems are equations.",
        "28 rows of Date Understanding with a disputed label are left out of training, not of the "
        "test.",
        *sentences,
    ]


def _md(facts: Mapping[str, object], shown: Sequence[Table]) -> str:
    parts = [f"# {tables.plain(str(facts['title']))}\n"]
    parts += [f"{tables.plain(sentence)}\n" for sentence in facts["sentences"]]  # type: ignore
    parts += [tables.to_markdown(table) for table in shown]
    for heading, sentences in facts["protocol"]:  # type: ignore
        lines = "\n".join(f"- {tables.plain(sentence)}" for sentence in sentences)
        parts.append(f"**{tables.plain(heading)}**\n\n{lines}\n")
    return "\n".join(parts)
