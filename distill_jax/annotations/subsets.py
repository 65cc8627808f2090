"""Which problems are trained on: the first ones, a share, and those that are not held out for dev.

A problem may have several annotations; they always go together.
"""

import hashlib
import heapq
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from distill_jax.records import Annotation
from distill_jax.settings import ranges


def first_problems(annotations: Sequence[Annotation], count: int) -> list[Annotation]:
    """The annotations of the first `count` problems; 0 = all."""
    if not count:
        return list(annotations)
    ids = dict.fromkeys(annotation.id for annotation in annotations)
    wanted = set(itertools.islice(ids, count))
    return [annotation for annotation in annotations if annotation.id in wanted]


def share_of_questions(annotations: Sequence[Annotation], share: float) -> list[Annotation]:
    """The annotations of a share of the questions (at least one), chosen by a hash of the question.

    The choice depends neither on order nor on seed, and a smaller share is part of a larger one.
    """
    if share == 1.0:
        return list(annotations)
    questions = _by_hash(annotation.question for annotation in annotations)
    chosen = set(questions[: max(1, round(share * len(questions)))])
    return [annotation for annotation in annotations if annotation.question in chosen]


def fold_of_questions(annotations: Sequence[Annotation], fold: str) -> list[Annotation]:
    """Those of fold "1/2", the first of two, by a hash of the question alone; "" = all.

    The folds of one number have no question in common, and together all of them.
    """
    if not fold:
        return list(annotations)
    number, count = map(int, fold.split("/"))
    return [a for a in annotations if _digest(a.question) % count == number - 1]


def held_out_questions(questions: Iterable[str], count: int, train_problems: int = 0) -> set[str]:
    """`count` of the questions, chosen by a hash: at most a tenth, or what training leaves.

    The choice does not depend on order or seed. `train_problems` are trained on; 0 = all others.

    >>> len(held_out_questions(map(str, range(206)), 200, train_problems=6))
    200
    """
    different = set(questions)
    left = len(different) - train_problems if train_problems else 0
    count = min(count, max(len(different) // 10, left))
    return set(heapq.nsmallest(count, different, key=_hash)) if count else set()


def hold_out(
    annotations: Sequence[Annotation], count: int, train_problems: int = 0
) -> tuple[list[Annotation], list[Annotation]]:
    """(train, dev): of `held_out_questions` and of the others.

    Copies with other numbers (`source["copy_of"]`, an id) are never held out, and those of a
    question that is are dropped.
    """
    originals = [a for a in annotations if "copy_of" not in a.source]
    chosen = held_out_questions((a.question for a in originals), count, train_problems)
    dev = [a for a in originals if a.question in chosen]
    held_out = {a.id for a in dev}
    train = [
        a
        for a in annotations
        if a.question not in chosen and a.source.get("copy_of") not in held_out
    ]
    return train, dev


def _digest(question: str) -> int:
    return int.from_bytes(hashlib.sha256(b"fold/" + question.encode()).digest()[:8], "big")


def _by_hash(questions: Iterable[str]) -> list[str]:
    return sorted(set(questions), key=_hash)


def _hash(question: str) -> bytes:
    return hashlib.sha256(question.encode()).digest()


def mistakes(data: Any) -> list[str]:
    """What is wrong with the keys of config.data that choose among problems and annotations."""
    least = {
        "train_problems": 0,
        "dev_problems": 0,
        "annotations_per_problem": 0,
        "max_overlap": 0.0,
    }
    found = ranges.mistakes("data", {key: data[key] for key in least}, least=least)
    fold = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", data.fold)
    if data.fold and not (fold and 1 <= int(fold[1]) <= int(fold[2])):
        found.append(f"config.data.fold={data.fold!r}: such as 1/2, the first of two, or 2/2")
    if not 0.0 < data.train_share <= 1.0:
        found.append(f"config.data.train_share={data.train_share}: above 0, at most 1")
    elif data.train_share != 1.0 and data.train_problems:
        found.append(
            "config.data.train_share and config.data.train_problems both choose training "
            "problems: set one of them"
        )
    if data.test_split == data.train_split:
        found.append(
            f"config.data.test_split={data.test_split!r} is what is trained on: name the split "
            "whose questions are to be left out"
        )
    return found
