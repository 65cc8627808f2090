"""Dates: a premise says what day it is, and a day some time before or after it is asked for.

    Yesterday was April 30, 2021. What is the date 10 days ago in MM/DD/YYYY?
    Which choice is true? Answer choices: (A) 05/01/2021, (B) 04/21/2021.

    What is the date today?             The day after 04/30/2021 is 05/01/2021.
    What is the date 10 days ago?       10 days before 05/01/2021 is 04/21/2021.
    Finally, which choice is it?        (B) 04/21/2021

Made stories may be longer: "The dinner is one week after today. The trip is 10 days before the
dinner. What is the date of the trip in MM/DD/YYYY?" A month before 03/31 is the last day of
February.
"""

import calendar
import dataclasses
import datetime
import random

from distill_jax.records import Step
from distill_jax.tasks.multiple_choice import MARK, Choices, read_choices, written
from distill_jax.tasks.stories.date_premises import PREMISES
from distill_jax.tasks.stories.wanted import Wanted, with_noise

_ASK = "What is the date {what} in MM/DD/YYYY?"
_QUESTION = "\nWhich choice is true?"


@dataclasses.dataclass(frozen=True)
class Shift:
    """A time from one day to another; all parts have one sign, or are 0."""

    days: int = 0
    months: int = 0

    def of(self, day: datetime.date) -> datetime.date:
        """That day; in a shorter month its last day.

        >>> Shift(months=-1).of(datetime.date(2008, 3, 31))
        datetime.date(2008, 2, 29)
        """
        year, month = divmod(12 * day.year + day.month - 1 + self.months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        moved = datetime.date(year, month + 1, min(day.day, last))
        return moved + datetime.timedelta(days=self.days)

    def words(self) -> str:
        """`10 days before`, `one week after`."""
        count, unit = abs(self.days), "day"
        if count and count % 7 == 0:
            count, unit = count // 7, "week"
        if self.months:
            count, unit = abs(self.months), "month"
            if count % 12 == 0:
                count, unit = count // 12, "year"
        number = "one" if count == 1 else f"{count}"
        direction = "before" if self.days < 0 or self.months < 0 else "after"
        return f"{number} {unit}{'s' if count > 1 else ''} {direction}"


NOW = Shift()
# What the data asks for.
ASKED = {
    "today": NOW,
    "tomorrow": Shift(days=1),
    "yesterday": Shift(days=-1),
    "10 days ago": Shift(days=-10),
    "a month ago": Shift(months=-1),
    "one year ago from today": Shift(months=-12),
    "one week ago from today": Shift(days=-7),
    "one week from today": Shift(days=7),
    "24 hours later": Shift(days=1),
}


@dataclasses.dataclass(frozen=True)
class Story:
    """`events`: (what is asked or told, time since the event before it, or since today). In a story
    of one event, this is asked as the data does: "10 days ago"."""

    premise: str
    today: str  # a solution, whose last word is the date
    events: tuple[tuple[str, Shift], ...]
    choices: tuple[str, ...]  # dates
    noise: tuple[tuple[int, str], ...] = ()

    @property
    def answer(self) -> str:
        """The choice: its letter and the date; or the date alone, if it is none of the choices."""
        date = _text(self.days()[-1])
        known = self._choices("")
        letter = known.letter_of(date)
        return known.answer(letter) if letter else date

    @property
    def length(self) -> int:
        """How many events there are."""
        return len(self.events)

    def days(self) -> list[datetime.date]:
        """Today, and the day of each event."""
        month, day, year = (int(number) for number in self.today[-11:-1].split("/"))
        days = [datetime.date(year, month, day)]
        for _, shift in self.events:
            days.append(shift.of(days[-1]))
        return days

    def tell(self) -> str:
        """The question with its choices."""
        told, before = [], "today"
        for what, shift in self.events:
            told.append(f"The {what} is {shift.words()} {before}.")
            before = f"the {what}"
        asked = _ASK.format(what=self._asked(self.events[-1][0]))
        if self.length == 1:
            told = []
        return written(
            self._choices(
                " ".join([self.premise, *with_noise(told, self.noise), asked]) + _QUESTION
            )
        )

    def steps(self) -> tuple[Step, ...]:
        """Today, each event that is another day, and the choice."""
        steps, days = [Step("What is the date today?", self.today)], self.days()
        for (what, shift), before, day in zip(self.events, days, days[1:], strict=False):
            if shift != NOW:
                words = shift.words()
                solution = f"{words[0].upper()}{words[1:]} {_text(before)} is {_text(day)}."
                steps.append(Step(f"What is the date {self._asked(what)}?", solution))
        known = self.answer.startswith("(")
        end = self.answer if known else f"None of them is {self.answer}."
        return (*steps, Step("Finally, which choice is it?", end))

    def key(self) -> str:
        """What makes a story another one: neither noise nor the choices."""
        return repr((self.premise, self.events))

    def _asked(self, what: str) -> str:
        return what if len(self.events) == 1 else f"of the {what}"

    def _choices(self, question: str) -> Choices:
        letters = (chr(ord("A") + place) for place in range(len(self.choices)))
        return Choices(question, dict(zip(letters, self.choices, strict=False)))


def read(question: str) -> Story:
    """The story of a question of the data. Raises ValueError if it is another one."""
    said, _, _ = question.partition(_QUESTION)
    premise, _, asked = said.rpartition(" What is the date ")
    asked = asked.removesuffix(" in MM/DD/YYYY?")
    if MARK not in question or premise not in PREMISES or asked not in ASKED:
        raise ValueError(f"not a question about a date of the data: {question[:60]!r}")
    choices = tuple(read_choices(question, "the question").texts.values())
    story = Story(premise, PREMISES[premise], ((asked, ASKED[asked]),), choices)
    if story.tell() != question:
        raise ValueError(f"not a question about a date of the data: {question[:60]!r}")
    return story


# What a made premise says about today: the premise, with a date that is so far from today.
_TOLD = (
    ("Today is {date}.", NOW),
    ("It is {date} today.", NOW),
    ("Yesterday was {date}.", Shift(days=-1)),
    ("Tomorrow is {date}.", Shift(days=1)),
    ("The day before yesterday was {date}.", Shift(days=-2)),
    ("The day after tomorrow is {date}.", Shift(days=2)),
    ("It was {date} a week ago.", Shift(days=-7)),
    ("The deadline is {date}, which is 3 days away from now.", Shift(days=3)),
)
_MONTHS = tuple(calendar.month_name)[1:]
_THINGS = tuple(
    "dinner trip party exam concert meeting race wedding picnic lecture match visit".split()  # noqa: SIM905
)
_NEW_THINGS = tuple("regatta auction hike recital voyage fair debate parade gala duel".split())  # noqa: SIM905
LONGEST = len(_NEW_THINGS)
_STEPS = tuple(
    Shift(days=sign * days, months=sign * months)
    for sign in (-1, 1)
    for days, months in ((1, 0), (2, 0), (3, 0), (10, 0), (7, 0), (14, 0), (0, 1), (0, 2), (0, 12))
)
_WRONG = tuple(
    Shift(days=sign * days, months=sign * months)
    for sign in (-1, 1)
    for days, months in ((1, 0), (2, 0), (7, 0), (10, 0), (0, 1), (0, 2), (0, 12), (0, 120))
)
IRRELEVANT = (
    "{name} was born in 1985.",
    "The library closes at 8 pm.",
    "{name} has 12 tickets.",
    "The train takes 3 hours.",
    "A cake for 10 people was ordered.",
    "Last year there were 7 guests.",
)


def draw(rng: random.Random, wanted: Wanted) -> Story:
    """A story of as many events as `wanted` says, at most LONGEST; `new_names`: other events."""
    length = wanted.length(rng)
    today = datetime.date(1930, 1, 1) + datetime.timedelta(days=rng.randrange(36_000))
    premise, away = rng.choice(_TOLD)
    shown = away.of(today)
    style = rng.choice(("{m}/{d}/{y}", "{month} {d}, {y}", "{short} {d}, {y}"))
    month = _MONTHS[shown.month - 1]
    date = style.format(m=shown.month, d=shown.day, y=shown.year, month=month, short=month[:3])
    back = Shift(days=-away.days).words()
    solution = (
        f"Today is {_text(today)}."
        if away == NOW
        else f"{back[0].upper()}{back[1:]} {_text(shown)} is {_text(today)}."
    )
    if length == 1:
        events = [rng.choice(list(ASKED.items()))]
    else:
        things = rng.sample(_NEW_THINGS if wanted.new_names else _THINGS, length)
        events = [(thing, rng.choice(_STEPS)) for thing in things]
    name = rng.choice(("Jane", "John", "Mary"))
    noise = wanted.noise_for(rng, length if length > 1 else 0, IRRELEVANT, name)
    story = Story(premise.format(date=date), solution, tuple(events), (), noise)
    choices = [_text(day) for day in _choices_with(rng, story.days()[-1])]
    rng.shuffle(choices)
    return dataclasses.replace(story, choices=tuple(choices))


def _choices_with(rng: random.Random, right: datetime.date) -> list[datetime.date]:
    """A day and five others some time from it; `right` is any of the six, by chance.

    In the data the right day is the middle one as a rule: in 85 % of its test the choice that
    shares the most months, days and years with the others is right, and a student may learn that.
    """
    place = rng.randrange(6)
    while True:
        shifts = rng.sample(_WRONG, 5)
        own = shifts[place] if place < 5 else NOW
        middle = Shift(days=-own.days, months=-own.months).of(right)
        # A month after and a month before may be another day: 31, 30.
        if own.of(middle) == right:
            return list(dict.fromkeys([right, middle, *(shift.of(middle) for shift in shifts)]))


def _text(day: datetime.date) -> str:
    return f"{day.month:02}/{day.day:02}/{day.year}"
