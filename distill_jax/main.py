"""Run an experiment: `python -m distill_jax.main --config configs/demo.py --workdir runs/demo`."""

import sys

from distill_jax import command_line, errors, host_memory


def main(argv: list[str]) -> None:
    """Parse, check, and hand over to `experiment`, which imports what is heavy."""
    parser = command_line.parser("main", "Train students and evaluate them; continues a run.")
    parser.add_argument("--config", required=True, help="a file with get_config()")
    parser.add_argument("--workdir", help="where everything is written; needed but to show a batch")
    parser.add_argument(
        "--show_batch", action="store_true", help="print the first training row of each role, exit"
    )
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)
    if not arguments.workdir and not arguments.show_batch:
        parser.error("--workdir is required")
    config = command_line.load_config(arguments.config)
    command_line.apply_overrides(config, overrides)

    host_memory.keep_freed_memory()
    from distill_jax import experiment

    if arguments.show_batch:
        experiment.show_batch(config)
    else:
        experiment.run(config, arguments.workdir)


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
