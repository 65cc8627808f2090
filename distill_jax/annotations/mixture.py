"""Mix Distillation (Li et al. 2025, https://arxiv.org/abs/2502.12143): each problem from one file.

Only problems that every file annotates are used, so every mixture, and each single file, has the
same problems with the same number of rows, and no mixture sees more than its parts.
"""

import collections
import hashlib
import itertools
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from distill_jax.annotations.verify import Rejected, reject
from distill_jax.errors import UserError
from distill_jax.records import Annotation


class Mixture(NamedTuple):
    """Which share of the problems is learned from which file."""

    files: tuple[str, ...]  # as Annotation.source["file"] has them
    shares: tuple[float, ...]  # in the order of the files; their sum is 1
    seed: int


def file_labels(paths: Sequence[str]) -> tuple[str, ...]:
    """The last parts of each path, as few as needed to make them different.

    >>> file_labels(["runs/long/annotations.jsonl", "runs/short/annotations.jsonl"])
    ('long/annotations.jsonl', 'short/annotations.jsonl')

    Raises UserError if a path is given twice.
    """
    parts = [pathlib.PurePath(path).parts for path in paths]
    for count in range(1, max(map(len, parts), default=0) + 1):
        labels = tuple("/".join(each[-count:]) for each in parts)
        if len(set(labels)) == len(labels):
            return labels
    if not paths:
        return ()
    twice = next(path for path in paths if paths.count(path) > 1)
    raise UserError(f"config.data.annotations names {twice} twice: name every file once")


def common(
    annotations: Sequence[Annotation], mixture: Mixture
) -> tuple[list[Annotation], list[Rejected]]:
    """(kept, rejected): the annotations of problems that every file has, as many of each file.

    Of a problem with three annotations in one file and two in the other, two of each are kept.
    Raises UserError if no problem is in all files.
    """
    counts = {file: collections.Counter() for file in mixture.files}
    for annotation in annotations:
        counts[annotation.source["file"]][annotation.id] += 1
    least = {a.id: min(count[a.id] for count in counts.values()) for a in annotations}
    if not any(least.values()):
        found = ", ".join(f"{file} {len(count)}" for file, count in counts.items())
        raise UserError(
            "config.data.mixture: no problem has a usable annotation in every file (problems of "
            f"each: {found}): give files about the same problems, or unset config.data.mixture"
        )
    kept, rejected = [], []
    taken: collections.Counter = collections.Counter()
    for annotation in annotations:
        place = annotation.source["file"], annotation.id
        if taken[place] < least[annotation.id]:
            taken[place] += 1
            kept.append(annotation)
        elif least[annotation.id]:
            rejected.append(reject(annotation, "more than another file", "of this problem"))
        else:
            lacking = ", ".join(file for file in counts if not counts[file][annotation.id])
            rejected.append(reject(annotation, "not in every file", f"none in {lacking}"))
    return kept, rejected


def assign(annotations: Sequence[Annotation], mixture: Mixture) -> list[Annotation]:
    """The annotations of each problem from its file, in the order of the first file's problems.

    Problems are sorted by a hash of seed and question. The first ones belong to the first file, and
    so on, with each share rounded to whole problems. So with the same seed, a larger share of the
    first file only adds problems to it, and every mixture has the same problems in the same order.
    """
    questions = {annotation.id: annotation.question for annotation in annotations}
    ranked = sorted(questions, key=lambda name: (_hash(mixture.seed, questions[name]), name))
    ends = [round(len(ranked) * total) for total in itertools.accumulate(mixture.shares)]
    bounds = zip([0, *ends], ends, strict=False)
    chosen = {
        name: file
        for file, (start, end) in zip(mixture.files, bounds, strict=True)
        for name in ranked[start:end]
    }
    by_problem: dict[str, list[Annotation]] = {name: [] for name in questions}
    for annotation in annotations:
        if annotation.source["file"] == chosen[annotation.id]:
            by_problem[annotation.id].append(annotation)
    return [annotation for some in by_problem.values() for annotation in some]


def mistakes(files: Sequence[str], shares: Sequence[str | float]) -> list[str]:
    """What is wrong with config.data.mixture, for config.data.annotations."""
    if not shares:
        return []
    key = f"config.data.mixture={','.join(map(str, shares))}"
    if len(shares) != len(files):
        return [
            f"{key}: {len(shares)} shares for {len(files)} files: give "
            "config.data.annotations one file per share"
        ]
    try:
        numbers = [float(share) for share in shares]
    except (ValueError, TypeError):
        return [f"{key}: shares are numbers, such as 0.2,0.8"]
    # Not `< 0`: nothing is less than NaN.
    if not all(number >= 0 for number in numbers) or not math.isclose(sum(numbers), 1.0):
        return [f"{key}: shares must be at least 0 and sum to 1"]
    return []


def _hash(seed: int, question: str) -> bytes:
    return hashlib.sha256(f"{seed}/{question}".encode()).digest()
