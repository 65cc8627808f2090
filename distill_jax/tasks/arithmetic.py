"""The built-in task: multi-step word problems made from a seed, with gold Socratic annotations.

A problem tells a story about one quantity: an opening gives its first value, then every event
changes the value it has at that moment, so the last answer cannot be had without the ones before
it. Distractor sentences bring numbers that do not matter. For example:

    >>> print(load("test")[2].question)
    Kim has 4 books. 3 of the books break. It is day 3 of the month. Kim picks up 7 books. How \
many books does Kim have now?
    >>> for step in load_annotations("test")[2].steps:
    ...     print(step.subquestion, "->", step.solution)
    How many are there after 3 break? -> 4 - 3 = 1
    Finally, how many are there after picking up 7? -> 1 + 7 = 8

Difficulties: `easy` has 2 or 3 steps, + - x and halving, values up to 20; `medium` 2 to 4 steps,
division, values up to 99; `hard` 2 to 6 steps, also percentages and comparisons with other
people, values up to 999. Solutions of style `long` say in words, too, what the equation is about;
the problems are the same.
"""

import dataclasses
import functools
import hashlib
import math
import random
from collections.abc import Iterator

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem, Step
from distill_jax.tasks import arithmetic_templates as templates
from distill_jax.tasks.arithmetic_solutions import STYLES, apply, equation, in_words
from distill_jax.tasks.arithmetic_templates import Template
from distill_jax.tasks.grading import grade_number


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
    "easy": Difficulty(2, 3, 20, 9, 3, 1, templates.EASY_EVENTS),
    "medium": Difficulty(2, 4, 99, 40, 5, 2, templates.EASY_EVENTS + templates.MEDIUM_EVENTS),
    "hard": Difficulty(
        2,
        6,
        999,
        400,
        9,
        3,
        templates.EASY_EVENTS + templates.MEDIUM_EVENTS + templates.HARD_EVENTS,
    ),
}

# Of 20 buckets of stories, by a hash: splits can never share one, however large they are.
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
    """Problems of a split. A larger count only adds problems at the end.

    Raises UserError for an unknown split, difficulty or style, or where a split has fewer distinct
    stories than asked for.
    """
    counts = {"train": train_problems, "dev": dev_problems, "test": test_problems}
    return [problem for problem, _ in _generate(split, difficulty, seed, counts, style)]


def load_annotations(
    split: str,
    *,
    difficulty: str = "easy",
    seed: int = 0,
    train_problems: int = 50_000,
    dev_problems: int = 500,
    test_problems: int = 1_000,
    style: str = "short",
) -> list[Annotation]:
    """Gold annotations, one per problem of `load` with the same arguments."""
    counts = {"train": train_problems, "dev": dev_problems, "test": test_problems}
    return [
        Annotation(problem.id, problem.question, problem.answer, steps, {"kind": "gold"})
        for problem, steps in _generate(split, difficulty, seed, counts, style)
    ]


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; see `tasks/grading.py`."""
    return grade_number(completion, answer)


def _generate(
    split: str, difficulty: str, seed: int, counts: dict[str, int], style: str
) -> tuple[tuple[Problem, tuple[Step, ...]], ...]:
    if split not in counts:
        raise UserError(f"arithmetic has no split {split!r}: choose train, dev or test")
    if difficulty not in DIFFICULTIES:
        raise UserError(
            f"config.task_options.difficulty={difficulty!r}: choose {', '.join(DIFFICULTIES)}"
        )
    if style not in STYLES:
        raise UserError(f"config.task_options.style={style!r}: choose {', '.join(STYLES)}")
    return _cached(split, difficulty, seed, counts[split], style)


@functools.lru_cache(maxsize=4)
def _cached(
    split: str, difficulty: str, seed: int, count: int, style: str
) -> tuple[tuple[Problem, tuple[Step, ...]], ...]:
    rng = random.Random(f"{seed}/{difficulty}/{split}")
    result = []
    for story in _stories(rng, split, DIFFICULTIES[difficulty], count):
        question, steps, answer = _tell(rng, story, DIFFICULTIES[difficulty], style)
        attributes = {"steps": len(steps), "difficulty": difficulty}
        problem = Problem(f"arithmetic/{split}/{len(result)}", question, answer, split, attributes)
        result.append((problem, steps))
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
    return _Story(rng.choice(templates.OPENINGS), start, tuple(events))


def _operand(rng: random.Random, operation: str, value: int, level: Difficulty) -> int | None:
    """A number for which the operation stays in range, or None where a draw does not."""
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
    name, *friends = rng.sample(templates.NAMES, 4)
    things, others = rng.sample(templates.THINGS, 2)
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
    for distractor in rng.sample(templates.DISTRACTORS, rng.randint(0, level.distractors)):
        sentence = distractor.sentence.format(
            other=rng.choice([friend for friend in friends if friend != name]),
            n=rng.randint(2, max(9, level.max_operand // 4)),
            others=others,
        )
        sentences.insert(rng.randint(0, len(sentences)), sentence)
    sentences.append(f"How many {things} does {name} have now?")
    return " ".join(sentences), tuple(steps), str(value)
