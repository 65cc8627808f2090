"""Which run is better: the tables of the comparison about accuracies, on the common problems."""

from collections.abc import Mapping, Sequence

from distill_jax.evaluation import paired, published, tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import mean_and_deviation, wilson_interval
from distill_jax.evaluation.summary import HEADLINE_EXTRACTOR
from distill_jax.evaluation.tables import Table


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
    )
    note = (
        "Checkpoints: the rule, and the steps that it chose. Parameters and tokens trained "
        "(non-padding, without those of runs that students started from) are sums over students; "
        "tokens generated include all samples."
    )
    return Table("settings", "Settings and cost", columns, rows, note)


def arms_table(arms: Mapping[str, Sequence[Run]]) -> Table | None:
    """Mean and deviation over the seeds of each arm; None where no arm has several."""
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
        "Runs that differ only in their seed. sd is the standard deviation of single runs (n - 1): "
        "how much another seed may differ."
    )
    return Table("seeds", "Over seeds", columns, rows, note)


def paired_table(runs: Sequence[Run], baseline: Run) -> Table | None:
    """Every other run against the baseline; None where there is none."""
    others = [run for run in runs if run is not baseline]
    if not others:
        return None
    reference = [p.correct for p in baseline.predictions]
    results = [paired.compare(reference, [p.correct for p in run.predictions]) for run in others]
    adjusted = paired.holm([result.p_value for result in results])
    rows = [
        (
            run.name,
            (result.difference, *result.interval),
            result.only_other,
            result.only_baseline,
            result.p_value,
            holm,
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
        tables.p_value("Holm p"),
        tables.points("detectable difference"),
    )
    note = (
        f"Against {baseline.name} on the same {len(reference)} problems: difference of accuracies "
        "with its 95 % bootstrap interval (10,000 resamples of the problems), the exact McNemar "
        f"test, and its p-value by Holm for {len(others)} comparisons. The detectable difference is"
        " the smallest true one that these problems would have shown with 80 % power at alpha "
        "0.05, at the share of problems on which the two runs differ; empty where none would. "
        "The tests are about these students, not about other seeds."
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
    settings = run.report["sampling"]
    words = ["greedy" if not settings["temperature"] else f"T={settings['temperature']:g}"]
    words += [f"{settings['samples']} samples"] if settings["samples"] > 1 else []
    words += ["calculator"] if settings["calculator"] else []
    words += [f"given: {settings['given']}"] if settings["given"] else []
    return ", ".join(words)
