"""Last letters of names.

    Take the last letters of each words in "Ann Bo" and concatenate them.

    What is the last letter of "Ann"?           "Ann" ends in "n".
    What is the last letter of "Bo"?            "Bo" ends in "o".
    Finally, what are the letters together?     "n", "o" together are "no".

The authors' file takes last letters of names, of which some have two words ("Mary Ann"). There the
question does not say where a name begins: `read` needs to know the names.
"""

import dataclasses
import random
import re
from collections.abc import Sequence

from distill_jax.records import Step
from distill_jax.tasks.stories import names as name_lists
from distill_jax.tasks.stories.wanted import Wanted, with_noise

_QUESTION = re.compile(r'Take the last letters of each words in "([^"]+)" and concatenate them\.')
_SAID = re.compile(r'ends in "(.)"')

IRRELEVANT = (
    "{name} wrote the words down.",
    "The words are names.",
    "It took {name} a minute.",
    "Some letters occur twice, others never.",
    "{name} likes long words.",
)


@dataclasses.dataclass(frozen=True)
class Story:
    """Names, whose last letters are the answer; noise stands before the question."""

    names: tuple[str, ...]
    noise: tuple[tuple[int, str], ...] = ()

    @property
    def answer(self) -> str:
        """The last letters, in order, as they are written in the names."""
        return "".join(name[-1] for name in self.names)

    @property
    def length(self) -> int:
        """How many names there are."""
        return len(self.names)

    def tell(self) -> str:
        """The question."""
        words = " ".join(self.names)
        asked = f'Take the last letters of each words in "{words}" and concatenate them.'
        return " ".join(with_noise([asked], self.noise))

    def steps(self) -> tuple[Step, ...]:
        """One step for each name, and one that joins the letters."""
        steps = [
            Step(f'What is the last letter of "{name}"?', f'"{name}" ends in "{name[-1]}".')
            for name in self.names
        ]
        letters = ", ".join(f'"{name[-1]}"' for name in self.names)
        joined = f'{letters} together are "{self.answer}".'
        return (*steps, Step("Finally, what are the letters together?", joined))

    def key(self) -> str:
        """What makes a story another one: noise does not."""
        return repr(self.names)


def read(question: str, names: Sequence[str] = ()) -> Story:
    """The story of a question without noise; `names` if they are known, or else its words.

    Raises ValueError if it is another question, or if these names are not its words.
    """
    match = _QUESTION.fullmatch(question)
    if match is None:
        raise ValueError(f"not a question about last letters: {question[:60]!r}")
    story = Story(tuple(names) or tuple(match[1].split()))
    if story.tell() != question:
        raise ValueError(f"the words of {question[:60]!r} are not {', '.join(names)}")
    return story


def said_letters(text: str) -> str:
    """The letters that steps name as last ones, in order.

    >>> said_letters('"Ann" ends in "n".\\n"Bo" ends in "o".\\n#### no')
    'no'
    """
    return "".join(_SAID.findall(text))


def draw(rng: random.Random, wanted: Wanted) -> Story:
    """A story of as many names as `wanted` says."""
    length = wanted.length(rng)
    found = name_lists.draw(rng, length + 1, new=wanted.new_names)
    return Story(tuple(found[:length]), wanted.noise_for(rng, 0, IRRELEVANT, found[-1]))
