"""Answers to questions with choices: letter, brackets, text, and how the paper reads them."""

import pytest

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step
from distill_jax.tasks.multiple_choice import (
    Choices,
    grade_choice,
    read_choice,
    read_choices,
    without_letter,
    written,
)

QUESTION = "Who has it? Answer choices: (A) Ann, (B) Bo, of Rome, (C) nobody."
BALL = "(B) white ball"


def test_a_question_is_taken_apart_and_put_together():
    choices = read_choices(QUESTION, "row 1")
    assert choices == Choices("Who has it?", {"A": "Ann", "B": "Bo, of Rome", "C": "nobody"})
    assert written(choices) == QUESTION
    assert choices.known_answer("B", "row 1") == "(B) Bo, of Rome"
    assert (choices.letter_of("nobody"), choices.letter_of("Bo")) == ("C", None)
    with pytest.raises(UserError, match=r"^row 1: field 'answer': 'D' is none of A, B, C$"):
        choices.known_answer("D", "row 1")


@pytest.mark.parametrize("wrong", ["Who?", "Who? Answer choices: (B) x.", "Answer choices: A, B."])
def test_a_question_without_choices_is_refused(wrong):
    with pytest.raises(UserError, match=r"row 7: field 'question' does not end with Answer choice"):
        read_choices(wrong, "row 7")


@pytest.mark.parametrize(
    "said",
    [
        *("B", "(B)", "b", "(b)", "B.", "B)", "B:", "**B**", '"B"', "$B$", "\\boxed{B}", " B \n"),
        *("(B) white ball", "B) white ball", "B: the white one", "(B) orange ball"),
        *("white ball", "White  Ball.", "**white ball**", "The answer is (B).", "answer: B"),
        *("choice B", "Option (B)", "I think it is (B), the white ball"),
    ],
)
def test_these_say_b(said):
    assert grade_choice(f"So\n#### {said}", BALL).scores["normalised"]
    assert not grade_choice(f"So\n#### {said}", "(C) red ball").scores["normalised"]


@pytest.mark.parametrize(
    "said",
    [
        *(
            "",
            "A",
            "(A) white ball",
            "(A) or (B)",
            "A white ball",
            "ball",
            "Balls",
            "no white ball",
        ),
        *("1", "(1)", "white", "the answer is A", "both (A) and (B)"),
        *(
            "B, C",
            "B. C.",
            "B) or C)",
            "(B) and C",
            "B/C",
            "not (B)",
            "(B) is wrong",
            "B is not it",
        ),
    ],
)
def test_these_do_not_say_b(said):
    assert not grade_choice(f"#### {said}", BALL).scores["normalised"]


def test_a_text_that_begins_with_letters_and_dots_is_a_text():
    assert grade_choice("#### U.S. army", "(C) U.S. army").scores["normalised"]
    assert grade_choice("#### B, not A", BALL).scores["normalised"]
    assert grade_choice("#### It is not sure, but (B)", BALL).scores["normalised"]


def test_the_letter_alone_may_be_the_known_answer():
    assert grade_choice("#### (B) white ball", "B").scores["normalised"]
    assert not grade_choice("#### white ball", "B").scores["normalised"]
    assert grade_choice("#### B", "(B)").scores["normalised"]


def test_an_article_is_not_a_letter():
    assert read_choice("#### A dog") == "A dog"
    assert grade_choice("#### A dog", "(C) a dog").scores["normalised"]
    assert not grade_choice("#### A dog", "(A) cat").scores["normalised"]


@pytest.mark.parametrize(
    ("said", "strict", "flexible", "cleansed"),
    [
        # With the mark the first candidate counts, without it the last one.
        ("It is (A).\n#### (B) white ball", True, True, True),
        ("It is (A).\n#### B, not A", True, False, True),
        ("Not A. It is B", False, True, True),
        ("The ball is (B). An end", False, True, False),  # the A of An, as in the paper's code
        ("#### white Ball", False, False, True),  # the B of Ball: a hit by accident
        ("#### b", False, False, False),
        ("#### (B)\n#### (A)", True, False, True),
    ],
)
def test_the_other_extractors(said, strict, flexible, cleansed):
    scores = grade_choice(said, BALL, letters="ABC").scores
    assert (scores["strict"], scores["flexible"], scores["fine_tune_cot"]) == (
        strict,
        flexible,
        cleansed,
    )


def test_only_the_letters_of_the_task_are_candidates():
    """Six choices for dates, three for objects, as in the authors' table."""
    said = "D or B"
    assert grade_choice(f"#### {said}", "(B) x", letters="ABC").scores["fine_tune_cot"]
    assert not grade_choice(f"#### {said}", "(B) x", letters="ABCDEF").scores["fine_tune_cot"]


def test_known_answers_are_right_and_nothing_raises():
    for answer in ("(A) Ann", "(J) ten", "B", "(C) 05/01/2021", "free text", "("):
        assert grade_choice(f"#### {answer}", answer).scores["normalised"], answer
        for text in ("", "\0", "(" * 5000, "#### " + ")" * 5000, "answer: " * 800, "A" * 9000):
            grade_choice(text, answer)


def lettered(answer, last="Bo: (B) Bo, of Rome."):
    return Annotation("x/0", QUESTION, answer, (Step("Who?", "(B) or not."), Step("So?", last)), {})


@pytest.mark.parametrize("answer", ["(B) Bo, of Rome", "B", "(B)"])
def test_an_answer_becomes_the_text_of_its_choice(answer):
    """In the last solution, too; a solution before it may speak of letters."""
    assert without_letter(lettered(answer)) == lettered("Bo, of Rome", "Bo: Bo, of Rome.")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (QUESTION, "(D) Dan"),  # no choice
        (QUESTION, "(B) Ann"),  # the text of another one
        ("Who?", "(B) Bo"),
        ("Which? Answer choices: (A) B, (B) A.", "(A) B"),  # `B` alone would be the letter
    ],
)
def test_an_answer_stays_if_its_text_alone_would_not_be_read_as_it(question, answer):
    annotation = Annotation("x/0", question, answer, (), {})
    assert without_letter(annotation) == annotation
