"""Cuts chains into parts that restate and parts that infer: `python -m
distill_jax.annotations.segment`.

    python -m distill_jax.annotations.segment --entropies DIR/entropies.jsonl --output OUT

DIR is the output of distill_jax.run.entropies. OUT gets

    annotations.jsonl  pairs of a part that restates and one that infers, for the scheme socratic
    chains.jsonl       the same text as chains, for a comparison
    summary.json       counts, and how well the entropy separates pieces with an equation from the
                       others (auroc: 0.5 is chance)

See segments.py for the method.
"""

import argparse
import collections
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from distill_jax import errors, records
from distill_jax.annotations import segments
from distill_jax.annotations.segments import Segment
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step, to_json
from distill_jax.settings import command_line
from distill_jax.workdir import local_path, write_json, write_text


def main(argv: list[str]) -> None:
    """Parse, read, cut, write."""
    parser = command_line.parser("annotations.segment", "Cut chains by their entropy.", keys="")
    parser.add_argument(
        "--entropies", required=True, help="entropies.jsonl of distill_jax.run.entropies"
    )
    parser.add_argument(
        "--by", choices=("entropy", "equation"), default="entropy",
        help="what infers: pieces of high entropy, or those that hold an equation",
    )  # fmt: skip
    parser.add_argument(
        "--ratio", type=float, metavar="R",
        help="a piece infers if its entropy is above R times the mean of its chain (1.4)",
    )  # fmt: skip
    parser.add_argument(
        "--least_words", type=int, metavar="N", help="drop pieces of fewer words (0)"
    )
    parser.add_argument(
        "--of", choices=("piece", "word"), default="piece",
        help="the entropy of a whole piece, which favours long ones, or that of its mean word",
    )  # fmt: skip
    parser.add_argument("--output", required=True, help="the directory to write to")
    arguments = parser.parse_args(argv)
    if arguments.by == "equation" and (arguments.ratio, arguments.least_words) != (None, None):
        raise UserError("--by=equation: leave out --ratio and --least_words, which it does not use")
    if arguments.by == "entropy":
        arguments.ratio = 1.4 if arguments.ratio is None else arguments.ratio
        arguments.least_words = arguments.least_words or 0
    rows = [
        row for _, row in records.read_json_lines(local_path(arguments.entropies, "--entropies"))
    ]
    if not rows:
        raise UserError(f"--entropies={arguments.entropies}: no chain is in it")
    try:
        cut = [(row, _cut(row, arguments)) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"--entropies={arguments.entropies}: not a file of distill_jax.run.entropies ({error})"
        ) from None
    write(cut, arguments, local_path(arguments.output, "--output"))


def _cut(row: dict[str, Any], arguments: argparse.Namespace) -> list[Segment]:
    if arguments.by == "equation":
        return segments.by_equations("".join(row["tokens"]))
    return segments.segments(
        row["tokens"],
        row["entropies"],
        ratio=arguments.ratio,
        least_words=arguments.least_words,
        per_word=arguments.of == "word",
    )


def write(
    cut: Sequence[tuple[dict[str, Any], list[Segment]]],
    arguments: argparse.Namespace,
    output: pathlib.Path,
) -> None:
    """The files of a command with these arguments, from rows and their segments."""
    pairs, chains = [], []
    source = {"kind": "segments", "by": arguments.by}
    if arguments.by == "entropy":
        source |= {
            "ratio": arguments.ratio,
            "of": arguments.of,
            "least_words": arguments.least_words,
        }
    kept = [(row, found) for row, found in cut if segments.rejoined(found)]
    for row, found in kept:
        of = row["id"], row["question"], row["answer"]
        pairs.append(Annotation(*of, segments.steps_of(found), source))
        chains.append(Annotation(*of, (Step(None, segments.rejoined(found)),), source))
    for name, annotations in (("annotations", pairs), ("chains", chains)):
        text = "".join(to_json(each) + "\n" for each in annotations)
        write_text(output / f"{name}.jsonl", text)
    steps = collections.Counter(len(each.steps) for each in pairs)
    summary = {
        "chains": len(kept),
        "nothing_left": len(cut) - len(kept),
        "steps": {str(number): steps[number] for number in sorted(steps)},
        "inferring_characters": _share(kept),
        "auroc": equation_auroc([row for row, _ in cut], per_word=arguments.of == "word"),
    }
    write_json(output / "summary.json", summary | source)
    auroc = summary["auroc"]
    told = "" if auroc is None else f"; entropy tells pieces with an equation at AUROC {auroc:.3f}"
    print(f"{len(kept)} chains, {sum(steps.elements())} steps{told}: {output}")


def _share(kept: Sequence[tuple[dict[str, Any], list[Segment]]]) -> float:
    """Of all characters, those of segments that infer."""
    lengths = [(len(each.text), each.abstractive) for _, found in kept for each in found]
    return sum(n for n, infers in lengths if infers) / max(1, sum(n for n, _ in lengths))


def equation_auroc(rows: Sequence[dict[str, Any]], *, per_word: bool) -> float | None:
    """The probability that a piece with an equation has a higher entropy than one without, over
    all pieces; None if there are not both kinds."""
    values: list[tuple[float, bool]] = []
    for row in rows:
        chain = "".join(row["tokens"])
        found = segments.pieces(chain)
        sums = segments.piece_entropies(row["tokens"], row["entropies"], found)
        for piece, total in zip(found, sums, strict=True):
            entropy = total / max(1, piece.words) if per_word else total
            values.append((entropy, segments.holds_equation(chain[piece.start : piece.end])))
    return auroc(values)


def auroc(values: Sequence[tuple[float, bool]]) -> float | None:
    """Of (value, whether it is one of those to be found): P(value of one > value of another),
    ties counting half.

    >>> auroc([(1.0, False), (2.0, True), (2.0, False), (3.0, True)])
    0.875
    """
    counts = collections.Counter(values)
    found = sum(n for (_, wanted), n in counts.items() if wanted)
    others = sum(counts.values()) - found
    if not found or not others:
        return None
    below, wins = 0, 0.0
    for value in sorted({value for value, _ in counts}):
        here = counts[value, False]
        wins += counts[value, True] * (below + here / 2)
        below += here
    return wins / (found * others)


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
