"""When an answer is right: kinds of inputs, and what holds for all of them."""

import collections
import json
import os
import pathlib
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distill_jax.tasks import gsm8k, jsonl, strategyqa, svamp
from distill_jax.tasks.grading import grade_number, grade_text, grade_yes_no, parse_value
from distill_jax.teacher.answer_text import LONGEST_ANSWER, answer_text
from distill_jax.text.exact_values import format_value, last_number, single_number
from distill_jax.text.quantities import SYNONYMS, same_around, words_around
from distill_jax.text.spelling import plain
from distill_jax.text.yes_no import said

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "answers.jsonl"
GRADERS = {
    "number": grade_number,
    "yes_no": grade_yes_no,
    "jsonl": jsonl.grade,
    "gsm8k": gsm8k.grade,
    "svamp": svamp.grade,
    "strategyqa": strategyqa.grade,
}
ONE_LINE = st.text(
    alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40
).filter(str.strip)
ANSWERS = ONE_LINE | st.text(alphabet="0123456789.,:/-+$%()*=x '\"\\{}^½²", min_size=1, max_size=12)


def read_cases(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def wrong(cases):
    return [
        case
        for case in cases
        if GRADERS[case["task"]](case["completion"], case["answer"]).scores["normalised"]
        is not case["right"]
    ]


def test_answers_of_every_kind():
    cases = read_cases(FIXTURE)
    assert wrong(cases) == []
    kinds = collections.Counter((case["kind"], case["right"]) for case in cases)
    assert len(kinds) >= 9 and min(kinds.values()) >= 3


def test_given_cases():
    path = pathlib.Path(os.environ.get("DISTILL_JAX_DATA", "")) / ".." / "cases" / "grading.jsonl"
    if not os.environ.get("DISTILL_JAX_DATA") or not path.exists():
        pytest.skip("no ../cases/grading.jsonl beside the folder that DISTILL_JAX_DATA names")
    assert wrong(read_cases(path)) == []


@given(ANSWERS)
def test_an_answer_equal_letter_for_letter_is_right(answer):
    answer = answer.strip() or "a"
    if "####" in answer or len(answer.splitlines()) != 1:
        answer = "a"
    for grade in (jsonl.grade, grade_number, grade_text, grade_yes_no):
        for completion in (f"#### {answer}", f"So it is.\n{answer}"):
            assert grade(completion, answer).scores["normalised"], grade


@given(ANSWERS)
@example("1\\)¼")  # not 11/4
@example("1\\!¼")
@example("½\\)\\(3")
def test_what_a_teacher_repeats_is_right_after_it_was_cleaned(answer):
    answer = " ".join(answer.split()) or "a"
    kept = answer_text(answer)
    if kept is not None and "####" not in answer and len(answer.splitlines()) == 1:
        # Without its markup it may be another kind of answer only if it is markup and nothing else.
        assert jsonl.grade(f"#### {kept}", answer).scores["normalised"]
    assert kept is not None or not any(c.isalnum() for c in answer) or len(answer) > LONGEST_ANSWER


@given(ANSWERS, ANSWERS)
def test_both_sides_are_read_in_the_same_way(one, other):
    """Of text and of bare numbers: who is called the student makes no difference."""
    one, other = one.strip() or "a", other.strip() or "a"
    if "####" in one + other or len(one.splitlines()) + len(other.splitlines()) != 2:
        one = other = "a"
    there = grade_text(f"#### {one}", other)
    assert there.prediction == one
    assert there.scores["normalised"] == grade_text(f"#### {other}", one).scores["normalised"]
    if parse_value(one) is not None and parse_value(other) is not None:
        there, back = jsonl.grade(f"#### {one}", other), jsonl.grade(f"#### {other}", one)
        assert there.scores["normalised"] == back.scores["normalised"]


DECORATIONS = (
    *("{}", "**{}**", "${}", "{} km", "{}%", "({})", '"{}"', "\\boxed{{{}}}", "\\({}\\)", "`{}`"),
    *("about {}", "= {}", "{}.", "{} red apples", "€{}", "{} €", "\\text{{{}}}", "${}$", "~{}"),
    *("{}\u00b2", "{}\u00b3", "{}k", "{}K", "{} dozen", "{} million", "{} thousand", "{}\u00bd"),
    *("minus {}", "negative {}", "-{}", "\u2010{}", "\u2011{}", "\u2212{}", "\u2014{}", "- {}"),
    *(
        "{}\\frac{{1}}{{2}}",
        "{} 1/2",
        "{} and a half",
        "{}:30",
        "{}-5",
        "{}/7",
        "{} \\times 10^{{3}}",
    ),
    *("{}e3", "{},5", "{}_2", "{}^2", "\u221a{}", "2{}", "{}\u03c0", "half of {}", "{} hundredths"),
    *("x{}", "0x{}", "{}-1/2", "{} below zero", "{}\u4e07", "5 - {}", "5 minus {}", "{}'000"),
)
# What these make of a number n; None: it cannot be read. The others leave it as it is.
MEANT = {
    **{"{}\u00b2": lambda n: n * n, "{}^2": lambda n: n * n, "{}\u00b3": lambda n: n**3},
    **dict.fromkeys(
        ("{}k", "{}K", "{} thousand", "{} \\times 10^{{3}}", "{}e3"), lambda n: 1000 * n
    ),
    **{
        "{} dozen": lambda n: 12 * n,
        "{} million": lambda n: 10**6 * n,
        "{}'000": lambda n: 1000 * n,
    },
    **dict.fromkeys(
        ("{}\u00bd", "{}\\frac{{1}}{{2}}", "{} 1/2", "{} and a half"), lambda n: n + Fraction(1, 2)
    ),
    **dict.fromkeys(
        ("minus {}", "negative {}", "-{}", "\u2010{}", "\u2011{}", "\u2212{}", "\u2014{}", "- {}"),
        lambda n: -n,
    ),
    **{
        "{} below zero": lambda n: -n,
        "{}/7": lambda n: Fraction(n, 7),
        "{}\u4e07": lambda n: 10**4 * n,
    },
    **{"2{}": lambda n: int(f"2{n}")},
    **dict.fromkeys(("{}:30", "{}-5", "{},5", "{}_2", "\u221a{}", "{}\u03c0", "half of {}"), None),
    **dict.fromkeys(("{} hundredths", "x{}", "0x{}", "{}-1/2", "5 - {}", "5 minus {}"), None),
}


@given(st.integers(1, 999), st.sampled_from(DECORATIONS))
def test_a_number_with_any_decoration_is_the_value_meant_or_nothing(number, decoration):
    text = decoration.format(number)
    meant = MEANT.get(decoration, lambda n: n)
    allowed = {None} if meant is None else {None, Fraction(meant(number))}
    if decoration == "5 - {}" or decoration == "5 minus {}":
        allowed |= {Fraction(5 - number)}
    for read in (single_number, last_number):
        found = read(text)
        assert (None if found is None else found[1].value) in allowed, (text, read)
    assert parse_value(text) in allowed
    prediction = grade_number(f"#### {text}", "1").prediction
    assert (None if prediction is None else parse_value(prediction)) in allowed


DIGITS = [chr(zero) for zero in range(0x80, 0x1FFFF) if unicodedata.decimal(chr(zero), -1) == 0]


@given(st.integers(0, 10**6), st.sampled_from(DIGITS))
def test_digits_of_every_script(number, zero):
    text = "".join(chr(ord(zero) + int(digit)) for digit in str(number))
    assert parse_value(text) == number
    assert grade_number(f"#### {text}", str(number)).scores["normalised"]


@given(st.integers(1, 10**9), st.sampled_from(["'", "\u2019", "{,}", "\\,", "\u2009", ","]))
def test_thousands_in_many_spellings(number, separator):
    text = f"{number:,}".replace(",", separator)
    assert parse_value(text) == number


@given(st.integers(1, 999), st.integers(1, 9), st.integers(2, 9), st.sampled_from("dtc "))
def test_mixed_fractions_of_latex(whole, over, under, kind):
    text = f"{whole}\\{kind.strip()}frac{{{over}}}{{{under}}}"
    assert parse_value(text) == (whole + Fraction(over, under) if over < under else None)
    assert parse_value(f"\\frac{{{over}}}{{{under}}}") == Fraction(over, under)


@given(ONE_LINE | st.text(alphabet="\\frac{}12$^_*x ", max_size=60))
def test_spelling_never_raises_and_leaves_plain_numbers(text):
    assert isinstance(plain(text), str)
    said(text)
    assert plain("-12.5") == "-12.5"


def test_units_of_the_table_are_the_same_and_those_of_other_lines_are_not():
    lines = [line.split() for line in SYNONYMS.strip().split("\n")]

    def read(word):
        return words_around("", "", word) if "$" in word else words_around("", f" {word}")

    words = {line[0]: [read(word) for word in line] for line in lines}
    for meaning, same in words.items():
        for one in same:
            assert same_around(same[0], one), (meaning, one)
    others = [(one, other) for one in lines for other in lines if not {*one} & {*other}]
    for one, other in others:
        assert not same_around(words_around("", f" {one[0]}"), words_around("", f" {other[0]}"))


def test_the_table_of_units_stands_in_the_page():
    page = (pathlib.Path(__file__).parents[1] / "docs" / "evaluating.md").read_text("utf-8")
    missing = [line for line in SYNONYMS.strip().split("\n") if line not in page]
    assert missing == []


def test_answers_are_shown_as_they_were_written():
    assert jsonl.grade("#### **Thursday**", "thursday").prediction == "**Thursday**"
    assert jsonl.grade("It is\nThursday.", "thursday").prediction == "Thursday."
    assert format_value(parse_value("3 dozen") or Fraction(0)) == "36"


@pytest.mark.parametrize(
    "piece", ["\\frac{", "$a", "**", "(", "1 and ", "\\text{", "no ", "a.b.", "1 = "]
)
def test_answers_of_any_length_take_linear_time(piece):
    text = piece * 20_000
    for grade in (jsonl.grade, grade_number, grade_yes_no):
        grade(f"#### {text}", "New York")
        grade(text, "7")


@pytest.mark.parametrize(
    ("said", "known", "right"),
    [
        ("120 sq. ft.", "120 square feet", True),
        ("120 sq.ft.", "120 sq ft", True),
        ("120 cu. ft.", "120 cubic feet", True),
        ("60 mi. per hr.", "60 mph", True),
        ("120 sq. m.", "120 sq. ft.", False),
        ("120 sq. km", "120 sq. in.", False),
        ("120 cu. ft.", "120 cu. m", False),
        ("120 ft. Then he rests.", "120 feet", True),
    ],
)
def test_a_full_stop_of_an_abbreviation_ends_no_clause(said, known, right):
    for one, other in ((said, known), (known, said)):
        assert jsonl.grade(f"#### {one}", other).scores["normalised"] is right
