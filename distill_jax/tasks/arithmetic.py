"""The built-in task: multi-step word problems made from a seed, with gold Socratic annotations.

A problem tells a story about one quantity: an opening gives its first value, then every event
changes its current value, so the last answer needs all answers before it. Distractor sentences
have numbers that do not matter. For example:

    >>> print(load("test")[2].question)
    Kim has 4 books. 3 of the books break. It is day 3 of the month. Kim picks up 7 books. How \
many books does Kim have now?
    >>> for step in load("test")[2].gold.steps:
    ...     print(step.subquestion, "->", step.solution)
    How many are there after 3 break? -> 4 - 3 = 1
    Finally, how many are there after picking up 7? -> 1 + 7 = 8

Difficulties: `easy` has 2 or 3 steps, + - x and halving, values up to 20; `easiest` is the same
with 1 or 2 steps and without distractors; `medium` has 2 to 4 steps, division, values up to 99;
`hard` 2 to 6 steps, also percentages and comparisons with other people, values up to 999. Solutions
in the style `long` also say in words what the equation is about, and in the style `bare` one step
says the answer and nothing else; the problems are the same.
"""

import dataclasses
import functools
import hashlib
import math
import random
from collections.abc import Iterator
from typing import Any

from distill_jax.errors import NoSplit, UserError
from distill_jax.records import Annotation, Grade, Problem, Step
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_number, read_number


@dataclasses.dataclass(frozen=True)
class Template:
    """One sentence of a story and the phrase by which a subquestion refers to it.

    Slots: {name} who the story is about, {other} somebody else, {things} what is counted, {others}
    things that do not matter, {n} the number that the operation takes. After a template whose
    operation starts with "other", the story goes on about {other}.
    """

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

STYLES = ("short", "long", "bare")


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """How large the numbers are, how many steps a problem has, and which events occur."""

    min_steps: int
    max_steps: int
    max_value: int  # of every value on the way
    max_operand: int  # of + and -
    max_factor: int  # of x and division
    distractors: int  # at most
    events: tuple[Template, ...]


DIFFICULTIES = {
    "easiest": Difficulty(1, 2, 20, 9, 3, 0, EASY_EVENTS),
    "easy": Difficulty(2, 3, 20, 9, 3, 1, EASY_EVENTS),
    "medium": Difficulty(2, 4, 99, 40, 5, 2, EASY_EVENTS + MEDIUM_EVENTS),
    "hard": Difficulty(
        2,
        6,
        999,
        400,
        9,
        3,
        EASY_EVENTS + MEDIUM_EVENTS + HARD_EVENTS,
    ),
}

# Stories are put into 20 buckets by a hash, so splits never share one, however large they are.
LICENCES = {"problems made by distill_jax": "MIT, the licence of the program"}
_SPLIT_BUCKETS = {"dev": (0,), "test": (1, 2), "train": tuple(range(3, 20))}


@dataclasses.dataclass(frozen=True)
class _Story:
    """A story before names and things are filled in."""

    opening: Template
    start: int
    events: tuple[tuple[Template, int], ...]

    def key(self) -> str:
        """Template sequence and numbers; distractors, names and things are left out."""
        parts = [f"{self.opening.sentence}{self.start}"]
        parts += [f"{event.sentence}{n}" for event, n in self.events]
        return "|".join(parts)


def load(
    split: str,
    *,
    difficulty: str = "easy",
    seed: int = 0,
    train_problems: int = 50_000,
    dev_problems: int = 500,
    test_problems: int = 1_000,
    style: str = "short",
) -> list[Problem]:
    """Problems of a split with their gold steps. A larger count only adds problems at the end.

    Raises UserError for an unknown split, difficulty or style, and if a split has fewer distinct
    stories than asked for.
    """
    counts = {"train": train_problems, "dev": dev_problems, "test": test_problems}
    if split not in counts:
        raise NoSplit(f"arithmetic has no split {split!r}: choose train, dev or test")
    if difficulty not in DIFFICULTIES:
        raise UserError(
            f"config.task_options.difficulty={difficulty!r}: choose {', '.join(DIFFICULTIES)}"
        )
    if style not in STYLES:
        raise UserError(f"config.task_options.style={style!r}: choose {', '.join(STYLES)}")
    return list(_cached(split, difficulty, seed, counts[split], style))


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments, one per problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; see `tasks/grading.py`."""
    return grade_number(completion, answer)


def read_answer(text: str) -> str | None:
    """The number that a completion ends with."""
    return read_number(text)


@functools.lru_cache(maxsize=4)
def _cached(split: str, difficulty: str, seed: int, count: int, style: str) -> tuple[Problem, ...]:
    rng = random.Random(f"{seed}/{difficulty}/{split}")
    result = []
    for story in _stories(rng, split, DIFFICULTIES[difficulty], count):
        question, steps, answer = _tell(rng, story, DIFFICULTIES[difficulty], style)
        attributes = {"steps": len(story.events), "difficulty": difficulty}
        name = f"arithmetic/{split}/{len(result)}"
        gold = Annotation(name, question, answer, steps, {"kind": "gold"})
        result.append(Problem(name, question, answer, split, attributes, gold))
    return tuple(result)


def _stories(rng: random.Random, split: str, level: Difficulty, count: int) -> Iterator[_Story]:
    """`count` distinct stories whose hash falls into the buckets of `split`."""
    seen: set[str] = set()
    attempts = 0
    while len(seen) < count:
        attempts += 1
        if attempts > 1000 + 200 * count:
            raise UserError(
                f"config.task_options asks for {count} {split} problems, but only {len(seen)} "
                "distinct ones were found: ask for fewer, or for a harder difficulty"
            )
        story = _story(rng, level)
        key = story.key()
        bucket = hashlib.sha256(key.encode()).digest()[0] % 20
        if bucket in _SPLIT_BUCKETS[split] and key not in seen:
            seen.add(key)
            yield story


def _story(rng: random.Random, level: Difficulty) -> _Story:
    """A random story in which every value is a whole number from 1 to `level.max_value`."""
    steps = rng.randint(level.min_steps, level.max_steps)
    start = value = rng.randint(2, max(9, level.max_value // 3))
    events: list[tuple[Template, int]] = []
    while len(events) < steps:
        event = rng.choice(level.events)
        n = _operand(rng, event.operation, value, level)
        if n is None or any(event is other for other, _ in events):
            continue
        events.append((event, n))
        value = apply(event.operation, value, n)
    return _Story(rng.choice(OPENINGS), start, tuple(events))


def _operand(rng: random.Random, operation: str, value: int, level: Difficulty) -> int | None:
    """A random number with which the value stays in range, or None if it does not."""
    if operation == "half":
        n = 2
    elif operation == "%":
        n = rng.choice((10, 20, 25, 50, 75))
    elif operation in ("*", "/", "other*"):
        n = rng.randint(2, level.max_factor)
    else:
        n = rng.randint(2, level.max_operand)
    divisor = {"half": n, "/": n, "%": 100 // math.gcd(n, 100)}.get(operation, 1)
    if value % divisor:
        return None
    return n if 1 <= apply(operation, value, n) <= level.max_value else None


def _tell(
    rng: random.Random, story: _Story, level: Difficulty, style: str
) -> tuple[str, tuple[Step, ...], str]:
    """Fill in names and things: the question, the gold steps and the answer."""
    name, *friends = rng.sample(NAMES, 4)
    things, others = rng.sample(THINGS, 2)
    sentences = [story.opening.sentence.format(name=name, n=story.start, things=things)]
    steps = []
    value = story.start
    for index, (event, n) in enumerate(story.events):
        other = rng.choice([friend for friend in friends if friend != name])
        told = event.sentence.format(name=name, other=other, n=n, things=things)
        sentences.append(told)
        before, result = name, apply(event.operation, value, n)
        if event.operation.startswith("other"):
            ask, name = f"ow many does {other} have?", other
        else:
            ask = f"ow many are there after {event.phrase.format(n=n, other=other)}?"
        solution = equation(event.operation, value, n)
        if style == "long":
            solution = in_words(solution, value, result, told, (before, name, things))
        last = index == len(story.events) - 1
        steps.append(Step(f"Finally, h{ask}" if last else f"H{ask}", solution))
        value = result
    if style == "bare":
        steps = [dataclasses.replace(steps[-1], solution=f"It is {value}.")]
    for distractor in rng.sample(DISTRACTORS, rng.randint(0, level.distractors)):
        sentence = distractor.sentence.format(
            other=rng.choice([friend for friend in friends if friend != name]),
            n=rng.randint(2, max(9, level.max_operand // 4)),
            others=others,
        )
        sentences.insert(rng.randint(0, len(sentences)), sentence)
    sentences.append(f"How many {things} does {name} have now?")
    return " ".join(sentences), tuple(steps), str(value)


def apply(operation: str, value: int, n: int) -> int:
    """The value after an event; see Template for the operations.

    >>> apply("other-", 9, 2), apply("%", 50, 10)
    (7, 45)
    """
    match operation.removeprefix("other"):
        case "+":
            return value + n
        case "-":
            return value - n
        case "*":
            return value * n
        case "half" | "/":
            return value // n
        case "%":
            return value - value * n // 100
    raise ValueError(operation)


def equation(operation: str, value: int, n: int) -> str:
    """The short solution.

    >>> equation("half", 8, 2), equation("%", 50, 10)
    ('8 / 2 = 4', '50 * 10 / 100 = 5, 50 - 5 = 45')
    """
    result = apply(operation, value, n)
    if operation == "%":
        return f"{value} * {n} / 100 = {value * n // 100}, {value} - {value * n // 100} = {result}"
    sign = {"half": "/"}.get(operation, operation.removeprefix("other"))
    return f"{value} {sign} {n} = {result}"


def in_words(
    equation: str, value: int, result: int, event: str, names: tuple[str, str, str]
) -> str:
    """The long solution: the value before, the event's sentence, the equation, the value after.

    `names` are the owners before and after, and the counted things.

    >>> in_words("4 - 3 = 1", 4, 1, "3 of the books break.", ("Kim", "Kim", "books"))
    'Kim has 4 books. 3 of the books break. That makes 4 - 3 = 1. Now Kim has 1 books.'
    """
    before, after, things = names
    return (
        f"{before} has {value} {things}. {event} That makes {equation}. "
        f"Now {after} has {result} {things}."
    )
