"""Subquestions against gold ones, by hand."""

import sys

import pytest

from distill_jax.errors import UserError
from distill_jax.evaluation.question_quality import corpus_bleu, question_counts, question_pairs
from distill_jax.records import Annotation, Prediction, Step, Turn


def asked(number, *questions, roles=("decomposer", "solver")):
    turns = [
        Turn(role, text, 3, -1.0)
        for question in questions
        for role, text in zip(roles, (question, "1"), strict=True)
    ]
    return Prediction(f"p/{number}", "Q?", "1", "", tuple(turns), "1", True, {}, "finished")


def gold(number, *questions):
    steps = tuple(Step(question, "1") for question in questions)
    return Annotation(f"p/{number}", "Q?", "1", steps, {"kind": "gold"})


def test_counts_by_hand():
    predictions = [
        asked(0, "a?", "b?", ""),  # the empty turn ends the dialogue
        asked(1, "a?"),
        asked(2, " c? ", "d?", "e?", "f?"),
        asked(3, "x?"),  # nothing is known of it
        asked(4, "x?"),  # gold steps without questions
    ]
    annotations = [gold(0, "a?", "b?"), gold(1, "a?", "b?", "c?"), gold(2, "c?"), gold(4, None)]
    pairs = question_pairs(predictions, {a.id: a for a in annotations})
    assert pairs == [
        (["a?", "b?"], ["a?", "b?"]),
        (["a?"], ["a?", "b?", "c?"]),
        (["c?", "d?", "e?", "f?"], ["c?"]),
    ]
    assert question_counts(pairs) == {
        "n": 3,
        "mean": 7 / 3,
        "mean_difference": (0 - 2 + 3) / 3,
        "share_equal": 1 / 3,
    }


def test_a_decomposer_that_asked_nothing_counts():
    pairs = question_pairs([asked(0, "a?"), asked(1, "")], {"p/1": gold(1, "a?", "b?")})
    assert pairs == [([], ["a?", "b?"])]
    assert question_counts(pairs)["mean_difference"] == -2


def test_without_a_decomposer_there_is_nothing_to_compare():
    chain = asked(0, "a?", roles=("planner", "solver"))
    assert question_pairs([chain], {"p/0": gold(0, "a?")}) == []
    assert question_pairs([], {}) == []


def test_bleu_by_hand():
    pytest.importorskip("sacrebleu", reason="sacrebleu is in the extra [eval]")
    # Of 6 words 5 are right, of 5 pairs 4, of 4 triples 3, of 3 quadruples 2: their product is 1/3.
    pairs = [(["a b c", "d e f"], ["a b c", "d e g"])]
    assert corpus_bleu(pairs) == pytest.approx(100 * (1 / 3) ** 0.25)
    # Counts are added over the corpus: 11 of 12, 9 of 10, 7 of 8, 5 of 6.
    same = (["a b c", "d e f"], ["a b c", "d e f"])
    product = (11 * 9 * 7 * 5) / (12 * 10 * 8 * 6)
    assert corpus_bleu([*pairs, same]) == pytest.approx(100 * product**0.25)
    assert corpus_bleu([same]) == pytest.approx(100)
    # A question too few: what is there is right, but exp(1 - 8/4) shortens it.
    short = (["a b c d"], ["a b c d", "e f g h"])
    assert corpus_bleu([short]) == pytest.approx(100 / 2.718281828459045)


def test_missing_sacrebleu_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'distill-jax\[eval\]'"):
        corpus_bleu([(["a"], ["a"])])
