"""The answer as Ho et al. read it: their rules, worked out by hand, both ways."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.tasks import gsm8k, strategyqa, svamp
from distill_jax.text import cleansing
from distill_jax.text.formats import FINE_TUNE_COT


def score(grade, text, answer, lone=False):
    return grade(FINE_TUNE_COT.marked(text, lone=lone), answer).scores["fine_tune_cot"]


@pytest.mark.parametrize(
    ("text", "answer", "as_text", "as_floats"),
    [
        # The mark is there: the first number behind it, wherever it stands.
        (" 48/2 = 24 --> 72", "72", True, True),
        (" 48/2 = 24 --> 72 apples of 80", "72", True, True),
        (" 48/2 = 24 --> 80 of 72", "72", False, False),
        (" 1 --> 72 --> 80", "72", True, True),
        (" 1 --> 72 --> 80", "80", False, False),
        (" 1 -->72", "72", True, True),
        (" 1 --> about\n72", "72", True, True),
        (" 72 --> many", "72", False, False),
        (" 1 --> $1,234.50", "1234.50", True, True),
        (" 1 --> 1,234", "1,234", True, True),
        # Nothing before the digits but their sign, wherever it comes from.
        (" 1 --> 80-72", "80", True, True),
        (" 1 --> x-72", "-72", True, True),
        (" 1 --> -3", "-3", True, True),
        (" 1 --> .5", "5", True, True),
        (" 1 --> 7.", "7", True, True),
        # It is missing: the last number of all.
        (" 48/2 = 24 so 72", "72", True, True),
        (" 72 - 24 is many", "72", False, False),
        (" ### 72", "72", True, True),
        (" none", "72", False, False),
        ("", "72", False, False),
        # Text is compared for GSM8K, floats for SVAMP.
        (" 1 --> 72.0", "72", False, True),
        (" 1 --> 072", "72", False, True),
        (" 1 --> 0.3333333", "0.33333333", False, True),
        (" 1 --> 0.33333", "0.33333333", False, False),
    ],
)
def test_numbers(text, answer, as_text, as_floats):
    assert score(gsm8k.grade, text, answer) is as_text
    assert score(svamp.grade, text, answer) is as_floats


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        (" Ice is cold. No doubt. --> yes", "yes", True),
        (" --> Yes. Or no", "yes", True),
        (" --> no, yes", "yes", False),
        (" --> true", "yes", False),
        (" --> yes!", "yes", False),  # an exclamation mark is none of the signs left out
        (" yes and: 'no'", "no", True),
        (" no\nyes", "yes", True),
        (" nothing", "no", False),
    ],
)
def test_yes_and_no(text, answer, expected):
    assert score(strategyqa.grade, text, answer) is expected


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [(" 72", "72", True), (" 72 or 80", "72", True), (" 80 or 72", "72", False), ("", "72", False)],
)
def test_an_answer_without_reasoning_is_the_first_number(text, answer, expected):
    """No mark is defined in this template: the first candidate."""
    assert score(gsm8k.grade, text, answer, lone=True) is expected


def test_our_own_mark_is_read_the_same_way():
    assert gsm8k.grade("80\n#### 72 of 90", "72").scores["fine_tune_cot"]
    assert gsm8k.grade("80 or 72", "72").scores["fine_tune_cot"]


@given(st.text())
def test_any_text_gets_a_grade(text):
    for grade, answer in ((gsm8k.grade, "72"), (svamp.grade, "72"), (strategyqa.grade, "no")):
        assert score(grade, text, answer) in (True, False)


@given(st.text(alphabet="0123456789.- ,a>#\n", max_size=30), st.booleans(), st.text(max_size=9))
def test_the_same_as_the_rule_told_otherwise(behind, marked, before):
    """Written as the papers describe it: cut at the mark, list the candidates, take one."""
    text = f"{before}-->{behind}" if marked else behind.replace("-->", "")
    place = text.find("-->")
    listed = cleansing.numbers(text if place < 0 else text[place + 3 :])
    wanted = None if not listed else listed[-1] if place < 0 else listed[0]
    if "####" not in text:
        for number in {"7", *listed}:
            assert score(gsm8k.grade, text, number) is (wanted == number)


def test_worked_examples_of_docstrings():
    result = doctest.testmod(cleansing)
    assert result.attempted == 3 and result.failed == 0
