"""Coin flips: a coin is heads up, and people flip it or do not.

A coin is heads up. Ann flips the coin. Jo Ann does not flip the coin. Is the coin still heads
up? Note that "flip" here means "reverse".

After Ann, which side is up?        Ann flips the coin from heads to tails.
After Jo Ann, which side is up?     Jo Ann does not flip the coin: still tails.
Finally, is the coin still heads up?    It is tails up, so no.
"""

import dataclasses
import random
import re

from distill_jax.records import Step
from distill_jax.tasks.stories import names
from distill_jax.tasks.stories.wanted import Wanted, with_noise

_OPENING = "A coin is heads up."
_QUESTION = 'Is the coin still heads up? Note that "flip" here means "reverse".'
_TURN = re.compile(r"([^.]+?) (flips|does not flip) the coin\.(?: |$)")

IRRELEVANT = (
    "{name} looks at the coin.",
    "{name} has a coin of another colour.",
    "{name} would like to have the coin.",
    "It is raining.",
    "{name} tells a joke.",
    "The coin is from another country.",
)


@dataclasses.dataclass(frozen=True)
class Story:
    """Who has a turn, and whether they flip the coin; noise stands at places among the turns."""

    turns: tuple[tuple[str, bool], ...]
    noise: tuple[tuple[int, str], ...] = ()

    @property
    def answer(self) -> str:
        """yes or no."""
        return "yes" if sum(flips for _, flips in self.turns) % 2 == 0 else "no"

    @property
    def length(self) -> int:
        """How many people have a turn."""
        return len(self.turns)

    def tell(self) -> str:
        """The question."""
        told = [f"{name} {_VERB[flips]} the coin." for name, flips in self.turns]
        return " ".join([_OPENING, *with_noise(told, self.noise), _QUESTION])

    def steps(self) -> tuple[Step, ...]:
        """One step for each person, and one that answers the question."""
        steps, heads = [], True
        for name, flips in self.turns:
            before, heads = _side(heads), heads != flips
            solution = (
                f"{name} flips the coin from {before} to {_side(heads)}."
                if flips
                else f"{name} does not flip the coin: still {before}."
            )
            steps.append(Step(f"After {name}, which side is up?", solution))
        end = f"It is {_side(heads)} up, so {self.answer}."
        return (*steps, Step("Finally, is the coin still heads up?", end))

    def key(self) -> str:
        """What makes a story another one: noise does not."""
        return repr(self.turns)


_VERB = {True: "flips", False: "does not flip"}


def read(question: str) -> Story:
    """The story of a question without noise. Raises ValueError if it is another one."""
    told = question.removeprefix(f"{_OPENING} ").removesuffix(f" {_QUESTION}")
    turns = tuple((name, verb == "flips") for name, verb in _TURN.findall(told))
    story = Story(turns)
    if not turns or story.tell() != question:
        raise ValueError(f"not a story about a coin: {question[:60]!r}")
    return story


def draw(rng: random.Random, wanted: Wanted) -> Story:
    """A story of as many people as `wanted` says."""
    length = wanted.length(rng)
    people = names.draw(rng, length + 1, new=wanted.new_names)
    turns = tuple((name, rng.random() < 0.5) for name in people[:length])
    return Story(turns, wanted.noise_for(rng, length, IRRELEVANT, people[-1]))


def _side(heads: bool) -> str:
    return "heads" if heads else "tails"
