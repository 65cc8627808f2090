"""Makes one evaluation from several of the same problems: `python -m distill_jax.combine`.

python -m distill_jax.combine --rule vote runs/a runs/b runs/c --output combined/vote
python -m distill_jax.combine --rule switch runs/small runs/large --output combined/switch \
    --dev runs/small/evaluations/DEV runs/large/evaluations/DEV
"""

import argparse
import sys

from distill_jax import errors
from distill_jax.errors import UserError

# The rule of each option.
OPTIONS = {
    "switch": ("by", "threshold", "dev", "share"),
    "length_vote": ("length", "width", "buckets"),
}


def main(argv: list[str]) -> None:
    """Read the evaluations, combine them, print the result."""
    arguments = _parser().parse_args(argv)
    for rule, options in OPTIONS.items():
        for option in options:
            if rule != arguments.rule and vars(arguments)[option] is not None:
                raise UserError(f"--{option} is for --rule {rule}: leave it out")
    if arguments.rule == "switch":
        _check_threshold(arguments)

    from distill_jax.evaluation import combined_evaluation, summary

    earlier = combined_evaluation.check_output(arguments.output)
    names = [name.strip() for name in arguments.names.split(",")] if arguments.names else []
    members = combined_evaluation.read_members(arguments.evaluations, names)
    if arguments.rule == "vote":
        combined = combined_evaluation.voted(members)
    elif arguments.rule == "length_vote":
        combined = combined_evaluation.length_voted(
            members,
            tokens=arguments.length == "tokens",
            width=2 if arguments.width is None else arguments.width,
            buckets=3 if arguments.buckets is None else arguments.buckets,
        )
    else:
        by = arguments.by or "answer"
        if arguments.dev is None:
            threshold = combined_evaluation.Threshold(arguments.threshold)
        else:
            threshold = combined_evaluation.choose_threshold(
                members, arguments.dev, by, arguments.share
            )
        combined = combined_evaluation.switched(members, by, threshold)
    result = combined_evaluation.write(arguments.output, members, combined)
    if earlier not in ("", combined.description):
        print(f"replaced in {arguments.output}: {earlier}")
    print(combined.description)
    for member in members:
        print(f"{member.name} alone: accuracy {member.accuracy:.1%}")
    print("\n".join(summary.closing_lines(result)))
    print(f"evaluation: {arguments.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m distill_jax.combine",
        description="Combine evaluations of the same problems into one, without sampling again.",
        epilog="python -m distill_jax.report RUN... DIR --output REPORT shows the result, which is "
        "in DIR, as one more row. Its cost includes everyone who was asked.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "evaluations", nargs="+", metavar="RUN_OR_EVALUATION", help="the --workdir of a finished "
        "run, or one of its evaluations (RUN/evaluations/NAME); for switch, the large one last",
    )  # fmt: skip
    parser.add_argument(
        "--rule", required=True, choices=("vote", "switch", "length_vote"),
        help="vote: the answer of most samples. switch: the small one's answer, or the large "
        "one's if the small one is unsure. length_vote: a vote among the lengths whose answers "
        "agree most",
    )  # fmt: skip
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="the directory for the result"
    )
    parser.add_argument("--names", default="", metavar="A,B,...", help="names for the evaluations")
    switch = parser.add_argument_group("switch")
    switch.add_argument(
        "--by", choices=(
            "answer", "answer_per_token", "transcript", "transcript_per_token", "entropy", "margin",
            "votes",
        ),
        help="how to measure whether it is unsure: by the improbability of its last solution or of "
        "all its turns, as a whole or per token; by how many other tokens were likely in its last "
        "solution (entropy), or how close the second one was (margin); or by disagreeing votes of "
        "its samples or of several small evaluations (default: answer)",
    )  # fmt: skip
    switch.add_argument(
        "--threshold", type=float, metavar="X", help="the large one answers if the uncertainty "
        "is above X; 1 = never, -1 = always",
    )  # fmt: skip
    switch.add_argument(
        "--dev", nargs="+", metavar="EVALUATION", help="choose the most accurate threshold on "
        "these evaluations of other problems, by the same students in the same order",
    )  # fmt: skip
    switch.add_argument(
        "--share", type=float, metavar="S", help="with --dev: choose the threshold that defers at "
        "most this share of the dev problems",
    )  # fmt: skip
    lengths = parser.add_argument_group("length_vote")
    lengths.add_argument(
        "--length", choices=("steps", "tokens"), help="the unit of length (default: steps)"
    )
    lengths.add_argument("--width", type=int, metavar="N", help="lengths in a bucket (default: 2)")
    lengths.add_argument(
        "--buckets", type=int, metavar="N", help="how many buckets to keep (default: 3)"
    )
    return parser


def _check_threshold(arguments: argparse.Namespace) -> None:
    if (arguments.threshold is None) == (arguments.dev is None):
        raise UserError(
            "--rule switch needs either --threshold X, or --dev EVALUATION... to choose it on"
        )
    if arguments.share is not None and (arguments.dev is None or not 0 <= arguments.share <= 1):
        raise UserError("--share needs a number from 0 to 1, and --dev")
    if arguments.threshold is not None and not -1 <= arguments.threshold <= 1:
        raise UserError(f"--threshold={arguments.threshold:g}: give a number from -1 to 1")


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
