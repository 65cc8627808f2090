"""Evaluate a finished run: `python -m distill_jax.evaluate --workdir runs/demo`.

`--config.sampling.*`, `--config.evaluation.*` and `--config.mesh.*` may differ from the run's.
"""

import sys

from distill_jax import command_line, errors, host_memory


def main(argv: list[str]) -> None:
    """Open the directory, apply the overrides, evaluate."""
    parser = command_line.parser("evaluate", "Evaluate the students of a finished run.")
    parser.add_argument("--workdir", required=True, help="the directory of the run")
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)

    host_memory.keep_freed_memory()
    from distill_jax import experiment

    experiment.evaluate(arguments.workdir, overrides)


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
