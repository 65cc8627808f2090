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
    """The problems by their questions; case, punctuation and white space do not matter.

    Two problems may have the same question; then the first is meant.
    """

    def __init__(self, problems: Iterable[Problem]):
        self._by_id: dict[str, Problem] = {}
        self._by_words: dict[str, Problem] = {}
        self._longest = 0
        for problem in problems:
            self._by_id.setdefault(problem.id, problem)
            self._by_words.setdefault(_words(problem.question), problem)
            self._longest = max(self._longest, len(problem.question))

    def find(self, identifier: str, prompt: str) -> Problem | None:
        """The problem with this id, else the one whose question `prompt` is or ends with.

        The question may come after examples or an instruction, at the beginning of a line or after
        a label, and before an `A:` or similar. There is no fuzzy matching. An id does not count if
        the prompt is the question of another problem.
        """
        asked = self._asked(prompt) or self._at_the_end(prompt)
        return asked or self._by_id.get(identifier)

    def _asked(self, text: str) -> Problem | None:
        words = _words(text)
        return self._by_words.get(words) if words else None

    def _at_the_end(self, prompt: str) -> Problem | None:
        """The problem with the longest question that the prompt ends with."""
        prompt = _without_tails(prompt)
        found = None
        for beginning in reversed(list(_BEGINNING.finditer(prompt))):
            # Twice: the white space of a prompt may be wider.
            if len(prompt) - beginning.end() > 2 * self._longest:
                break
            found = self._asked(prompt[beginning.end() :]) or found
        return found


def _words(text: str) -> str:
    return " ".join(_WORD.findall(normalised(text)))


def _without_tails(prompt: str) -> str:
    while True:
        prompt = prompt.rstrip()
        start = max(0, len(prompt) - _LONGEST_TAIL)
        tail = _TAIL.search(prompt, start)
        if tail is None:
            return prompt
        prompt = prompt[: tail.start()]
