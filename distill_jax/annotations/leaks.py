"""Finds questions of the evaluation in the training data.

Two rules drop a row: the same question, and the same question with other numbers. The third rule,
long runs of common words, is only for people to read: on word problems it finds whole families with
the same opening sentence, and 8-grams alone would drop 443 of the 700 SVAMP training questions.
"""

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Sequence

from distill_jax.annotations.verify import Rejected, reject
from distill_jax.records import Annotation, Problem
from distill_jax.text.questions import normalised, without_numbers, words
from distill_jax.tracking import progress

WORDS = 8  # of a stretch; open-r1 and others use the same length
LISTED = 10_000  # overlaps: a person reads no more, and a million would fill gigabytes
_MOST_KEPT = 100_000  # answers of `_worst`

_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha() and chr(code) != "_")


@dataclasses.dataclass(frozen=True)
class Overlap:
    """A row of annotations.overlaps.jsonl: a training question that shares words with another."""

    id: str  # of the annotation
    evaluation_id: str  # the evaluation question that covers most of it
    share: float  # of the words of the training question that lie in common stretches
    question: str
    evaluation_question: str


class Leaks:
    """The questions of the evaluation, prepared for the search."""

    def __init__(self, problems: Iterable[Problem], *, templated: bool, most: float):
        """`templated`: questions may differ only in numbers, so only the same question is a leak.
        `most`: the largest share of a question that common runs of WORDS words may cover; 1 =
        all."""
        self._most = most
        self._exact: dict[str, Problem] = {}
        self._masked: dict[str, Problem] = {}
        self._fives: set[tuple[str, ...]] = set()
        stretches: dict[tuple[str, ...], list[Problem]] = {}
        for problem in problems:
            text = normalised(problem.question)
            self._exact.setdefault(text, problem)
            if templated:
                continue
            self._masked.setdefault(without_numbers(text), problem)
            found = words(text)
            self._fives.update(_every(1, 5, found))
            for stretch in set(_stretches(found)):
                stretches.setdefault(stretch, []).append(problem)
        self._letters = {mask.encode().translate(None, _NO_LETTERS) for mask in self._masked}
        # Stretches of the same problems share one tuple of them, by which `_worst` knows it. Of
        # those that cover a question equally the one with the greatest id counts: the last.
        shared: dict[tuple[str, ...], tuple[Problem, ...]] = {}
        self._stretches = {
            stretch: shared.setdefault(
                tuple(problem.id for problem in found),
                tuple(sorted(found, key=lambda problem: problem.id) if found[1:] else found),
            )
            for stretch, found in stretches.items()
        }
        self._worst_of: dict[tuple[tuple[int, int, int], ...], tuple[Problem, int]] = {}

    def drop(
        self, annotations: Sequence[Annotation]
    ) -> tuple[list[Annotation], list[Rejected], list[Overlap]]:
        """(kept, rejected, overlaps of those that are kept or dropped for their share).

        A problem with several annotations is listed once among the overlaps.
        """
        kept, rejected = [], []
        overlaps: dict[str, Overlap] = {}
        for annotation in progress.each(annotations, "looking for leaks", len(annotations)):
            text = normalised(annotation.question)
            if (same := self._exact.get(text)) is not None:
                rejected.append(reject(annotation, "leak", f"the question of {same.id}"))
                continue
            if (same := self._with_other_numbers(text)) is not None:
                detail = f"the question of {same.id} with other numbers"
                rejected.append(reject(annotation, "leak with other numbers", detail))
                continue
            overlap = self._overlap(annotation, text) if self._stretches else None
            if overlap is not None:
                overlaps[annotation.id] = overlap
            if overlap is not None and overlap.share > self._most:
                detail = f"{overlap.share:.0%} of its words stand in {overlap.evaluation_id}"
                rejected.append(reject(annotation, "overlap", detail))
            else:
                kept.append(annotation)
        return kept, rejected, list(overlaps.values())

    def _with_other_numbers(self, text: str) -> Problem | None:
        # Of questions that are the same but for numbers the letters are the same, which is seen
        # without taking them apart.
        if text.isascii() and text.encode().translate(None, _NO_LETTERS) not in self._letters:
            return None
        return self._masked.get(without_numbers(text))

    def _overlap(self, annotation: Annotation, text: str) -> Overlap | None:
        asked = words(text)
        known = self._stretches
        # Eight words in common hold five that begin at every fourth word: most questions share
        # none of those, and are done with.
        if self._fives.isdisjoint(_every(4, 5, asked)):
            return None
        runs: list[tuple[tuple[Problem, ...], int, int]] = []  # problems, first and last start
        for start, stretch in enumerate(_stretches(asked)):
            if (found := known.get(stretch)) is None:
                continue
            if runs and runs[-1][0] is found and runs[-1][2] == start - 1:
                runs[-1] = found, runs[-1][1], start
            else:
                runs.append((found, start, start))
        if not runs:
            return None
        worst, covered = self._worst(runs)
        share = round(covered / len(asked), 4)
        return Overlap(annotation.id, worst.id, share, annotation.question, worst.question)

    def _worst(self, runs: list[tuple[tuple[Problem, ...], int, int]]) -> tuple[Problem, int]:
        """The problem that covers most, and how many words it covers.

        Families of questions begin alike: what was found for one holds for those that have the same
        stretches, however many problems share one.
        """
        if len(runs) == 1:
            problems, first, last = runs[0]
            return problems[-1], last - first + WORDS
        offset = runs[0][1]
        key = tuple((id(found), first - offset, last - offset) for found, first, last in runs)
        if (known := self._worst_of.get(key)) is not None:
            return known
        covered: dict[str, tuple[int, int]] = {}  # id: words covered, and the word after them
        by_id: dict[str, Problem] = {}
        for found, first, last in runs:
            end = last + WORDS
            for problem in found:
                words, before = covered.get(problem.id, (0, 0))
                covered[problem.id] = words + end - max(first, before), end
                by_id[problem.id] = problem
        worst = max(covered, key=lambda name: (covered[name][0], name))
        if len(self._worst_of) == _MOST_KEPT:
            self._worst_of.clear()
        self._worst_of[key] = by_id[worst], covered[worst][0]
        return self._worst_of[key]


def trained_on(
    questions: Iterable[str], annotations: Iterable[Annotation], *, templated: bool
) -> dict[str, str]:
    """{question: id of the annotation that has it}, by the rules that drop one.

    Annotations with other numbers are named as `gsm8k/train/3 (other numbers)`.
    """
    texts = {question: normalised(question) for question in questions}
    exact = dict.fromkeys(texts.values(), "")
    masked = {} if templated else {without_numbers(text): "" for text in exact}
    for annotation in annotations:
        text = normalised(annotation.question)
        if exact.get(text) == "":
            exact[text] = annotation.id
        if masked and masked.get(without_numbers(text)) == "":
            masked[without_numbers(text)] = f"{annotation.id} (other numbers)"
    found = {q: exact[text] or masked.get(without_numbers(text), "") for q, text in texts.items()}
    return {question: name for question, name in found.items() if name}


def _stretches(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return _every(1, WORDS, words)


def _every(step: int, count: int, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The stretches of `count` words that begin at every `step`-th one."""
    return zip(*(words[i::step] for i in range(count)), strict=False)


def most_alike(overlaps: Sequence[Overlap]) -> list[Overlap]:
    """At most LISTED of the overlaps, in their order: those of the largest shares."""
    if len(overlaps) <= LISTED:
        return list(overlaps)
    places = heapq.nlargest(LISTED, range(len(overlaps)), key=lambda i: (overlaps[i].share, -i))
    return [overlaps[place] for place in sorted(places)]
