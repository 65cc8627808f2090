"""Only the annotations: `python -m distill_jax.annotate [--config C] --workdir W [--yes]`."""

import sys

from distill_jax import errors
from distill_jax.settings import command_line


def main(argv: list[str]) -> None:
    """Parse, check, and call `annotate_problems`, which has the heavy imports."""
    parser = command_line.parser(
        "annotate",
        "Annotate the training problems and write annotations.jsonl. Asks the teacher of the "
        "config, or reads files or the task's own annotations, and checks them. Says what a "
        "teacher costs before anything is sent. The teacher is config.teacher.model "
        "(--config.teacher.model=NAME); its key is OPENAI_API_KEY in the environment.",
    )
    parser.add_argument("--config", help="a file with get_config(); default: that of --workdir")
    parser.add_argument(
        *("--workdir", "--output"),  # the second as in steps of sweeps
        help="the directory for everything that is written",
    )
    parser.add_argument("--yes", action="store_true", help="send requests without asking you first")
    parser.add_argument(
        "--limit",
        type=int,
        default=0,
        metavar="N",
        help="a trial with N problems: only the cache is written, --workdir is not needed",
    )
    parser.add_argument(
        "--push_to", metavar="NAME/DATA_SET", help="also upload them to the Hugging Face Hub"
    )
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)
    if arguments.limit < 0:
        parser.error("--limit must be at least 0")
    if not (arguments.workdir or arguments.limit):
        parser.error("--workdir is required")
    config = command_line.chosen_config(arguments.config, arguments.workdir)

    from distill_jax.run import annotate_problems, checks

    checks.set_and_check(config, overrides)
    if arguments.limit:
        annotate_problems.trial(config, arguments.limit, arguments.yes)
        return
    annotate_problems.annotate(config, arguments.workdir, arguments.yes)
    if arguments.push_to:
        annotate_problems.push(arguments.workdir, arguments.push_to)


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
