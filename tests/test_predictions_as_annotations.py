"""Our own predictions.jsonl as annotations: what a student got right, it can teach."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax import records
from distill_jax.annotations import filters, predictions
from distill_jax.annotations.generation import Malformed
from distill_jax.annotations.importers import import_file
from distill_jax.annotations.verify import verify
from distill_jax.dialogues.votes import combine
from distill_jax.records import Annotation, Prediction, Problem, Step, Turn
from distill_jax.tasks.grading import grade_number, grade_yes_no
from distill_jax.text.formats import FINE_TUNE_COT
from distill_jax.text.transcript import SCHEMES, answer_text, completion_text, render

PROBLEMS = [
    Problem(
        "a/clips", "Ann sold 48 clips in May, and half as many in June. How many?", "72", "train"
    ),
    Problem("a/ice", "Is ice cold?", "yes", "train"),
]
CLIPS, ICE = PROBLEMS
PAIRS = (Step("How many in June?", "48/2 = <<48/2=24>>24"), Step("How many in all?", "48+24 = 72"))
CHAIN = tuple(Step(None, step.solution) for step in PAIRS)


def predicted(problem, turns, scheme="socratic", status="finished", grade=grade_number):
    """A prediction as an evaluation grades and writes it; `turns` are (role, text)."""
    form = SCHEMES[scheme] if isinstance(scheme, str) else scheme
    solutions = [text for role, text in turns if role == "solver"]
    graded = grade(answer_text(solutions, form), problem.answer)
    if status == "finished" and graded.prediction is None:
        status = "unparsed"
    return Prediction(
        problem.id,
        problem.question,
        problem.answer,
        completion_text(turns),
        tuple(Turn(role, text, len(text.split()) + 1, -0.5) for role, text in turns),
        graded.prediction,
        graded.scores["normalised"],
        graded.scores,
        status,
    )


def written(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(records.to_json(row) + "\n" for row in rows), encoding="utf-8")
    return path


def dialogue(scheme, steps, answer="72"):
    """What a student writes that has learned its task, with the empty turn that ends it."""
    turns = render(Annotation("", "", answer, steps, {"kind": "gold"}), SCHEMES[scheme])
    return turns if scheme in ("chain", "answer_only") else [*turns, ("decomposer", "")]


@pytest.mark.parametrize(
    ("scheme", "steps", "expected"),
    [
        ("socratic", PAIRS, PAIRS),
        ("socratic_equations", PAIRS, PAIRS),
        ("socratic_operators", PAIRS, PAIRS),
        ("chain", CHAIN, CHAIN),
    ],
)
def test_what_is_right_is_an_annotation(tmp_path, scheme, steps, expected):
    row = predicted(CLIPS, dialogue(scheme, steps))
    path = written(tmp_path / "runs/first/evaluations/a-train-9-abc/predictions.jsonl", [row])
    found = import_file(path, PROBLEMS)
    assert (found.format, found.rows, found.rejected) == ("predictions of distill_jax", 1, [])
    (annotation,) = found.annotations
    assert annotation.steps == expected
    assert (annotation.id, annotation.question, annotation.answer) == (
        "a/clips",
        CLIPS.question,
        "72",
    )
    assert annotation.source == {
        "kind": "student",
        "run": str(tmp_path / "runs/first"),
        "sample": 0,
        "tokens": sum(turn.tokens for turn in row.turns),
        "log_probability": -0.5 * len(row.turns),
    }
    assert verify([annotation], PROBLEMS, grade_number) == ([annotation], [])


def test_every_sample_is_looked_at_and_says_why_it_is_not_learned(tmp_path):
    right, other = dialogue("socratic", PAIRS), dialogue("socratic", PAIRS[1:])
    early = [("decomposer", "How many?"), ("solver", "48/2 = 24\n#### 24"), *other]
    row = combine(  # as an evaluation with several samples writes it
        [
            predicted(CLIPS, right),
            predicted(CLIPS, right[:-1], status="turn_cap"),
            predicted(CLIPS, dialogue("socratic", PAIRS, "71")),
            predicted(CLIPS, other),
            predicted(CLIPS, [("decomposer", "What?"), ("solver", "No idea.")]),
            predicted(CLIPS, []),
            predicted(CLIPS, early),
        ]
    )
    answered = predicted(ICE, dialogue("answer_only", (), "yes"), "answer_only", grade=grade_yes_no)
    unknown = predicted(
        Problem("b/1", "Why?", "1", "train"), dialogue("chain", CHAIN, "1"), "chain"
    )
    path = written(tmp_path / "predictions.jsonl", [row, answered, unknown])
    found = import_file(path, PROBLEMS)
    assert (found.format, found.rows) == ("predictions of distill_jax", 9)
    assert [(each.steps, each.source["sample"]) for each in found.annotations] == [
        (PAIRS, 0),
        (PAIRS[1:], 3),
    ]
    assert [(each.id, each.reason, each.source.get("sample")) for each in found.rejected] == [
        ("a/clips", "not finished", 1),
        ("a/clips", "wrong answer", 2),
        ("a/clips", "no answer", 4),
        ("a/clips", "no answer", 5),
        ("a/clips", "answer mark in a step", 6),
        ("a/ice", "no steps", 0),
        ("", "unknown problem", None),
    ]
    assert found.rejected[1].detail == "predictions.jsonl:1: status finished, '71' for '72'"
    assert found.rejected[0].text == completion_text(right[:-1])
    assert all("run" not in each.source for each in [*found.annotations, *found.rejected])


def test_the_filters_see_the_same_of_a_sample_and_of_its_annotation(tmp_path):
    row = predicted(CLIPS, dialogue("socratic", PAIRS))
    path = written(tmp_path / "predictions.jsonl", [row])
    (annotation,) = import_file(path, PROBLEMS).annotations
    (first,), second = filters.candidates_of(row), filters.candidate_of(annotation)
    assert (first.text.strip(), first.tokens, first.log_probability) == (
        second.text, second.tokens, second.log_probability
    )  # fmt: skip


def test_an_answer_without_its_mark_is_read_as_it_was_graded(tmp_path):
    rows = [predicted(CLIPS, [("solver", "48/2 = <<48/2=24>>24\n48+24 = 72")], "chain")]
    (annotation,) = import_file(written(tmp_path / "a.jsonl", rows), PROBLEMS).annotations
    assert (annotation.steps, annotation.answer) == (CHAIN, "72")
    rows = [predicted(CLIPS, [("solver", "48+24 = 72 #### 72")], "chain")]
    found = import_file(written(tmp_path / "b.jsonl", rows), PROBLEMS)
    assert [each.reason for each in found.rejected] == ["answer mark in a step"]


def test_the_format_of_fine_tune_cot(tmp_path):
    chain = dataclasses.replace(SCHEMES["chain"], text_format=FINE_TUNE_COT)
    lone = dataclasses.replace(SCHEMES["answer_only"], text_format=FINE_TUNE_COT)
    rows = [
        predicted(CLIPS, [("solver", " 48+24 = 72 --> 72")], chain),
        predicted(CLIPS, [("solver", " 72")], lone),
    ]
    found = import_file(written(tmp_path / "predictions.jsonl", rows), PROBLEMS)
    assert [each.steps for each in found.annotations] == [(Step(None, "48+24 = 72"),)]
    assert [each.reason for each in found.rejected] == ["no steps"]


def test_who_answered_is_kept_if_the_row_says_it(tmp_path):
    row = dataclasses.asdict(predicted(CLIPS, dialogue("chain", CHAIN), "chain"))
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps({**row, "answered_by": "large"}))
    (annotation,) = import_file(path, PROBLEMS).annotations
    assert annotation.source["answered_by"] == "large"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"turns": None}, "not a prediction"),
        ({"turns": ["a"]}, "not a prediction"),
        ({"turns": [{"role": "solver", "text": "a"}]}, "not a prediction"),
        ({"turns": [{"role": "solver", "text": 5, "tokens": 1, "log_probability": 0}]}, "not text"),
        (
            {"turns": [{"role": "a", "text": "", "tokens": 1, "log_probability": float("nan")}]},
            "not a number",
        ),
        (
            {"turns": [{"role": "a", "text": "", "tokens": 10**400, "log_probability": -1}]},
            "not a number",
        ),
        ({"samples": [5]}, "not a prediction"),
        ({"status": None}, "not text"),
        ({"question": 5}, "not text"),
        ({"answered_by": 5}, "not text"),
        ({"cost": {"tokens": -1}}, "a whole number from 0"),
        ({"prediction": 72}, "neither text nor null"),
    ],
)
def test_rows_that_are_no_predictions_are_counted(tmp_path, changed, message):
    row = dataclasses.asdict(predicted(CLIPS, dialogue("chain", CHAIN), "chain"))
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(row | changed) + "\n" + json.dumps(row))
    found = import_file(path, PROBLEMS)
    assert len(found.annotations) == 1
    (rejected,) = found.rejected
    assert rejected.reason == "unreadable row" and message in rejected.detail
    assert "predictions.jsonl:1: " in rejected.detail
    with pytest.raises(Malformed):
        predictions.generations(json.loads(json.dumps(row | changed)))


TEXT = st.text("ab 1=.\n", min_size=1, max_size=12).filter(lambda text: text.strip() == text)


@given(
    st.lists(st.builds(Step, TEXT, TEXT), min_size=1, max_size=3),
    st.sampled_from(["socratic", "chain"]),
)
def test_the_annotation_of_a_dialogue_teaches_the_same_dialogue(steps, scheme):
    turns = dialogue(scheme, tuple(steps))
    row = json.loads(records.to_json(predicted(CLIPS, turns, scheme)))
    (found,) = predictions.generations(row)
    assert found.objection is None
    again = Annotation("", "", found.answer, found.steps, {"kind": "student"})
    assert render(again, SCHEMES[scheme]) == turns[: None if scheme == "chain" else -1]
    assert all(step.solution.strip() for step in again.steps)
