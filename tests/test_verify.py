"""What may be trained on: answers, steps, calculator marks; copies; questions of the evaluation."""

import os
import pathlib
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.annotations import leaks
from distill_jax.annotations.duplicates import NEAR, drop_duplicates
from distill_jax.annotations.leaks import WORDS, Leaks, most_alike
from distill_jax.annotations.summary import summarise, table
from distill_jax.annotations.verify import (
    has_false_equation,
    names_no_answer,
    reject,
    verify,
)
from distill_jax.records import Annotation, Problem, Step
from distill_jax.tasks import gsm8k
from distill_jax.tasks.grading import grade_number
from distill_jax.text import false_equations as module
from distill_jax.text.false_equations import false_equations, false_marks
from distill_jax.text.questions import normalised, without_numbers
from distill_jax.text.written_equations import chains

PROBLEM = Problem("t/train/0", "What is 2 + 2?", "4", "train")


def annotation(solution="2+2 = <<2+2=4>>4", answer="4", question="What is it?", name="t/train/0"):
    return Annotation(name, PROBLEM.question, answer, (Step(question, solution),), {"kind": "gold"})


@pytest.mark.parametrize(
    ("changed", "reason", "detail"),
    [
        ({}, None, None),
        ({"answer": "4.0"}, None, None),
        ({"answer": "$4 dollars"}, None, None),
        ({"question": None}, None, None),
        ({"answer": "5"}, "wrong answer", "answer '5' is not '4'"),
        ({"solution": " \n"}, "empty step", "empty solution"),
        ({"question": " "}, "empty step", "empty subquestion"),
        ({"solution": "<<2+2=5>>5 so 4"}, "false calculation", "<<2+2=5>> is not true"),
        ({"name": "t/train/1"}, "unknown problem", "no problem has the id 't/train/1'"),
    ],
)
def test_reasons(changed, reason, detail):
    kept, rejected = verify([annotation(**changed)], [PROBLEM], grade_number)
    assert len(kept) + len(rejected) == 1
    assert all(each.answer == "4" for each in kept)
    assert [(each.reason, each.detail) for each in rejected] == (
        [(reason, detail)] if reason else []
    )


@pytest.mark.parametrize(
    ("solution", "answer", "found"),
    [
        ("2+2 = <<2+2=4>>4", "4", False),
        ("That is $1,080.00.", "1080", False),
        ("4 and then 5", "4", False),  # named, if not at the end
        ("2+2 = <<2+2=4>>4", "5", True),
        ("0.50-0.25 = $0.25", "25", True),
        ("So they are as many.", "5", True),
        ("So they are as many.", "yes", False),
        ("It is 4", "four", False),
        ("So the answer is no.", "yes", True),
        ("So it is true.", "yes", False),
        ("So it is Monday.", "Sunday", True),
        ("So it is **Sunday**.", "sunday", False),
        ("Two days after it is 25 December", "25 December", False),
    ],
)
def test_a_last_step_that_does_not_name_the_answer(solution, answer, found):
    assert names_no_answer(annotation(solution, answer)) is found


def test_answers_alone_name_no_steps():
    assert not names_no_answer(Annotation("t/train/0", "q", "4", (), {"kind": "gold"}))


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("<<48/2=24>>24", []),
        ("<<48/2=25>>25", ["<<48/2=25>>"]),
        ("<<10/3=3.33>>", []),
        ("<<10/3=3.34>>", ["<<10/3=3.34>>"]),
        ("<<7/2=4>>", ["<<7/2=4>>"]),
        ("<<7/2=3.5>>", []),
        ("<<2/3=.67>>", []),
        ("<<1000*2=2,000>>", []),
        ("<<2x=4>> <<=4>> <<4=>> <<1/0=3>>", []),
        ("<<3-5=-2>> <<5=5>>", []),
        ("<<1+1=3>> and <<2+2=4>> and <<2*2=5>>", ["<<1+1=3>>", "<<2*2=5>>"]),
    ],
)
def test_false_marks(text, false):
    assert false_marks(text) == false


@pytest.mark.parametrize("solution", ["2*2*3 = 8*4 = 24, so 4", "2 + 2 = 5 - 0, so 4"])
def test_false_equations_of_the_text_are_rejected_or_counted(solution):
    kept, rejected = verify([annotation(solution)], [PROBLEM], grade_number, equations="reject")
    assert kept == [] and rejected[0].reason == "false calculation"
    kept, rejected = verify([annotation(solution)], [PROBLEM], grade_number, equations="count")
    assert len(kept) == 1 and has_false_equation(kept[0])
    assert not has_false_equation(annotation("2 + 2 = 2 * 2 = 4"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2*2*3 = 8*4 = 24", ["2*2*3 = 8*4", "8*4 = 24"]),
        ("2*4 = 8*3 = 24", []),  # it goes on from the 8
        ("6 + 2 = 4 * 2", []),
        ("6 + 2 = 4 * 3", ["6 + 2 = 4 * 3"]),
        ("7 / 2 = 3 R 1", []),
        ("7 / 2 = 3 with a remainder of 1", []),
        ("10 / 3 = 3 (rounded down)", []),
        ("10 + 4 = 2 pm", []),
        ("45 + 15 = 1 hour", []),
        ("45 + 15 = 70 minutes", ["45 + 15 = 70"]),
        ("3 / 4 = 75 percent", []),
        ("√16 + 2 = 6", []),
        ("12 x 1 and 1/4 = 15", []),
        ("0900-0130 = 0730", []),
        ("weeks 1-2 = 96 - 70", []),
        ("15 / 2 = 7½ hours", []),
        ("25 + 24 = 7²", []),
        ("8 + 8 = 2⁴ = 16", []),
        ("15 / 2 = 7 ½ hours", []),
        ("15 / 2 = 7 hours", ["15 / 2 = 7"]),
    ],
)
def test_chains_of_equations(text, expected):
    assert false_equations(text) == expected


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(1, 6))
def test_a_value_rounded_to_the_decimals_it_has_is_true_and_the_next_one_is_false(a, b, places):
    exact = Fraction(a, b)
    rounded = round(exact * 10**places)
    whole, part = divmod(rounded, 10**places)
    assert false_marks(f"<<{a}/{b}={whole}.{part:0{places}d}>>") == []
    whole, part = divmod(rounded + 2, 10**places)
    assert len(false_marks(f"<<{a}/{b}={whole}.{part:0{places}d}>>")) == 1


def test_no_mark_of_gsm8k_is_false():
    if "DISTILL_JAX_DATA" not in os.environ:
        pytest.skip("DISTILL_JAX_DATA is not set")
    directory = str(pathlib.Path(os.environ["DISTILL_JAX_DATA"]) / "gsm8k")
    problems = gsm8k.load("train", directory=directory)
    annotations = gsm8k.load_annotations("train", directory=directory)
    kept, rejected = verify(annotations, problems, gsm8k.grade)
    assert len(kept) == 7473 and rejected == []
    assert sum(map(names_no_answer, kept)) == 18  # looked at: mistakes, and cents for dollars
    # Nor is a question of the test split among them, whatever its numbers; and none is near.
    leaks = Leaks(gsm8k.load("test", directory=directory), templated=False, most=1.0)
    kept, rejected, overlaps = leaks.drop(kept)
    assert len(kept) == 7473 and rejected == []
    assert 0 < len(overlaps) < 1500


def several(*texts):
    return [annotation(text) for text in texts]


def test_copies_of_one_problem_are_dropped_and_others_kept():
    long = "First we add the two numbers that are given and so we get four apples in all: "
    texts = [
        "2+2 = 4",
        "2 + 2 =  4.",  # but for white space and punctuation
        "2+2 = 5",
        long + "2+2",
        long + "2+2!",
        long.replace("apples", "pears") + "2+2",
    ]
    kept, rejected = drop_duplicates(several(*texts))
    assert [a.steps[0].solution for a in kept] == [texts[0], texts[2], texts[3]]
    assert [each.reason for each in rejected] == ["duplicate", "duplicate", "near duplicate"]
    kept, rejected = drop_duplicates(several(*texts), most=2)
    assert [a.steps[0].solution for a in kept] == [texts[0], texts[2]]
    assert [each.reason for each in rejected].count("more than wanted") == 3
    other = annotation("2+2 = 4", name="t/train/1")
    assert drop_duplicates([*several("2+2 = 4"), other], most=1)[1] == []


def test_near_is_the_share_of_word_pairs_in_common():
    words = [f"w{n}" for n in range(21)]  # 20 pairs
    for changed in range(21):
        # A changed end makes one pair of 20 another one: the union then has one more.
        other = [*words[: 21 - changed], *(f"x{n}" for n in range(changed))]
        share = (20 - changed) / (20 + changed)
        _, rejected = drop_duplicates(several(" ".join(words), " ".join(other)))
        assert bool(rejected) == (share >= NEAR or changed == 0)


def leaks_of(questions, test, most=1.0, templated=False):
    problems = [Problem(f"t/test/{i}", q, "1", "test") for i, q in enumerate(test)]
    asked = [
        Annotation(f"t/train/{i}", q, "1", (Step(None, "1"),), {"kind": "gold"})
        for i, q in enumerate(questions)
    ]
    return Leaks(problems, templated=templated, most=most).drop(asked)


def test_leaks_by_hand():
    test = ["Ann has 3 apples and 1,250 pears.  How many?", "Why?"]
    questions = [
        "ann has 3 APPLES and 1,250 pears. How many?",
        "Ann has 17 apples and 2.5 pears. How many?",
        "Ann has three apples and 1,250 pears. How many?",
        "Why not?",
    ]
    kept, rejected, overlaps = leaks_of(questions, test)
    assert [a.id for a in kept] == ["t/train/2", "t/train/3"] and overlaps == []
    assert [(each.id, each.reason, each.detail) for each in rejected] == [
        ("t/train/0", "leak", "the question of t/test/0"),
        ("t/train/1", "leak with other numbers", "the question of t/test/0 with other numbers"),
    ]
    kept, rejected, _ = leaks_of(questions, test, templated=True)
    assert [each.id for each in rejected] == ["t/train/0"] and len(kept) == 3


def test_overlaps_are_listed_with_their_share_and_dropped_above_a_threshold():
    shared = "one two three four five six seven eight nine"  # 9 words: two stretches of 8
    questions = [shared + " " + " ".join(f"w{n}" for n in range(9)), "quite another question " * 4]
    test = ["x " + shared + " y", shared.rpartition(" ")[0]]
    kept, rejected, [overlap] = leaks_of(questions, test)
    assert len(kept) == 2 and not rejected
    assert (overlap.id, overlap.evaluation_id, overlap.share) == ("t/train/0", "t/test/0", 0.5)
    assert leaks_of(questions, test, most=0.5)[1] == []
    _, [dropped], [_] = leaks_of(questions, test, most=0.49)
    assert dropped.reason == "overlap" and dropped.detail == "50% of its words stand in t/test/0"


def test_shares_equal_those_of_a_slow_search():
    rng = random.Random(0)
    draw = lambda: [rng.choice("abc") for _ in range(rng.randint(3, 30))]  # noqa: E731
    train, test = [draw() for _ in range(30)], [draw() for _ in range(30)]
    _, _, overlaps = leaks_of([" ".join(q) for q in train], [" ".join(q) for q in test])
    found = {overlap.id: (overlap.share, overlap.evaluation_id) for overlap in overlaps}
    same = {tuple(q) for q in test}
    for number, question in enumerate(train):
        best = (0, "")
        for place, other in enumerate(test):
            covered = {
                i + k
                for i in range(len(question) - WORDS + 1)
                for j in range(len(other) - WORDS + 1)
                if question[i : i + WORDS] == other[j : j + WORDS]
                for k in range(WORDS)
            }
            best = max(best, (len(covered), f"t/test/{place}"))
        if tuple(question) not in same:
            expected = (round(best[0] / len(question), 4), best[1]) if best[0] else (0, "")
            assert found.get(f"t/train/{number}", (0, "")) == expected


def test_the_overlaps_that_are_listed_are_those_of_the_largest_shares(monkeypatch):
    monkeypatch.setattr(leaks, "LISTED", 2)
    overlaps = [
        leaks.Overlap(str(n), "t/0", share, "", "") for n, share in enumerate([0.5, 0.2, 0.5])
    ]
    assert [each.id for each in most_alike(overlaps)] == ["0", "2"]
    assert [each.id for each in most_alike([*overlaps, *overlaps])] == ["0", "2"]
    assert most_alike(overlaps[:2]) == overlaps[:2]


_QUESTION = st.lists(
    st.sampled_from(
        [*"abA1_ .,/", "12", "\u201c", "\u00e9", "\uff11", "\u0661", "\u00a0", "\u00bd"]
    ),
    max_size=8,
).map("".join)


@settings(max_examples=300)
@given(_QUESTION, _QUESTION)
def test_questions_with_other_numbers_are_found_whatever_their_characters(question, known):
    """Most are seen to differ by their letters alone, and must not be the same all the same."""
    _, rejected, _ = leaks_of([question], [known])
    texts = [normalised(text) for text in (question, known)]
    masks = [without_numbers(text) for text in texts]
    reason = "leak with other numbers" if masks[0] == masks[1] else None
    reason = "leak" if texts[0] == texts[1] else reason
    assert [each.reason for each in rejected] == ([reason] if reason else [])


_PIECES = [
    *("5 + 3 = 8", "5+3 = 8", "8 / 2 = 4", "9 - 3 = 6", "5 + 3 = 9", "7 / 2 = 3", "$5 + $3 = $8"),
    *("<<5+3=8>>8", "<<5+3=9>>9", "<<12/4=3>>3", "= 16", "4", "x", "times", "half of", "So"),
    *("apples", "a", "I", ".", ",", ". ", "(", "-", "*", "\n", "%", "1,000 + 1 = 1001", "=", "1/2"),
    *("3 R 1", "am"),
]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(_PIECES), max_size=7), st.sampled_from([" ", ""]))
def test_equations_that_are_plainly_true_need_not_be_taken_apart(pieces, between):
    text = between.join(pieces)
    by_itself = false_marks(text) + [
        equation.written for equation, after in chains(text) if module._is_refuted(equation, after)
    ]
    assert false_equations(text) == by_itself


def test_most_true_equations_are_plainly_true():
    """Those of the built-in task, and GSM8K's way of writing them."""
    for text in ("8 / 2 = 4", "So 5 * 3 = <<5*3=15>>15 apples", "5 + 3 = 8, then 8 - 2 = 6."):
        assert module._are_plainly_true(text)
    assert not module._are_plainly_true("4 x 5 + 3 = 8")


def test_the_summary_counts_by_reason_task_and_steps():
    two = annotation(name="a/train/1")
    two = Annotation(two.id, two.question, "4", two.steps * 2, {"kind": "teacher", "model": "m"})
    rejected = [reject(annotation(name="a/train/2"), "wrong answer", "")] * 2
    summary = summarise([annotation(), two], rejected)
    assert summary["steps"] == {"1": 1, "2": 1}
    assert summary["sources"] == {"gold": 1, "teacher m": 1}
    assert table(summary).split("\n") == [
        "         kept  wrong answer",
        "a/train     1             2",
        "t/train     1             0",
        "",
        "steps  1  2",
        "kept   1  1",
    ]
