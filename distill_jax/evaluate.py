"""Evaluate a finished run: `python -m distill_jax.evaluate --workdir runs/demo`.

`--config.sampling.*`, `--config.evaluation.*` and `--config.mesh.*` may differ from the run's;
`--list` lists the evaluations of the run, and the settings in which they differ.
"""

import sys

from distill_jax import devices, errors
from distill_jax.evaluation import listing
from distill_jax.settings import command_line
from distill_jax.settings.command_line import PREFIX
from distill_jax.workdir import Workdir


def main(argv: list[str]) -> None:
    """Open the directory, apply the overrides, evaluate; or list the evaluations."""
    parser = command_line.parser(
        "evaluate", "Evaluate the students of a finished run.", command_line.OF_A_FINISHED_RUN
    )
    parser.add_argument("--workdir", required=True, help="the directory of the run")
    parser.add_argument("--list", action="store_true", help="list the evaluations of the run")
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)

    if arguments.list:
        if overrides:
            raise errors.UserError(f"--list shows all evaluations: leave {PREFIX}* out")
        print("\n".join(listing.list_evaluations(Workdir(arguments.workdir))))
        return
    devices.keep_freed_memory()
    devices.keep_compiled_programs()
    from distill_jax.run import experiment

    experiment.evaluate(arguments.workdir, overrides)


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
