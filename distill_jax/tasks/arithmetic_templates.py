"""Sentences of the built-in task. A template is (operation, sentence, how a subquestion names it).

Slots: {name} who the story is about, {other} somebody else, {things} what is counted, {others}
things that do not matter, {n} the number that the operation takes. After a template whose
operation starts with "other", the story goes on about {other}.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Template:
    """One sentence of a story and the phrase by which a subquestion refers to it."""

    operation: str  # "open", "+", "-", "*", "half", "/", "%", "other+", "other-", "other*", "none"
    sentence: str
    phrase: str = ""


OPENINGS = (
    Template("open", "{name} has {n} {things}."),
    Template("open", "{name} finds {n} {things}."),
    Template("open", "There are {n} {things} in the bag of {name}."),
    Template("open", "{name} starts with {n} {things}."),
)

EASY_EVENTS = (
    Template("+", "{name} buys {n} more.", "buying {n}"),
    Template("+", "Then {other} gives {name} {n} {things}.", "getting {n}"),
    Template("+", "{name} picks up {n} {things}.", "picking up {n}"),
    Template("+", "Later {name} wins {n} {things}.", "winning {n}"),
    Template("-", "{name} loses {n} of them.", "losing {n}"),
    Template("-", "Then {name} sells {n} {things}.", "selling {n}"),
    Template("-", "{name} gives {other} {n} {things}.", "giving away {n}"),
    Template("-", "{n} of the {things} break.", "{n} break"),
    Template("*", "Then {name} has {n} times as many.", "growing {n} times"),
    Template("*", "A trick makes {n} times as many {things}.", "making {n} times as many"),
    Template("half", "{name} gives away half of the {things}.", "giving away half"),
    Template("half", "Then half of them are lost.", "losing half"),
)

MEDIUM_EVENTS = (
    Template("+", "{n} {things} come by mail.", "{n} come by mail"),
    Template("+", "On the way home {name} collects {n} {things}.", "collecting {n}"),
    Template("-", "{name} lends {n} {things} to {other}.", "lending {n}"),
    Template("-", "{name} throws out {n} old {things}.", "throwing out {n}"),
    Template("*", "{name} works until there are {n} times as many {things}.", "working"),
    Template("half", "Half of the {things} go to the school.", "half go to the school"),
    Template(
        "/", "{name} splits them into {n} equal piles and keeps one pile.", "keeping one pile"
    ),
    Template("/", "Only one in {n} of the {things} is kept.", "keeping one in {n}"),
)

HARD_EVENTS = (
    Template("+", "A shop sends {name} a box of {n} {things}.", "the box of {n}"),
    Template("+", "{other} brings {n} {things} and leaves them with {name}.", "{other} brings {n}"),
    Template("-", "A storm ruins {n} {things}.", "the storm ruins {n}"),
    Template("-", "{name} trades {n} {things} for a hat.", "trading {n}"),
    Template("%", "{name} uses up {n}% of the {things}.", "using up {n}%"),
    Template("%", "{n}% of them turn out to be bad and are thrown away.", "dropping {n}%"),
    Template("other+", "{other} has {n} more {things} than {name} has by then.", ""),
    Template("other-", "{other} has {n} fewer {things} than {name} has by then.", ""),
    Template("other*", "{other} has {n} times as many {things} as {name} has by then.", ""),
    Template("/", "{name} shares them equally among {n} rooms and counts one room.", "one room"),
)

DISTRACTORS = (
    Template("none", "{other} has {n} {others}."),
    Template("none", "It is day {n} of the month."),
    Template("none", "{other} is {n} years old."),
    Template("none", "The walk takes {n} minutes."),
)

NAMES = ("Ann", "Ben", "Eva", "Leo", "Max", "Mia", "Sam", "Tom", "Zoe", "Kim")
THINGS = (
    "apples",
    "balls",
    "books",
    "cards",
    "coins",
    "cups",
    "dolls",
    "eggs",
    "hats",
    "keys",
    "pens",
    "stones",
)
