"""Run an experiment: `python -m distill_jax.main --config configs/demo.py --workdir runs/demo`."""

import sys

from distill_jax import devices, errors
from distill_jax.settings import command_line


def main(argv: list[str]) -> None:
    """Parse, check, and call `experiment`, which has the heavy imports."""
    parser = command_line.parser("main", "Train and evaluate students; a stopped run continues.")
    parser.add_argument("--config", help="a file with get_config(); default: that of --workdir")
    parser.add_argument("--workdir", help="the directory for everything that is written")
    parser.add_argument(
        "--show_batch",
        action="store_true",
        help="print the first training row of each role",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="compile the training steps and the sampler; print memory, FLOPs and communication",
    )
    parser.add_argument(
        "--topology",
        metavar="v5e:2x4",
        help="dry run for a TPU slice, or GPUs such as H100:8, that you need not have",
    )
    parser.add_argument(
        "--yes", action="store_true", help="send requests to the teacher without asking you first"
    )
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)
    if arguments.topology and not arguments.dry_run:
        parser.error("--topology needs --dry_run")
    if not (arguments.workdir or arguments.show_batch or arguments.dry_run):
        needed = "--workdir is" if arguments.config else "--config and --workdir are"
        parser.error(f"{needed} required, such as --config configs/demo.py --workdir runs/demo")
    config = command_line.chosen_config(arguments.config, arguments.workdir)

    devices.keep_freed_memory()
    if not arguments.dry_run:  # which must see what the compiler says
        devices.keep_compiled_programs()
    from distill_jax.run import checks

    checks.set_and_check(config, overrides)
    if arguments.dry_run:
        from distill_jax.dry_run import whole_run

        whole_run.run(config, arguments.workdir, arguments.topology)
        return
    from distill_jax.run import experiment

    if arguments.show_batch:
        experiment.show_batch(config)
    else:
        experiment.run(config, arguments.workdir, arguments.yes)


if __name__ == "__main__":
    devices.use_huge_pages()
    errors.leave(errors.run_command(main, sys.argv[1:]))
