"""Shuffled objects: everybody has something, pairs swap, and one is asked what they have.

    Ann and Bo are playing a game. At the start of the game, they are each holding a ball: Ann has a
    red ball, and Bo has a blue ball. As the game progresses, pairs of players trade balls. First,
    Bo and Ann swap balls. At the end of the game, Bo has the
    Which choice is true? Answer choices: (A) red ball, (B) blue ball.

    Bo and Ann swap: who has what?      Ann: blue ball, Bo: red ball.
    Finally, what does Bo have?         Bo: (A) red ball.

The five settings are those of BIG-bench (Apache 2.0), tracking_shuffled_objects.
"""

import dataclasses
import random
import re

from distill_jax.records import Step
from distill_jax.tasks.multiple_choice import Choices, written
from distill_jax.tasks.stories import names
from distill_jax.tasks.stories.wanted import Wanted, with_noise

PEOPLE = (
    *("Alice", "Bob", "Claire", "Dave", "Eve", "Fred", "Gertrude"),
    *("Hugo", "Irma", "Jack"),
)
MOST_PEOPLE = len(PEOPLE)  # a setting has as many things
IRRELEVANT = (
    "{name} watches them.",
    "It is a sunny day.",
    "{name} once had two of them.",
    "Nobody looks at the clock.",
    "{name} would like to swap, too.",
    "Someone laughs.",
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """The sentences of a story, in which {people}, {held} and {asked} are filled in."""

    start: str
    has: str  # between a person and a thing
    meanwhile: str
    swap: str  # after two people
    end: str
    things: tuple[str, ...]


def _colours(thing: str) -> tuple[str, ...]:
    colours = "orange white blue red black brown green pink purple yellow"
    return tuple(f"{colour} {thing}" for colour in colours.split())


SETTINGS = (
    Setting(
        "{people} are playing a game. At the start of the game, they are each holding a ball: "
        "{held}.",
        "has a",
        "As the game progresses, pairs of players trade balls.",
        "swap balls",
        "At the end of the game, {asked} has the ",
        _colours("ball"),
    ),
    Setting(
        "{people} are holding a white elephant gift exchange. At the start of the event, they are "
        "each holding a present of a different color: {held}.",
        "has a",
        "As the event progresses, pairs of people swap gifts.",
        "swap their gifts",
        "At the end of the event, {asked} has the ",
        _colours("present"),
    ),
    Setting(
        "{people} are on the same team in a soccer match. At the start of the match, they are each "
        "assigned to a position: {held}.",
        "is playing",
        "As the game progresses, pairs of players occasionally swap positions.",
        "trade positions",
        "At the end of the match, {asked} is playing ",
        (
            *("goalkeeper", "center midfielder", "right winger", "right midfielder", "fullback"),
            *("left midfielder", "left winger", "striker", "cheerleader", "benchwarmer"),
        ),
    ),
    Setting(
        "{people} are friends and avid readers who occasionally trade books. At the start of the "
        "semester, they each buy one new book: {held}.",
        "gets",
        "As the semester proceeds, they start trading around the new books.",
        "swap books",
        "At the end of the semester, {asked} has  ",
        (
            *("The Odyssey", "Frankenstein", "Ulysses", "Lolita", "The Great Gatsby", "Catch-22"),
            *("Hound of the Baskervilles", "The Fellowship of the Ring", "Moby Dick", "The Pearl"),
        ),
    ),
    Setting(
        "{people} are dancers at a square dance. At the start of a song, they each have a partner: "
        "{held}.",
        "is dancing with",
        "Throughout the song, the dancers often trade partners.",
        "switch partners",
        "At the end of the dance, {asked} is dancing with  ",
        (
            *("Jamie", "Patrick", "Rodrigo", "Melissa", "Sam"),
            *("Ophelia", "Karl", "Izzi", "Helga", "Lola"),
        ),
    ),
)
_QUESTION = "\nWhich choice is true?"


@dataclasses.dataclass(frozen=True)
class Story:
    """Who holds what at the start, in order; who swaps; who is asked about."""

    setting: Setting
    held: tuple[tuple[str, str], ...]
    swaps: tuple[tuple[str, str], ...]
    asked: str
    noise: tuple[tuple[int, str], ...] = ()

    @property
    def answer(self) -> str:
        """The choice: its letter and the thing."""
        thing = self._holdings()[-1][self.asked]
        return self._choices("").answer(self._letters()[thing])

    @property
    def length(self) -> int:
        """How many swaps there are."""
        return len(self.swaps)

    def tell(self) -> str:
        """The question with its choices."""
        held = [f"{person} {self.setting.has} {thing}" for person, thing in self.held]
        start = self.setting.start.format(
            people=_listed([person for person, _ in self.held]), held=_listed(held)
        )
        times = ["First", *["Then"] * (len(self.swaps) - 2), "Finally"][: len(self.swaps)]
        swaps = [
            f"{time}, {one} and {other} {self.setting.swap}."
            for time, (one, other) in zip(times, self.swaps, strict=True)
        ]
        told = " ".join([self.setting.meanwhile, *with_noise(swaps, self.noise)])
        end = self.setting.end.format(asked=self.asked)
        return written(self._choices(f"{start} \n\n{told} {end}{_QUESTION}"))

    def steps(self) -> tuple[Step, ...]:
        """One step for each swap, and one that answers the question."""
        steps = [
            Step(
                f"{one} and {other} swap: who has what?",
                ", ".join(f"{person}: {thing}" for person, thing in holding.items()) + ".",
            )
            for (one, other), holding in zip(self.swaps, self._holdings()[1:], strict=True)
        ]
        end = f"{self.asked}: {self.answer}."
        return (*steps, Step(f"Finally, what does {self.asked} have?", end))

    def key(self) -> str:
        """What makes a story another one: neither noise nor who is asked."""
        return repr((self.setting.start, self.held, self.swaps))

    def _holdings(self) -> list[dict[str, str]]:
        """{person: thing} at the start and after each swap."""
        holdings = [dict(self.held)]
        for one, other in self.swaps:
            now = holdings[-1]
            holdings.append(now | {one: now[other], other: now[one]})
        return holdings

    def _letters(self) -> dict[str, str]:
        return {thing: chr(ord("A") + place) for place, (_, thing) in enumerate(self.held)}

    def _choices(self, question: str) -> Choices:
        return Choices(question, {letter: thing for thing, letter in self._letters().items()})


def read(question: str) -> Story:
    """The story of a question without noise. Raises ValueError if it is another one."""
    for setting in SETTINGS:
        before, meanwhile, after = question.partition(setting.meanwhile)
        if not meanwhile:
            continue
        listed = before.rpartition(": ")[2].strip().removesuffix(".")
        held = re.findall(rf"(\w+) {setting.has} (.+?)(?:, and |, |$)", listed)
        swaps = re.findall(rf"(\w+) and (\w+) {setting.swap}\.", after)
        last, _, _ = after.rpartition(_QUESTION)
        end = setting.end.partition("{asked}")[0]
        asked = last.rpartition(end)[2].partition(" ")[0]
        story = Story(setting, tuple(held), tuple(swaps), asked)
        people = {person for person, _ in held}
        if {asked}.union(*swaps) <= people and held and swaps and story.tell() == question:
            return story
    raise ValueError(f"not a story about objects that are swapped: {question[:60]!r}")


def draw(rng: random.Random, wanted: Wanted) -> Story:
    """A story of as many swaps as `wanted` says, among three people, or among as many as there are
    swaps if these are more (at most MOST_PEOPLE)."""
    length = wanted.length(rng)
    count = min(max(3, length), MOST_PEOPLE)
    people = names.draw(rng, count, new=True) if wanted.new_names else list(PEOPLE[:count])
    setting = rng.choice(SETTINGS)
    held = tuple(zip(people, rng.sample(setting.things, count), strict=True))
    swaps = tuple((pair[0], pair[1]) for pair in (rng.sample(people, 2) for _ in range(length)))
    onlooker = names.draw(rng, 1, new=wanted.new_names)[0]
    noise = wanted.noise_for(rng, length, IRRELEVANT, onlooker)
    return Story(setting, held, swaps, rng.choice(people), noise)


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"
