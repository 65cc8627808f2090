"""Finds the problem of a file's row, by its id or by the question in it."""

import re
from collections.abc import Iterable

from distill_jax.records import Problem
from distill_jax.text.questions import normalised

_WORD = re.compile(r"[^\W_]+")
# Where a question may begin inside a prompt: a line, a label, the end of an instruction.
_BEGINNING = re.compile(
    r"(?:^|\n)\s*|\b(?:Q|Question|Problem|Input|Instruction|User|Human) ?[0-9]{0,3}:\s*"
    r"|\\boxed\{\}\.?\s*"
)
# What may follow it.
_TAIL = re.compile(
    r"(?:(?:^|\s)(?:A|Answer|Solution|Response|Output|Assistant|Rationale|Reasoning|Steps|"
    r"Subquestions(?: and solutions)?):|let's think step by step[.:]?|#{2,}(?: ?Response:)?|-->|"
    r"(?:please )?(?:reason|think) step by step, and put your final answer within \\boxed\{\}\.?)$",
    re.IGNORECASE,
)
_LONGEST_TAIL = 200  # characters


class Questions:
    """The problems by their questions; case and white space do not matter.

    Nor does punctuation, unless it alone tells two questions apart: `2 + 2?` and `2 * 2?`. If
    problems have the same question, the id says which is meant, else the first is.
    """

    def __init__(self, problems: Iterable[Problem]):
        self._by_id: dict[str, Problem] = {}
        self._by_text: dict[str, list[Problem]] = {}
        self._by_words: dict[str, list[Problem]] = {}
        self._longest = 0
        for problem in problems:
            self._by_id.setdefault(problem.id, problem)
            text = normalised(problem.question)
            self._by_text.setdefault(text, []).append(problem)
            self._by_words.setdefault(_words(text), []).append(problem)
            self._longest = max(self._longest, len(problem.question))

    def find(self, identifier: str, prompt: str) -> Problem | None:
        """The problem with this id, else the one whose question `prompt` is or ends with.

        The question may come after examples or an instruction, at the beginning of a line or after
        a label, and before an `A:` or similar. There is no fuzzy matching. An id does not count if
        the prompt is the question of another problem.
        """
        asked = self._asked(prompt, identifier) or self._at_the_end(prompt, identifier)
        return asked or self._by_id.get(identifier)

    def _asked(self, text: str, identifier: str) -> Problem | None:
        text = normalised(text)
        words = _words(text)
        alike = self._by_text.get(text) or (self._by_words.get(words) if words else None)
        if not alike:
            return None
        for problem in alike:
            if problem.id == identifier:
                return problem
        one = normalised(alike[0].question)
        return alike[0] if all(normalised(each.question) == one for each in alike) else None

    def _at_the_end(self, prompt: str, identifier: str) -> Problem | None:
        """The problem with the longest question that the prompt ends with."""
        prompt = _without_tails(prompt)
        found = None
        for beginning in reversed(list(_BEGINNING.finditer(prompt))):
            # Twice: the white space of a prompt may be wider.
            if len(prompt) - beginning.end() > 2 * self._longest:
                break
            found = self._asked(prompt[beginning.end() :], identifier) or found
        return found


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text))


def _without_tails(prompt: str) -> str:
    while True:
        prompt = prompt.rstrip()
        start = max(0, len(prompt) - _LONGEST_TAIL)
        tail = _TAIL.search(prompt, start)
        if tail is None:
            return prompt
        prompt = prompt[: tail.start()]
