"""The calculator: exact values, what is missing of a mark, and the automaton over tokens."""

import doctest
import json
import math
import operator
import os
import pathlib
import random
import re
import time
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.text import calculator, tokenizer
from distill_jax.text.calculator import INSIDE, INSIDE_AFTER_GREATER, OUTSIDE, OUTSIDE_AFTER_LESS
from distill_jax.text.exact_values import parse_value

MARK = re.compile(r"<<([^<>=]*)=([^<>=]*)>>")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("48/2", "24"),
        ("5-8", "-3"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("8-3-2", "3"),
        ("8/4/2", "1"),
        ("1-.5*.5", "0.75"),
        ("0.1+0.2", "0.3"),
        ("12.50+12.50", "25"),
        ("71+-3", "68"),
        ("5--3", "8"),
        ("-(2-5)", "3"),
        ("+7", "7"),
        (" 4 * ( 1 + 1 ) ", "8"),
        ("007", "7"),
        ("0*-1", "0"),
        ("1/3*3", "1"),
        ("100000*1000000", "100000000000"),  # 12 digits
        ("1/8192", None),  # 0.0001220703125: 14 digits
        ("1/1024", "0.0009765625"),
        ("(" * 16 + "1" + ")" * 16, "1"),
    ],
)
def test_value_by_hand(expression, expected):
    assert calculator.value(expression) == expected


MALFORMED = """+ - 2+ *2 2**3 7//2 1.2.3 5. . 1,000 $5 50% 3x4 2(3) (2 2) () 1e5 1_0 0x10 nan a ٣ ²
__import__('os')"""
NO_SHORT_DECIMAL = ["1/3", "1/0", "1/(2-2)", "1000000*1000000", "0.0000000000001"]
TOO_LONG = ["1+" * 32 + "1", "(" * 17 + "1" + ")" * 17, "-" * 17 + "1"]


@pytest.mark.parametrize(
    "expression", ["", " ", "2 3", "2\n+3", *MALFORMED.split(), *NO_SHORT_DECIMAL, *TOO_LONG]
)
def test_left_to_the_model(expression):
    assert calculator.value(expression) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <<48/2=", "24"),
        ("a <<48/2=2", "4"),
        ("a <<48/2=24", None),
        ("a <<48/2=24>>24", None),
        ("a <<48/2=3", None),
        ("a <<5-8=-", "3"),
        ("a <<5-8=", "-3"),
        ("<<5 + 8 = ", "13"),
        ("<<5 + 8 =", "13"),
        ("<<1=1>> <<2+2=", "4"),
        ("<<2+2==", None),
        ("<<2=2=", None),
        ("<<2+2", None),
        ("2+2=", None),
        ("<2+2=", None),
        ("<<<2+2=", "4"),
        ("<<2+<<2+2=", "4"),
        ("<<2>+2=", None),
        ("<<2+2=>", None),
        ("<<2+2\n=", None),
        ("<<2+2=\n", None),
        ("<<1/3=", None),
        ("<<=", None),
        ("", None),
    ],
)
def test_completion_by_hand(text, expected):
    assert calculator.completion(text) == expected


def test_worked_examples_of_docstrings():
    result = doctest.testmod(calculator)
    assert result.attempted > 0 and result.failed == 0


OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
NUMBERS = st.one_of(
    st.integers(0, 9999).map(str),
    st.from_regex(r"[0-9]{0,2}\.[0-9]{1,3}", fullmatch=True),
)
# (text, its value or None for a division by zero), every operand in parentheses or a number
TREES = st.recursive(
    NUMBERS.map(lambda text: (text, Fraction(text))),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: join(*parts)),
        inner.map(lambda tree: (f"-({tree[0]})", None if tree[1] is None else -tree[1])),
    ),
    max_leaves=6,
)


def join(left, sign, right):
    text = f"({left[0]}){sign}({right[0]})"
    if left[1] is None or right[1] is None or (sign == "/" and right[1] == 0):
        return text, None
    return text, OPERATORS[sign](left[1], right[1])


@settings(max_examples=500, deadline=None)
@given(TREES)
def test_value_of_expression_trees(tree):
    text, expected = tree
    result = calculator.value(text)
    if result is not None:
        assert Fraction(result) == expected
        assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", result) and result != "-0"
    elif expected is not None and len(text) <= calculator.MAX_LENGTH:
        whole = len(str(abs(int(expected))))  # digits before the point, at least the zero
        assert whole > 12 or (expected * 10 ** (12 - whole)).denominator != 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("+-*"))), st.integers(0, 99))
def test_products_before_sums_from_left_to_right(pairs, last):
    text = "".join(f"{number}{operator}" for number, operator in pairs) + str(last)
    result = calculator.value(text)
    if result is not None:
        terms = re.findall(r"([-+]?)([^-+]+)", text)
        products = [math.prod(map(int, factors.split("*"))) for _, factors in terms]
        signs = [-1 if sign == "-" else 1 for sign, _ in terms]
        assert int(result) == sum(map(operator.mul, signs, products))


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.text("0123456789.+-*/() <>=\n", max_size=80)))
def test_junk_never_raises(text):
    result = calculator.value(text)
    assert result is None or parse_value(result) is not None
    for start in ("", "<<"):
        added = calculator.completion(start + text)
        assert added is None or calculator.completion(start + text + added) is None


def test_long_junk_is_quick():
    began = time.process_time()
    for junk in ("<<" + "(" * 10**6, "<" * 10**6 + "=", "<<" + "1+" * 10**6 + "=", "=" * 10**6):
        assert calculator.completion(junk) is None
        assert calculator.value(junk[2:]) is None
    assert time.process_time() - began < 1


def scan(text):
    """The state after a text, and the inside of its open mark or None, by string methods."""
    text = text.rpartition("\n")[2]
    while True:
        before, opened, rest = text.partition("<<")
        if not opened:
            return (OUTSIDE_AFTER_LESS if before.endswith("<") else OUTSIDE), None
        inside, closed, after = rest.partition(">>")
        if not closed:
            return (INSIDE_AFTER_GREATER if inside.endswith(">") else INSIDE), inside
        text = after


PIECES = ["", "<", "<<", ">", ">>", "=", "=-", "=>", ">><<", "=>><<", ">>=<<3=", "2", "+3", "\n"]


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(range(len(PIECES))), max_size=12))
def test_table_agrees_with_a_scan_of_the_text(tokens):
    table = calculator.build_table(PIECES)
    assert table.next_state.dtype == "int8" and table.next_state.shape == (4, len(PIECES))
    assert table.fires.dtype == bool and table.fires.shape == (4, len(PIECES))
    state, text = OUTSIDE, ""
    asked = False  # since the open mark began
    for token in tokens:
        fires = table.fires[state, token]
        state, text = table.next_state[state, token], text + PIECES[token]
        expected_state, inside = scan(text)
        assert state == expected_state
        length = len(PIECES[token])
        assert fires == (length > 0 and inside is not None and "=" in inside[-length:])
        asked = fires or (asked and inside is not None)
        assert asked or calculator.completion(text) is None


def test_texts_of_the_tokens_of_a_trained_tokenizer():
    trained = tokenizer.train_tokenizer(["5 + 8 = <<5+8=13>>13 é"] * 3, 300)
    texts = trained.token_texts()
    assert len(texts) == trained.size
    assert texts[trained.end_of_text] == texts[trained.end_of_turn] == ""
    (tokens,) = trained.encode(["5 + 8 = <<5+8=13>>13"])
    assert "".join(texts[token] for token in tokens) == "5 + 8 = <<5+8=13>>13"


@pytest.fixture(scope="module")
def data():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds gsm8k/train.jsonl")
    return pathlib.Path(root)


def solutions(data, split):
    lines = (data / "gsm8k" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["answer"] for line in lines]


def judge(expression, written):
    result = calculator.value(expression)
    if result is None:
        return "left to the model"
    if result == written:
        return "same text"
    return "same value" if parse_value(result) == parse_value(written) else "other value"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", {"same text": 23047, "same value": 667, "left to the model": 2}),
        ("test", {"same text": 4126, "same value": 156}),
    ],
)
def test_all_marks_of_gsm8k(data, split, expected):
    answers = solutions(data, split)
    marks = [mark for answer in answers for mark in MARK.findall(answer)]
    assert len(marks) == sum(answer.count("<<") for answer in answers)
    assert Counter(judge(*mark) for mark in marks) == expected


def test_gpt2_tokens_fire_once_in_every_mark_of_gsm8k(data):
    gpt2 = tokenizer.load_tokenizer(str(data / "gpt2_tokenizer"))
    texts = gpt2.token_texts()
    table = calculator.build_table(texts)
    # 51 tokens hold an `=`; outside of a mark none fires, not even with `<<` in the same token.
    assert table.fires.sum(axis=1).tolist() == [0, 0, 51, 51]
    answers = random.Random(0).sample(solutions(data, "test"), 300)
    for answer, tokens in zip(answers, gpt2.encode(answers), strict=True):
        state, written, filled = OUTSIDE, "", []
        for token in tokens:
            fires, state = table.fires[state, token], table.next_state[state, token]
            written += texts[token]
            if fires:
                filled.append(written.rpartition("<<")[2] + calculator.completion(written))
        marks = MARK.findall(answer)
        assert filled == [f"{mark}={calculator.value(mark)}" for mark, _ in marks]
