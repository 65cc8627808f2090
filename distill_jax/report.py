"""One report on finished runs: `python -m distill_jax.report runs/a runs/b --output report`.

Writes comparison.html, comparison.md and tables/*.csv: accuracies with intervals, paired tests
against a baseline, error classes, breakdowns, calibration, published numbers, dialogues.
"""

import argparse
import pathlib
import sys

from distill_jax import errors


def main(argv: list[str]) -> None:
    """Read the runs, compare them, print where the report is."""
    parser = argparse.ArgumentParser(
        prog="python -m distill_jax.report",
        description="Compare the evaluations of finished runs.",
        epilog="Runs that differ only in config.seed are grouped: mean and standard deviation.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="the --workdir of a finished run, one of its "
        "evaluations (RUN/evaluations/NAME), or what distill_jax.combine wrote",
    )  # fmt: skip
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="the directory for the report"
    )
    parser.add_argument(
        "--baseline", default="", metavar="RUN", help="the run to compare the others with: "
        "a directory or a name; default: the first",
    )  # fmt: skip
    parser.add_argument("--names", default="", metavar="A,B,...", help="names for the runs")
    parser.add_argument(
        "--dialogues", type=int, default=10, metavar="N",
        help="show N of the problems on which the runs differ (default: 10)",
    )  # fmt: skip
    parser.add_argument(
        "--evaluations", choices=("headline", "all"), default="headline",
        help="all: every evaluation of each run (other checkpoints, given subquestions, calculator "
        "...) is a row, and is compared with the headline evaluation of its run",
    )  # fmt: skip
    parser.add_argument(
        "--tasks", action="store_true",
        help="the runs are of several tasks: one report over tasks, and a comparison of the runs "
        "of each; the name of a run is TASK-METHOD, with -seedN if there are several",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.tasks and (arguments.baseline or arguments.evaluations == "all"):
        parser.error("--tasks has neither a --baseline nor --evaluations=all")

    names = [name.strip() for name in arguments.names.split(",")] if arguments.names else []
    if arguments.tasks:
        from distill_jax.evaluation.tasks_report import write_tasks_report

        written = write_tasks_report(
            arguments.runs,
            arguments.output,
            names=names,
            dialogues=max(0, arguments.dialogues),
        )
    else:
        written = _compare(arguments, names)
    print(f"report: {written[0]}")
    print(f"tables: {written[1]}, {written[2].parent}/*.csv")


def _compare(arguments: argparse.Namespace, names: list[str]) -> list[pathlib.Path]:
    from distill_jax.evaluation.comparison import write_comparison

    return write_comparison(
        arguments.runs,
        arguments.output,
        baseline=arguments.baseline,
        names=names,
        dialogues=max(0, arguments.dialogues),
        all_evaluations=arguments.evaluations == "all",
    )


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
