"""Reading an answer where nobody knows the right one: what was written says which kind it is."""

import re
from collections.abc import Callable, Iterable

from distill_jax.records import Grade
from distill_jax.text import yes_no
from distill_jax.text.answer_extractors import final_line, gold_quantity, read_quantity

NUMBER, YES_NO, TEXT = "number", "yes or no", "text"
KINDS = (NUMBER, YES_NO, TEXT)
_BEGINS_AS_NUMBER = re.compile(r"[-+($]*[0-9]")
NOTHING_READ = Grade(None, {"normalised": False})


def kind_of(answer: str) -> str:
    """One of KINDS: what an answer is by itself."""
    if gold_quantity(answer) is not None:
        return NUMBER
    return YES_NO if yes_no.meaning(answer) in ("yes", "no") else TEXT


class Reader:
    """A task's grade() that also reads completions whose right answer is not known.

    The final answer is read as the kind that it is by itself, if there are known answers of that
    kind; else as the first kind of which there are some and as which it can be read: with numbers
    alone, `#### it is 5` is 5 and `#### yes` cannot be read.
    """

    def __init__(self, grade: Callable[[str, str], Grade], known: Iterable[str]):
        """`known`: answers of the task; read until every kind was met."""
        self._grade = grade
        self._like: dict[str, str] = {}
        for answer in known:
            self._like.setdefault(kind_of(answer), answer)
            if len(self._like) == len(KINDS):
                break

    def __call__(self, completion: str, answer: str) -> Grade:
        """The task's Grade; of an `answer` "" only the prediction means something."""
        if answer:
            return self._grade(completion, answer)
        own = _kind_of_line(final_line(completion))
        kinds = sorted((kind for kind in KINDS if kind in self._like), key=lambda k: k != own)
        grades = [self._grade(completion, self._like[kind]) for kind in kinds]
        return next((g for g in grades if g.prediction is not None), NOTHING_READ)


def _kind_of_line(line: str) -> str:
    # `12 - 5 = 7` is a number; `Room 12` and `y = 4` are texts, unless no text is expected.
    found = read_quantity(line) if _BEGINS_AS_NUMBER.match(line) else None
    return NUMBER if found is not None and not found.words else kind_of(line)
