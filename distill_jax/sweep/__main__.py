"""Many runs and their comparison: `python -m distill_jax.sweep --config FILE --workdir DIR`.

Every run is an ordinary one, in DIR/ARM-seedN, or DIR/ARM-seedN/0 and so on if an arm has several
steps; `--list` shows them. Running the same command again
skips finished runs and continues with the others; the comparison is in DIR/report.
"""

import sys

from distill_jax import devices, errors
from distill_jax.settings import command_line
from distill_jax.sweep import definition, plan
from distill_jax.workdir import local_path


def main(argv: list[str]) -> None:
    """Read the sweep, check all of its runs, and list, check or run them."""
    parser = command_line.parser("sweep", "Train, evaluate and compare the runs of a sweep.")
    parser.add_argument(
        "--config", required=True, help="a file with get_sweep(), such as configs/sweeps/schemes.py"
    )
    parser.add_argument("--workdir", required=True, help="the directory of all runs")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N",
        help="processes at a time; more than 1 only if they do not share one accelerator",
    )  # fmt: skip
    parser.add_argument(
        "--arms", default="", metavar="A,B,...",
        help="only these arms; * stands for any text: 'coin_flip-*,*-chain'",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", default="", metavar="A,B,...", help="these seeds in place of the sweep's: 0,1"
    )
    parser.add_argument("--list", action="store_true", help="show runs and progress, and exit")
    parser.add_argument("--dry_run", action="store_true", help="check every config, and exit")
    parser.add_argument(
        "--yes", action="store_true", help="send requests to the teacher without asking you first"
    )
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)
    if arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    whole = definition.load_sweep(arguments.config)
    sweep = definition.only(definition.with_seeds(whole, arguments.seeds), arguments.arms)
    planned = plan.plan(sweep, overrides, local_path(arguments.workdir, "--workdir"), whole)

    from distill_jax.sweep import run_sweep

    if arguments.list:
        run_sweep.show(planned, arguments.workdir)
    elif arguments.dry_run:
        run_sweep.dry_run(planned, arguments.workdir)
    else:
        run_sweep.run(sweep, planned, arguments.workdir, jobs=arguments.jobs, yes=arguments.yes)


if __name__ == "__main__":
    devices.use_huge_pages()  # and so do the processes of its runs
    errors.leave(errors.run_command(main, sys.argv[1:]))
