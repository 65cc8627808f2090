"""Questions with choices in the format of Ho et al. (2022), and answers to them.

    What needs cable? Answer choices: (A) radio shack, (B) cabinet, (C) television.

The known answer is the choice as it stands there, `(C) television`; it may also be the letter
alone. An answer is right if it is the letter, with or without brackets, the letter with the text of
any choice, or the text alone: `C`, `(C)`, `C.`, `(C) television`, `television`. If an answer has a
letter, the letter decides.
"""

import dataclasses
import re
from typing import NamedTuple

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade
from distill_jax.text import cleansing
from distill_jax.text.answer_extractors import final_line
from distill_jax.text.formats import MARKER
from distill_jax.text.spelling import plain, without_emphasis
from distill_jax.text.text_answers import text_key

MARK = " Answer choices: "

_CHOICE = re.compile(r"(?:^|, )\(([A-Z])\) ")
# A letter with brackets, or with a sign after it, or alone. `A dog` begins with an article, and
# `U.S. army` with no letter of a choice.
_BEGINS = re.compile(r"\(([A-Za-z])\)|([A-Za-z])(?!\.[A-Za-z])(?=[).:,]|$)")
# After such a letter: a second one, or that the first is not meant.
_TAKEN_BACK = re.compile(
    r"[).:,]?\s*(?:(?:,|/|&|and|or)\s*)?\(?[A-Z]\)?(?=[).:,]|$)"
    r"|[).:,]?\s*is (?:wrong|false|incorrect|not)\b"
)
_NOT = re.compile(r"\b(?:not|never|neither)\s*$", re.IGNORECASE)
_SAID = re.compile(r"\b(?:[Aa]nswer|[Cc]hoice|[Oo]ption)(?: is)?:? (?:\(([A-Z])\)|([A-Z]))\W*$")
_BRACKETS = re.compile(r"\(([A-Z])\)")
_GOLD = re.compile(r"\(?([A-Z])\)?(?: (.+))?")
_STRICT = re.compile(rf"{MARKER} \(?([A-Z])\)?(?!\w)")
_FLEXIBLE = re.compile(r"\(([A-Z])\)|(?<![\w'])([A-Z])(?![\w'])")


class Choices(NamedTuple):
    """A question without its choices, and these: {"A": "radio shack", ...}."""

    question: str
    texts: dict[str, str]

    def answer(self, letter: str) -> str:
        """The known answer of a problem: `(A) radio shack`."""
        return f"({letter}) {self.texts[letter]}"

    def known_answer(self, letter: str, where: str) -> str:
        """The known answer for the letter of a data set; `where` names its row in the message.
        Raises UserError if no choice has it."""
        if letter not in self.texts:
            raise UserError(
                f"{where}: field 'answer': {letter!r} is none of {', '.join(self.texts)}"
            )
        return self.answer(letter)

    def letter_of(self, text: str) -> str | None:
        """The letter of the first choice with this text; None if there is none."""
        return next((letter for letter, known in self.texts.items() if known == text), None)


def read_choices(question: str, where: str) -> Choices:
    """The parts of a question; `where` names it in the message. Raises UserError if its end is not
    a list of choices from A on."""
    stem, mark, listed = question.rpartition(MARK)
    parts = _CHOICE.split(listed.removesuffix("."))
    letters = parts[1::2]
    if not mark or parts[0] or letters != [chr(ord("A") + n) for n in range(len(letters))]:
        raise UserError(
            f"{where}: field 'question' does not end with{MARK}(A) ..., (B) ...: {question[-60:]!r}"
        )
    return Choices(stem, dict(zip(letters, (text.strip() for text in parts[2::2]), strict=True)))


def choices_in(question: str) -> Choices | None:
    """The parts of a question; None if its end is not a list of choices."""
    if MARK not in question:
        return None
    try:
        return read_choices(question, "")
    except UserError:  # its words are those of the mark
        return None


def written(choices: Choices) -> str:
    """The question as in the authors' files; `read_choices` is the inverse."""
    listed = ", ".join(f"({letter}) {text}" for letter, text in choices.texts.items())
    return f"{choices.question}{MARK}{listed}."


def without_letter(annotation: Annotation) -> Annotation:
    """The annotation with the text of its choice as its answer, in its last solution, too.

    `Ann: (B) white ball.`, `(B) white ball` become `Ann: white ball.`, `white ball`. It stays as it
    is if its answer is no choice of its question, or if a reader would take the text for a letter.
    """
    choices, found = choices_in(annotation.question), _GOLD.fullmatch(annotation.answer)
    if choices is None or found is None:
        return annotation
    letter, said = found.groups()
    text = choices.texts.get(letter, "")
    read = read_choice(f"{MARKER} {text}")
    if said not in (None, text) or read != text or read in choices.texts:
        return annotation
    steps = annotation.steps
    if steps:
        last = steps[-1].solution.replace(f"({letter}) {text}", text)
        steps = (*steps[:-1], dataclasses.replace(steps[-1], solution=last))
    return dataclasses.replace(annotation, answer=text, steps=steps)


def grade_choice(completion: str, answer: str, *, letters: str = "ABCDE") -> Grade:
    """Grade a completion whose final answer is one of several choices.

    strict: the letter after the first `#### `, with or without brackets. flexible: the last capital
    letter that stands alone. fine_tune_cot: as Ho et al. read it, among `letters` (text/cleansing).
    normalised: see above; of the text after the last `####`, or of the last line. The prediction is
    the letter, or a text as it was written. Never raises.
    """
    gold = _GOLD.fullmatch(answer.strip())
    letter, text = (gold[1], gold[2]) if gold else (None, answer)
    prediction = read_choice(completion)
    first, last = _STRICT.search(completion), _FLEXIBLE.findall(completion)[-1:]
    right = prediction is not None and (
        prediction == letter or (text is not None and text_key(prediction) == text_key(text))
    )
    scores = {
        "strict": first is not None and first[1] == letter,
        "flexible": bool(last) and letter in last[0],
        "fine_tune_cot": letter is not None and cleansing.same_letter(completion, letter, letters),
        "normalised": right or final_line(completion) == answer.strip(),
    }
    return Grade(prediction, scores)


def read_choice(completion: str) -> str | None:
    """The letter that a completion ends with, or the text of its last line; None if that is empty
    or names several letters, or says that a letter is wrong.

    >>> [read_choice(f"#### {said}") for said in ("(B) white ball", "**b)**", "A dog", "(A), (B)")]
    ['B', 'B', 'A dog', None]
    >>> [read_choice(f"#### {said}") for said in ("A, B", "not (A)", "(A) is wrong", "U.S. army")]
    [None, None, None, 'U.S. army']
    """
    line = without_emphasis(plain(final_line(completion)).strip()).strip()
    bracketed = set(_BRACKETS.findall(line))
    if len(bracketed) > 1:
        return None
    key = text_key(line)
    if len(key) == 1 and key.isalpha():
        return key.upper()
    begins = _BEGINS.match(line) or _SAID.search(line)
    if begins:
        taken_back = _TAKEN_BACK.match(line[begins.end() :]) if begins.end() < len(line) else None
        return None if taken_back else (begins[1] or begins[2]).upper()
    if not bracketed:
        return line or None
    return None if _NOT.search(line[: line.index("(")]) else bracketed.pop()


def read_text(completion: str) -> str:
    """What stands in the final line after its letter, or the whole line if it begins with none.

    >>> [read_text(f"#### {said}") for said in ("(B) white ball", "b) **ball**", "A dog", "B")]
    ['white ball', 'ball', 'A dog', '']
    """
    line = without_emphasis(plain(final_line(completion)).strip()).strip()
    begins = _BEGINS.match(line)
    return without_emphasis((line[begins.end() :] if begins else line).lstrip(").:, "))
