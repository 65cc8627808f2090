"""The tables of a comparison, on the problems that all its runs answered: which run is better, what
each gets right and wrong, and what it was trained on."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation import breakdowns, error_classes, paired, published, tables
from distill_jax.evaluation.calibration import calibration
from distill_jax.evaluation.html_report import counted
from distill_jax.evaluation.question_quality import corpus_bleu, question_counts, question_pairs
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import mean_and_deviation, wilson_interval
from distill_jax.evaluation.summary import HEADLINE_EXTRACTOR
from distill_jax.evaluation.tables import Table
from distill_jax.records import ENDED, Annotation

Gold = Mapping[str, Annotation]


def runs_table(runs: Sequence[Run], arms: Mapping[str, Sequence[Run]]) -> Table:
    """One row per run: its accuracies, the headline first, the other extractors beside it."""
    extractors = list(dict.fromkeys(name for run in runs for name in run.report["scores"]))
    headline = runs[0].report["headline_extractor"]
    extractors.sort(key=lambda name: name != headline)
    arm_of = {run.name: arm for arm, members in arms.items() for run in members}
    rows = [
        (
            run.name,
            arm_of[run.name],
            run.report["seed"],
            run.report["task"].rpartition(".")[2],
            run.report["split"],
            *(_extracted(run, name) for name in extractors),
        )
        for run in runs
    ]
    columns = (
        tables.text("run"),
        tables.text("arm"),
        tables.count("seed"),
        tables.text("task"),
        tables.text("split"),
        *(tables.share_with_interval(name) for name in extractors),
    )
    note = (
        f"Accuracy by each extractor with its Wilson 95 % interval; everything below is by the "
        f"headline extractor, {headline}. Runs of one arm differ only in their seed."
    )
    return Table("runs", "Runs", columns, rows, note)


def settings_table(runs: Sequence[Run]) -> Table:
    """One row per run: what it was made from, how it was evaluated, what it cost."""
    rows = [
        (
            run.name,
            run.identity["scheme"],
            _checkpoints(run),
            _sampling(run),
            run.report["headline_extractor"],
            sum(run.facts[student]["parameters"] for student in run.students),
            run.trained_tokens(),
            run.generated_tokens(),
            run.generated_tokens() / len(run.predictions),
            sum(p.cost.flops for p in run.predictions) / len(run.predictions),
        )
        for run in runs
    ]
    columns = (
        tables.text("run"),
        tables.text("scheme"),
        tables.text("checkpoints"),
        tables.text("sampling"),
        tables.text("extractor"),
        tables.count("parameters"),
        tables.count("tokens trained"),
        tables.count("tokens generated"),
        tables.decimal("per problem", 1),
        tables.magnitude("FLOPs per problem"),
    )
    note = (
        "Checkpoints: the rule, and the steps that it chose. Parameters and tokens trained "
        "(non-padding, without those of runs that students started from) are sums over students; "
        "tokens generated and FLOPs are those of everyone who was asked, in all samples."
    )
    return Table("settings", "Settings and cost", columns, rows, note)


def arms_table(arms: Mapping[str, Sequence[Run]]) -> Table | None:
    """Mean and deviation over the seeds of each arm; None if no arm has several."""
    if all(len(members) == 1 for members in arms.values()):
        return None
    rows = []
    for name, members in arms.items():
        accuracies = [run.accuracy for run in members]
        mean, deviation, n = mean_and_deviation(accuracies)
        seeds = ", ".join(str(run.report["seed"]) for run in members)
        rows.append((name, n, seeds, mean, deviation, min(accuracies), max(accuracies)))
    columns = (
        tables.text("arm"),
        tables.count("n"),
        tables.text("seeds"),
        tables.share("mean"),
        tables.share("sd"),
        tables.share("lowest"),
        tables.share("highest"),
    )
    note = (
        "Runs that differ only in their seed. A run counts once: another evaluation of it is in an "
        "arm of its own. sd is the standard deviation of single runs (n - 1): how much another "
        "seed may differ."
    )
    return Table("seeds", "Over seeds", columns, rows, note)


def paired_table(runs: Sequence[Run], baseline: Run) -> Table | None:
    """Every other run against the baseline; None if there is none."""
    others = [run for run in runs if run is not baseline]
    if not others:
        return None
    reference = [p.correct for p in baseline.predictions]
    results = [paired.compare(reference, [p.correct for p in run.predictions]) for run in others]
    adjusted = paired.holm([result.p_value for result in results])
    several = len(others) > 1  # of one test nothing is to be adjusted
    rows = [
        (
            run.name,
            (result.difference, *result.interval),
            result.only_other,
            result.only_baseline,
            result.p_value,
            *([holm] if several else []),
            result.smallest_difference,
        )
        for run, result, holm in zip(others, results, adjusted, strict=True)
    ]
    columns = (
        tables.text("run"),
        tables.points_with_interval("difference in points"),
        tables.count("only this right"),
        tables.count("only baseline right"),
        tables.p_value("McNemar p"),
        *([tables.p_value("Holm p")] if several else []),
        tables.points("detectable difference"),
    )
    by_holm = f", and its p-value by Holm for {len(others)} comparisons" if several else ""
    note = (
        f"Against {baseline.name} on the same {counted(len(reference), 'problem')}: difference of "
        "accuracies with its 95 % bootstrap interval (10,000 resamples of the problems), the exact "
        f"McNemar test{by_holm}. The detectable difference is the smallest true one that these "
        "problems would have shown with 80 % power at alpha 0.05, at the share of problems on "
        "which the two runs differ; empty if none would. The tests are about these students, "
        "not about other seeds."
    )
    if baseline.given == "history":
        note += (
            " Steps of one problem count as independent of one another, so intervals are too "
            "narrow and p-values too small."
        )
    return Table("paired", f"Against {baseline.name}", columns, rows, note)


def parity_table(runs: Sequence[Run]) -> Table | None:
    """Test scores of every epoch, where runs have them, apart from all results; else None."""
    rows = []
    for run in runs:
        if run.parity_epochs and not run.variant:
            scores = [epoch["scores"] for epoch in run.parity_epochs]
            name = "fine_tune_cot" if "fine_tune_cot" in scores[0] else HEADLINE_EXTRACTOR
            accuracies = [score[name]["accuracy"] for score in scores]
            best = max(accuracies)
            epoch = run.parity_epochs[accuracies.index(best)]["epoch"]
            rows.append((run.name, name, len(accuracies), accuracies[-1], best, epoch))
    columns = (
        tables.text("run"),
        tables.text("extractor"),
        tables.count("epochs"),
        tables.share("last epoch"),
        tables.share("best of the epochs on test (parity with Fine-tune-CoT; not a result)"),
        tables.count("which"),
    )
    note = (
        "Greedy answers to the whole test split after every epoch. Fine-tune-CoT reports the best "
        "epoch; a number chosen on the test set is too high, more so on a small one. The accuracy "
        "of a run is the one in the tables above."
    )
    title = "Best epoch on test, for parity with Fine-tune-CoT: not a result"
    return Table("parity_test_selection", title, columns, rows, note) if rows else None


def published_table(results: Sequence[published.Result]) -> Table:
    """What papers report, one row per student; a cell that is not known is empty."""
    methods = list(dict.fromkeys(method for r in results for method in r.accuracies))
    rows = [
        (r.paper.title, r.student, *(_hundredth(r.accuracies.get(m)) for m in methods))
        for r in results
    ]
    columns = (
        tables.text("paper"),
        tables.text("student"),
        *(tables.share(method) for method in methods),
    )
    return Table("published", "Published accuracies", columns, rows)


def _hundredth(value: float | None) -> float | None:
    return None if value is None else round(value / 100, 6)


def _extracted(run: Run, extractor: str) -> tuple[float, float, float] | None:
    if extractor not in run.report["scores"]:
        return None
    right = sum(p.scores.get(extractor, False) for p in run.predictions)
    n = len(run.predictions)
    return (right / n, *wilson_interval(right, n))


def _checkpoints(run: Run) -> str:
    steps = ", ".join(f"{name} {step}" for name, step in run.report["checkpoint_steps"].items())
    return f"{run.report['checkpoint_rule']} ({steps})"


def _sampling(run: Run) -> str:
    if "combination" in run.report:
        return run.report["combination"]["description"]
    settings = run.report["sampling"]
    words = ["greedy" if not settings["temperature"] else f"T={settings['temperature']:g}"]
    words += [f"{settings['samples']} samples"] if settings["samples"] > 1 else []
    words += [f"vote by {settings['vote']}"] if "vote" in settings else []
    words += ["calculator"] if settings["calculator"] else []
    words += [f"given: {settings['given']}"] if settings["given"] else []
    return ", ".join(words)


def errors_table(runs: Sequence[Run], gold: Gold) -> Table:
    """How many wrong answers are of each class."""
    rows = []
    for run in runs:
        counts = error_classes.count(run.predictions, gold, given=run.given)
        stopped = sum(p.correct and p.status not in ENDED for p in run.predictions)
        rows.append((run.name, sum(counts.values()), *counts.values(), stopped))
    columns = (
        tables.text("run"),
        tables.count("wrong"),
        *(tables.count(name) for name in error_classes.CLASSES),
        tables.count("right, though stopped"),
    )
    note = (
        "The first class that fits, from left to right. Decomposition: another number of steps "
        "than gold. Arithmetic: as many, but an equation is false. Operation: as many, and no "
        "equation is false. Of several mistakes only one is counted. Last: dialogues that a limit "
        "stopped, and that count as right by what they had written last."
    )
    return Table("errors", "Why answers are wrong", columns, rows, note)


def breakdown_tables(runs: Sequence[Run]) -> list[Table]:
    """By number of steps, by length of the transcript, by type of problem."""
    steps = _breakdown("steps", "By steps of the gold solution", "steps", runs, "steps")
    lengths = [(run.name, group) for run in runs for group in breakdowns.by_length(run.predictions)]
    length = _group_table(
        "lengths", "By length of the transcript", "tokens", lengths,
        "Quartiles of each run's own transcripts.",
    )  # fmt: skip
    types = [
        _breakdown(f"by_{i}", f"By {name}", name, runs, name)
        for i, name in enumerate(breakdowns.types(runs[0].predictions), start=1)
    ]
    return [table for table in (steps, length, *types) if table.rows]


def questions_table(runs: Sequence[Run], gold: Gold) -> Table | None:
    """Subquestions against gold; None if no decomposer asked by itself."""
    asking = [run for run in runs if run.given in ("", "plan")]
    pairs = {run.name: question_pairs(run.predictions, gold) for run in asking}
    pairs = {name: found for name, found in pairs.items() if found}
    missing = ""
    try:
        bleu = {name: corpus_bleu(found) for name, found in pairs.items()}
    except UserError as error:  # an extra that is not installed
        bleu, missing = {}, f" No BLEU: {error}."
    rows = [
        (name, *question_counts(found).values(), bleu.get(name)) for name, found in pairs.items()
    ]
    columns = (
        tables.text("run"),
        tables.count("problems"),
        tables.decimal("questions"),
        tables.decimal("more than gold"),
        tables.share("as many as gold"),
        tables.decimal("BLEU", 1),
    )
    note = (
        "Subquestions per problem and their number against gold. Corpus BLEU (sacrebleu), a "
        "problem's questions as one segment: how similar the words are, not how useful." + missing
    )
    return Table("questions", "Subquestions", columns, rows, note) if rows else None


def calibration_table(runs: Sequence[Run]) -> Table:
    """Whether probabilities tell right answers from wrong ones."""
    rows = []
    for run in runs:
        last = calibration(run.predictions)
        whole = calibration(run.predictions, transcript=True)
        if last is not None and whole is not None:
            mean = sum(b.n * b.probability for b in last.bins) / last.n
            measured = [(each.expected_error, each.auroc) for each in (last, whole)]
            rows.append((run.name, last.n, mean, *measured[0], *measured[1]))
    columns = (
        tables.text("run"),
        tables.count("problems"),
        tables.share("mean probability"),
        tables.share("calibration error"),
        tables.decimal("AUROC"),
        tables.share("calibration error, transcript"),
        tables.decimal("AUROC, transcript"),
    )
    note = (
        "Probability of the last solver turn, and of the whole transcript, at temperature 1. "
        "Expected calibration error over ten bins. AUROC: the chance that a right answer is more "
        "probable than a wrong one (0.5 is chance); empty if all are right or all wrong."
    )
    return Table("calibration", "Calibration", columns, rows, note)


def _breakdown(name: str, title: str, column: str, runs: Sequence[Run], attribute: str) -> Table:
    """The runs of a group below each other."""
    by_run = [breakdowns.by_attribute(run.predictions, attribute) for run in runs]
    rows = [(run.name, group) for run, groups in zip(runs, by_run, strict=True) for group in groups]
    order = list(dict.fromkeys(group.name for groups in by_run for group in groups))
    rows.sort(key=lambda row: order.index(row[1].name))
    return _group_table(name, title, column, rows)


def _group_table(
    name: str, title: str, column: str, rows: Sequence[tuple[str, Any]], note: str = ""
) -> Table:
    columns = (
        tables.text(column),
        tables.text("run"),
        tables.count("problems"),
        tables.count("right"),
        tables.share_with_interval("accuracy"),
    )
    cells = [(g.name, run, g.n, g.correct, (g.accuracy, *g.interval)) for run, g in rows]
    return Table(name, title, columns, cells, note)


def training_data_table(arms: Mapping[str, Sequence[Run]]) -> Table | None:
    """One row per arm, student and origin of its rows (file, teacher, gold), means over the seeds.

    None if no run says where its rows are from, which older runs do not.
    """
    rows = []
    for arm, members in arms.items():
        for student in members[0].students:
            facts = [run.facts[student] for run in members if "origins" in run.facts[student]]
            origins = sorted({name for each in facts for name in each["origins"]})
            rows += [(arm, student, name, *_means(facts, name)) for name in origins]
    columns = (
        tables.text("arm"),
        tables.text("student"),
        tables.text("origin"),
        tables.mean_count("problems"),
        tables.mean_count("rows"),
        tables.mean_count("dropped rows"),
        tables.decimal("tokens per row", 1),
        tables.decimal("epochs", 2),
    )
    note = (
        "What the students were trained on, means over the runs of an arm: problems and rows that "
        "fit the context, rows that did not and were dropped, tokens fed per row, and how often "
        "each row was met."
    )
    return Table("training_data", "Training data", columns, rows, note) if rows else None


def _means(facts: Sequence[Mapping[str, Any]], origin: str) -> tuple[float | None, ...]:
    nothing = {"problems": 0, "rows": 0, "row_tokens": 0, "dropped_rows": 0}
    counts = [each["origins"].get(origin, nothing) for each in facts]
    rows = sum(each["rows"] for each in counts)
    epochs = [
        each["epochs"] * each.get("finished_at", each["steps"]) / max(1, each["steps"])
        for each in facts
    ]
    return (
        fmean(each["problems"] for each in counts),
        fmean(each["rows"] for each in counts),
        fmean(each["dropped_rows"] for each in counts),
        sum(each["row_tokens"] for each in counts) / rows if rows else None,
        fmean(epochs),
    )
