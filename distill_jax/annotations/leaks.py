"""Questions of the evaluation among those that are trained on.

Two rules drop a row: the same question, and the same question with other numbers. The third, long
stretches of words in common, is for reading: on word problems it fires on whole families that
share an opening sentence, and 8-grams alone would drop 443 of the 700 SVAMP training questions.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence

from distill_jax.annotations.verify import Rejected, reject
from distill_jax.records import Annotation, Problem

WORDS = 8  # of a stretch; open-r1 and others use the same length

_NUMBER = re.compile(r"[0-9]+(?:[.,/][0-9]+)*")
_WORD = re.compile(r"\w+")


@dataclasses.dataclass(frozen=True)
class Overlap:
    """A row of annotations.overlaps.jsonl: a training question that shares words with another."""

    id: str  # of the annotation
    evaluation_id: str  # the evaluation question that covers most of it
    share: float  # of the words of the training question that lie in common stretches
    question: str
    evaluation_question: str


class Leaks:
    """What is known of the evaluation's questions."""

    def __init__(self, problems: Iterable[Problem], *, templated: bool, most: float):
        """`templated`: questions are expected to differ in numbers only, so that just the very same
        one is a leak. `most`: the largest share of a question that may lie in stretches of WORDS
        words in common; 1 = all of it."""
        self._most = most
        self._exact: dict[str, Problem] = {}
        self._masked: dict[str, Problem] = {}
        self._stretches: dict[tuple[str, ...], list[Problem]] = {}
        for problem in problems:
            text = normalised(problem.question)
            self._exact.setdefault(text, problem)
            if templated:
                continue
            self._masked.setdefault(_mask(text), problem)
            for stretch in set(_stretches(_WORD.findall(text))):
                self._stretches.setdefault(stretch, []).append(problem)

    def drop(
        self, annotations: Sequence[Annotation]
    ) -> tuple[list[Annotation], list[Rejected], list[Overlap]]:
        """(kept, rejected, overlaps of those that are kept or dropped for their share).

        A problem with several annotations is listed once among the overlaps.
        """
        kept, rejected = [], []
        overlaps: dict[str, Overlap] = {}
        for annotation in annotations:
            text = normalised(annotation.question)
            if (same := self._exact.get(text)) is not None:
                rejected.append(reject(annotation, "leak", f"the question of {same.id}"))
                continue
            if self._masked and (same := self._masked.get(_mask(text))) is not None:
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

    def _overlap(self, annotation: Annotation, text: str) -> Overlap | None:
        words = _WORD.findall(text)
        covered: dict[str, set[int]] = {}
        problems: dict[str, Problem] = {}
        for start, stretch in enumerate(_stretches(words)):
            for problem in self._stretches.get(stretch, ()):
                problems[problem.id] = problem
                covered.setdefault(problem.id, set()).update(range(start, start + WORDS))
        if not covered:
            return None
        worst = max(covered, key=lambda name: (len(covered[name]), name))
        share = round(len(covered[worst]) / len(words), 4)
        question = problems[worst].question
        return Overlap(annotation.id, worst, share, annotation.question, question)


def trained_on(
    questions: Iterable[str], annotations: Iterable[Annotation], *, templated: bool
) -> dict[str, str]:
    """{question: id of the annotation that has it}, by the rules that drop one.

    Annotations with other numbers are named as `gsm8k/train/3 (other numbers)`.
    """
    texts = {question: normalised(question) for question in questions}
    exact = dict.fromkeys(texts.values(), "")
    masked = {} if templated else {_mask(text): "" for text in exact}
    for annotation in annotations:
        text = normalised(annotation.question)
        if exact.get(text) == "":
            exact[text] = annotation.id
        if masked and masked.get(_mask(text)) == "":
            masked[_mask(text)] = f"{annotation.id} (other numbers)"
    found = {q: exact[text] or masked.get(_mask(text), "") for q, text in texts.items()}
    return {question: name for question, name in found.items() if name}


def normalised(question: str) -> str:
    """A question in lower case, with single spaces and without accents of width or form (NFKC)."""
    text = unicodedata.normalize("NFKC", question).casefold()
    return " ".join(text.split())


def _mask(text: str) -> str:
    """Numbers become `0`, whatever their length; punctuation goes, spaces become single ones."""
    return " ".join(_WORD.findall(_NUMBER.sub("0", text)))


def _stretches(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)]
