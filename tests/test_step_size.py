"""The synthetic task of chain lengths: the paper's own example, and direct evaluation of trees."""

import collections
import doctest
import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.annotations.verify import verify
from distill_jax.errors import NoSplit, UserError
from distill_jax.tasks import step_size
from distill_jax.tasks.step_size import Tree, chain, expression, read_tree

QUESTION = "+ + 6 + 8 + + 3 5 4 6"
TREES = st.builds(
    Tree,
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=90).map(tuple),
    st.integers(0, 9),
)
SMALL = {"operators": (4, 9), "step_sizes": (1, 2, 3)}
COUNTS = {"train_problems": 900, "held_out_problems": 180}


def evaluate(text):
    """Prefix notation from the right, with a stack: the value modulo 10 and the operators."""
    stack, operators = [], 0
    for word in reversed(text.split(" ")):
        if word == "+":
            stack.append((stack.pop() + stack.pop()) % 10)
            operators += 1
        else:
            assert word in set("0123456789")
            stack.append(int(word))
    [value] = stack
    return value, operators


@pytest.mark.parametrize(
    ("size", "lines"),
    [
        (1, ["+ 3 5=8", "+ 8 4=2", "+ 8 2=0", "+ 6 0=6", "+ 6 6=2"]),
        (2, ["+ + 3 5 4=2", "+ 6 + 8 2=6", "+ 6 6=2"]),
        (3, ["+ 8 + + 3 5 4=0", "+ + 6 0 6=2"]),
        (5, [f"{QUESTION}=2"]),
        (9, [f"{QUESTION}=2"]),
    ],
)
def test_the_worked_example(size, lines):
    assert chain(read_tree(QUESTION), size) == lines


def official_tokens(question, lines):
    """Question, <BEGIN>, <k>, a line break, lines with theirs, <END>; a character is a token."""
    return len(question) + 3 + sum(len(line) + 1 for line in lines) + 1


@pytest.mark.parametrize(("size", "k", "tokens"), [(5, 2, 57), (24, 1, 293), (80, 12, 673)])
def test_rows_are_as_long_as_the_papers(size, k, tokens):
    tree = step_size.draw(size, random.Random(size))
    question = expression(tree.operators, tree.leaf)
    assert official_tokens(question, chain(tree, k)) == tokens == 8 * size + 4 * -(-size // k) + 5


@settings(max_examples=200, deadline=None)
@given(tree=TREES, k=st.integers(1, 13))
def test_a_chain_replaces_the_deepest_part_until_a_digit_is_left(tree, k):
    text = expression(tree.operators, tree.leaf)
    size = len(tree.operators)
    value, operators = evaluate(text)
    assert operators == size and re.fullmatch(r"[+0-9 ]+", text)
    lines = chain(tree, k)
    assert len(lines) == -(-size // k)
    for number, line in enumerate(lines, start=1):
        part, equals, result = line.partition("=")
        assert equals and str(evaluate(part)[0]) == result
        assert evaluate(part)[1] == (k if number < len(lines) or size % k == 0 else size % k)
        assert part in text
        # The rest of a tree with so many operators occurs once: what is around it has more.
        assert text.count(part) == 1
        text = text.replace(part, result)
    assert text == str(value)


@settings(max_examples=100, deadline=None)
@given(tree=TREES)
def test_a_tree_is_read_as_it_is_written(tree):
    text = expression(tree.operators, tree.leaf)
    again = read_tree(text)
    assert expression(again.operators, again.leaf) == text
    assert len(again.operators) == len(tree.operators)


@pytest.mark.parametrize(
    "text", ["", "+", "+ 3", "3 5", "+ 3 5 4", "+ 10 5", "- 3 5", "+ 3 +", "x"]
)
def test_what_is_no_tree_is_refused(text):
    with pytest.raises(ValueError, match="not a tree of digits"):
        read_tree(text)


@pytest.fixture(scope="module")
def splits():
    return {split: step_size.load(split, **SMALL, **COUNTS) for split in ("train", "dev", "test")}


def test_splits_share_no_tree_and_have_right_chains(splits):
    questions = {split: {p.question for p in problems} for split, problems in splits.items()}
    for split, problems in splits.items():
        assert len(questions[split]) == len(problems) == (900 if split == "train" else 180)
        for problem in problems:
            value, operators = evaluate(problem.question)
            assert (str(value), operators) == (problem.answer, problem.attributes["size"])
            k = problem.attributes["step_size"]
            assert [s.solution for s in problem.gold.steps] == chain(read_tree(problem.question), k)
            assert problem.attributes["steps"] == len(problem.gold.steps)
            completion = "\n".join(s.solution for s in problem.gold.steps)
            assert step_size.grade(f"{completion}\n#### {value}", problem.answer).scores["strict"]
    assert not questions["train"] & questions["dev"]
    assert not (questions["train"] | questions["dev"]) & questions["test"]
    # No rule about equations mistakes this notation for one that is false.
    gold = [problem.gold for problem in splits["test"]]
    assert verify(gold, splits["test"], step_size.grade, equations="reject") == (gold, [])


def test_every_size_has_every_step_size_equally_often(splits):
    pairs = collections.Counter(
        (p.attributes["size"], p.attributes["step_size"]) for p in splits["train"]
    )
    assert set(pairs.values()) == {50} and len(pairs) == 6 * 3
    every = step_size.load("test", operators=(4, 12, 4), **COUNTS)
    assert {p.attributes["size"] for p in every} == {4, 8, 12}


def test_trees_do_not_depend_on_step_sizes_and_more_only_add(splits):
    other = step_size.load("test", **(SMALL | {"step_sizes": (5,)}), **COUNTS)
    assert [p.question for p in other] == [p.question for p in splits["test"]]
    assert {p.attributes["step_size"] for p in other} == {5}
    fewer = step_size.load("test", **SMALL, held_out_problems=40)
    assert fewer == splits["test"][:40]
    another = step_size.load("test", **SMALL, **COUNTS, seed=1)
    assert not {p.question for p in another} & {p.question for p in splits["train"][:50]}


def test_every_size_may_have_its_own_step_size(tmp_path):
    path = tmp_path / "best_steps.json"
    path.write_text(json.dumps({"step_size": {"4": 1, "6": 3, "8": 2}}))
    options = {"operators": (4, 8, 2), "held_out_problems": 30}
    problems = step_size.load("test", **options, best_steps=str(path))
    assert {(p.attributes["size"], p.attributes["step_size"]) for p in problems} == {
        (4, 1), (6, 3), (8, 2)
    }  # fmt: skip
    with pytest.raises(UserError, match="has no step size for 1 sizes, the first is 10: measure"):
        step_size.load("test", **(options | {"operators": (4, 10, 2)}), best_steps=str(path))
    path.write_text(json.dumps({"step_size": {"4": 0}}))
    with pytest.raises(UserError, match="whole numbers from 1 is expected"):
        step_size.load("test", **options, best_steps=str(path))
    with pytest.raises(UserError, match="no such file: make it with"):
        step_size.load("test", **options, best_steps=str(tmp_path / "missing.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operators": (0, 8)}, "give from,to or from,to,every, such as 4,16,4"),
        ({"operators": (9, 8)}, "give from,to or from,to,every"),
        ({"operators": (9,)}, "give from,to or from,to,every"),
        ({"operators": (4, 9, 0)}, "give from,to or from,to,every"),
        ({"step_sizes": ()}, "give whole numbers from 1, such as 1,2,3"),
        ({"step_sizes": (0, 2)}, "give whole numbers from 1, such as 1,2,3"),
        ({"operators": (1, 1), "held_out_problems": 999}, "few of 1 operators"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        step_size.load("test", **options)
    with pytest.raises(NoSplit, match="choose train, dev or test"):
        step_size.load("validation")


def test_the_docstrings():
    result = doctest.testmod(step_size)
    assert result.attempted > 0 and result.failed == 0
