"""Sums modulo 10, solved in steps of a chosen size: how long should a chain be?

The synthetic task of "When More is Less" (https://arxiv.org/abs/2502.07266), as its authors' code
makes it (https://github.com/acetocarmine11/cot-length, synthetic/dataset/gen_arith_data.py). A
problem is a tree of `+` in prefix notation over digits. At each `+` one operand is a digit, on
either side with the same chance, and the other one is the rest of the tree. A step takes the
deepest `step_size` operators at once, and writes what they come to modulo 10:

    >>> tree = read_tree("+ + 6 + 8 + + 3 5 4 6")
    >>> for step in chain(tree, 2):
    ...     print(step)
    + + 3 5 4=2
    + 6 + 8 2=6
    + 6 6=2

The last step has fewer operators if the number does not divide. Every problem has its size, the
number of its operators, and the step size of its gold chain.
"""

import dataclasses
import functools
import hashlib
import random
from typing import Any

from distill_jax.errors import NoSplit, UserError
from distill_jax.records import Annotation, Grade, Problem, Step
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_number, read_number
from distill_jax.workdir import local_path, read_json

LICENCES = {"problems made by distill_jax": "MIT, the licence of the program"}
# Trees are put into 20 buckets by a hash of their text, so splits never share one.
_SPLIT_BUCKETS = {"dev": (0,), "test": (1, 2), "train": tuple(range(3, 20))}
_ATTEMPTS = 2000  # to find another tree of a size before there seems to be none


@dataclasses.dataclass(frozen=True)
class Tree:
    """The operators from the outermost one to the deepest, and the digit below that."""

    operators: tuple[tuple[int, bool], ...]  # (digit, whether it is the left operand)
    leaf: int


def load(
    split: str,
    *,
    operators: tuple[int, ...] = (12, 80),
    step_sizes: tuple[int, ...] = tuple(range(1, 13)),
    best_steps: str = "",
    seed: int = 0,
    train_problems: int = 216_000,
    held_out_problems: int = 2_400,
) -> list[Problem]:
    """Problems of a split with their gold chains. A larger count only adds problems at the end.

    operators    the sizes: (from, to) or (from, to, every); all occur equally often
    step_sizes   of the gold chains; all occur equally often, for each size. The trees do not
                 depend on them
    best_steps   a file best_steps.json of `distill_jax.evaluation.lengths`: every size has its own
                 step size, and `step_sizes` does not matter
    held_out_problems  of dev, and of test

    The defaults are the paper's: 18,000 training problems for each of 12 step sizes. Attributes of
    a problem are its size, its step_size, and steps, the number of lines of the gold chain. Raises
    UserError for an unknown split, for sizes or step sizes that are none, for a file that cannot be
    read or lacks a size, and if a split has fewer distinct trees than asked for.
    """
    counts = {"train": train_problems, "dev": held_out_problems, "test": held_out_problems}
    if split not in counts:
        raise NoSplit(f"step_size has no split {split!r}: choose train, dev or test")
    first, last, every = (*operators, 1)[:3] if len(operators) in (2, 3) else (0, 0, 0)
    if not (1 <= first <= last and every >= 1):
        raise UserError(
            f"config.task_options.operators={operators}: give from,to or from,to,every, such as "
            "4,16,4"
        )
    if not best_steps and not (step_sizes and all(size >= 1 for size in step_sizes)):
        raise UserError(
            f"config.task_options.step_sizes={step_sizes}: give whole numbers from 1, such as 1,2,3"
        )
    sizes = range(first, last + 1, every)
    by_size = _read_best(best_steps, sizes) if best_steps else dict.fromkeys(sizes, step_sizes)
    problems = []
    for number, tree in enumerate(_trees(split, sizes, seed, counts[split])):
        size = len(tree.operators)
        choices = by_size[size]
        # Sizes take turns, and after each round of them the step sizes do.
        step_size = choices[number // len(sizes) % len(choices)]
        problems.append(_problem(f"step_size/{split}/{number}", split, tree, step_size))
    return problems


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments, one per problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; see `tasks/grading.py`."""
    return grade_number(completion, answer)


def read_answer(text: str) -> str | None:
    """The number that a completion ends with."""
    return read_number(text)


def draw(size: int, rng: random.Random) -> Tree:
    """A random tree of `size` operators."""
    operators = tuple((rng.randint(0, 9), rng.random() < 0.5) for _ in range(size))
    return Tree(operators, rng.randint(0, 9))


def expression(operators: tuple[tuple[int, bool], ...], innermost: int) -> str:
    """Operators around a digit, in prefix notation.

    >>> expression(((6, True), (4, False)), 3)
    '+ 6 + 3 4'
    """
    before = "".join(f"+ {digit} " if left else "+ " for digit, left in operators)
    after = "".join("" if left else f" {digit}" for digit, left in reversed(operators))
    return f"{before}{innermost}{after}"


def chain(tree: Tree, step_size: int) -> list[str]:
    """The lines of the gold chain: the deepest operators first, each group with its value modulo
    10, which takes its place."""
    lines = []
    value, end = tree.leaf, len(tree.operators)
    while end > 0:
        start = max(0, end - step_size)
        group = tree.operators[start:end]
        written = expression(group, value)
        value = (value + sum(digit for digit, _ in group)) % 10
        lines.append(f"{written}={value}")
        end = start
    return lines


def read_tree(text: str) -> Tree:
    """The tree of a question; of two digits at the bottom, the right one is the leaf.

    Raises ValueError if the text is not that of a tree.
    """
    operators: list[tuple[int, bool]] = []
    words = text.split(" ")
    while words[0] == "+" and len(words) >= 3:
        left = words[1] != "+"
        words, digit = (words[2:], words[1]) if left else (words[1:-1], words[-1])
        operators.append((_digit(digit, text), left))
    if len(words) != 1:
        raise ValueError(f"not a tree of digits: {text!r}")
    return Tree(tuple(operators), _digit(words[0], text))


def _digit(word: str, text: str) -> int:
    if len(word) != 1 or word not in "0123456789":
        raise ValueError(f"not a tree of digits: {text!r}")
    return int(word)


@functools.lru_cache(maxsize=4)
def _trees(split: str, sizes: range, seed: int, count: int) -> tuple[Tree, ...]:
    """`count` distinct trees whose hash falls into the buckets of `split`; their sizes take
    turns."""
    rng = random.Random(f"{seed}/step_size/{split}/{sizes.start}/{sizes.stop}/{sizes.step}")
    seen: set[str] = set()
    found: list[Tree] = []
    attempts = 0
    while len(found) < count:
        size = sizes[len(found) % len(sizes)]
        tree = draw(size, rng)
        text = expression(tree.operators, tree.leaf)
        bucket = hashlib.sha256(text.encode()).digest()[0] % 20
        attempts += 1
        if bucket in _SPLIT_BUCKETS[split] and text not in seen:
            seen.add(text)
            found.append(tree)
            attempts = 0
        elif attempts > _ATTEMPTS:
            raise UserError(
                f"config.task_options asks for {count} {split} problems, but only {len(found)} "
                f"different ones were found, because there are few of {size} operators: ask for "
                "fewer, or for larger ones (config.task_options.operators)"
            )
    return tuple(found)


def _read_best(name: str, sizes: range) -> dict[int, tuple[int, ...]]:
    """{size: its step size} of config.task_options.best_steps."""
    key = "config.task_options.best_steps"
    path = local_path(name, key)
    if not path.is_file():
        raise UserError(f"{key}={path}: no such file: make it with distill_jax.evaluation.lengths")
    found = read_json(path).get("step_size")
    if not isinstance(found, dict) or not all(type(k) is int and k >= 1 for k in found.values()):
        raise UserError(
            f'{key}={path}: {{"step_size": {{SIZE: STEP SIZE}}}} with whole numbers from 1 is '
            "expected"
        )
    missing = [size for size in sizes if str(size) not in found]
    if missing:
        raise UserError(
            f"{key}={path} has no step size for {len(missing)} sizes, the first is {missing[0]}: "
            "measure all sizes, or set config.task_options.operators to those that it has"
        )
    return {size: (found[str(size)],) for size in sizes}


def _problem(name: str, split: str, tree: Tree, step_size: int) -> Problem:
    question = expression(tree.operators, tree.leaf)
    lines = chain(tree, step_size)
    answer = lines[-1].rpartition("=")[2]
    steps = tuple(Step(None, line) for line in lines)
    size = len(tree.operators)
    attributes = {"size": size, "step_size": step_size, "steps": len(steps)}
    gold = Annotation(name, question, answer, steps, {"kind": "gold"})
    return Problem(name, question, answer, split, attributes, gold)
