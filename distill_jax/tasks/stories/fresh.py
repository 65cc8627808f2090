"""Fresh problems: stories that are drawn from a seed."""

import dataclasses
import functools
import hashlib
import random
from collections.abc import Callable, Sequence

from distill_jax.errors import NoSplit, UserError
from distill_jax.records import Problem
from distill_jax.tasks.stories.story import Story, problem
from distill_jax.tasks.stories.wanted import Wanted

# Stories are put into 20 buckets by a hash, so splits never share one, whatever their seed is.
_BUCKETS = {"dev": (0,), "test": (1, 2), "train": tuple(range(3, 20))}
_DEV_PROBLEMS = 500
LICENCES = {"problems made by distill_jax": "MIT, the licence of the program"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of stories.

    name     of the task
    draw     makes a story
    longest  length that a story can have
    """

    name: str
    draw: Callable[[random.Random, Wanted], Story]
    longest: int

    def wanted(self, lengths: Sequence[int], noise: int, new_names: bool) -> Wanted:
        """The options of a task; `lengths` are the shortest and the longest, or only one.

        Raises UserError for lengths from below 1 to above `longest`, and for noise below 0.
        """
        ends = [length for length in lengths if type(length) is int]
        low, high = (ends[0], ends[-1]) if 0 < len(ends) == len(lengths) <= 2 else (0, 0)
        if not 1 <= low <= high <= self.longest:
            raise UserError(
                f"config.task_options.lengths={tuple(lengths)!r}: the shortest and the longest "
                f"story are expected, such as (2, 4), from 1 to {self.longest}"
            )
        if noise < 0:
            raise UserError(f"config.task_options.noise={noise}: at least 0 is expected")
        return Wanted(low, high, noise, new_names)

    def problems(
        self, split: str, wanted: Wanted, seed: int, train_problems: int, test_problems: int
    ) -> list[Problem]:
        """The problems of a split, with gold steps; 500 of the dev split. A larger count only adds
        problems at the end.

        Raises NoSplit, and UserError if there are not so many different stories.
        """
        counts = {"train": train_problems, "dev": _DEV_PROBLEMS, "test": test_problems}
        if split not in counts:
            raise NoSplit(f"{self.name} has no split {split!r}: choose train, dev or test")
        return list(_problems(self, split, wanted, seed, counts[split]))


@functools.lru_cache(maxsize=4)
def _problems(kind: Kind, split: str, wanted: Wanted, seed: int, count: int) -> tuple[Problem, ...]:
    rng = random.Random(f"{seed}/{kind.name}/{split}")
    found: dict[str, Problem] = {}
    for _ in range(1000 + 200 * count):
        if len(found) == count:
            break
        story = kind.draw(rng, wanted)
        key = story.key()
        if key in found or hashlib.sha256(key.encode()).digest()[0] % 20 not in _BUCKETS[split]:
            continue
        found[key] = problem(story, f"{kind.name}/{split}/{len(found)}", split)
    else:
        raise UserError(
            f"config.task_options asks for {count} {split} problems, but only {len(found)} "
            "different stories were found: ask for fewer, or for longer stories"
        )
    return tuple(found.values())
