"""The user's own problems: what is read, and what is said about every mistake."""

import json

import pytest

from distill_jax.annotations.import_formats import recognise
from distill_jax.errors import UserError
from distill_jax.records import Step
from distill_jax.tasks import jsonl

STEPS = [{"subquestion": None, "solution": "3+4 = 7"}, {"subquestion": "All?", "solution": "7"}]


@pytest.fixture
def write(tmp_path):
    """write(name, rows): a JSONL file in a folder; returns the folder."""

    def write_file(name, rows):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path)

    return write_file


def problem(**fields):
    return {"question": "What is 3 + 4?", "answer": 7} | fields


def test_problems(write):
    # Unknown fields are ignored, also those like a known one that is there.
    other = {"note": "ignored", "idx": 3, "question_id": 7, "answers": [7]}
    rows = [problem(), problem(id="b", attributes={"topic": "sums"}, **other), "", problem()]
    problems = jsonl.load("dev", directory=write("dev.jsonl", rows))
    assert [p.id for p in problems] == ["jsonl/dev/0", "b", "jsonl/dev/3"]
    assert problems[1].attributes == {"topic": "sums"}
    assert problems[0].split == "dev"
    assert problems[0].attributes == {}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (7, "7"),
        (-7, "-7"),
        (72.0, "72"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e20, "100000000000000000000"),
        (10**400, "1" + "0" * 400),
        (True, "yes"),
        (False, "no"),
        (" 1,200 ", "1,200"),
        ("New York", "New York"),
        ("Yes", "Yes"),
    ],
)
def test_answers_become_text(write, answer, text):
    directory = write("dev.jsonl", [problem(answer=answer)])
    assert jsonl.load("dev", directory=directory)[0].answer == text


def test_annotations_from_rows_with_steps(write):
    rows = [problem(), problem(id="b", steps=STEPS), problem(steps=None)]
    (annotation,) = jsonl.load_annotations("dev", directory=write("dev.jsonl", rows))
    assert annotation.id == "b"
    assert annotation.answer == "7"
    assert annotation.steps == (Step(None, "3+4 = 7"), Step("All?", "7"))
    assert annotation.source == {"kind": "gold"}


def test_annotations_from_their_own_file(write):
    write("dev.jsonl", [problem(), problem(question="What is 1 + 1?", answer=2, steps=STEPS)])
    source = {"kind": "teacher", "model": "m"}
    rows = [
        {"question": " What is 1 + 1? ", "answer": 2, "steps": STEPS},
        {"id": "jsonl/dev/0", "answer": "8", "steps": STEPS, "source": source},
    ]
    annotations = jsonl.load_annotations("dev", directory=write("dev.annotations.jsonl", rows))
    assert [a.id for a in annotations] == ["jsonl/dev/1", "jsonl/dev/0"]
    assert [a.question for a in annotations] == ["What is 1 + 1?", "What is 3 + 4?"]
    assert [a.answer for a in annotations] == ["2", "8"]
    assert [a.source for a in annotations] == [{"kind": "gold"}, source]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON object is expected"),
        ({"answer": 7}, "field 'question' is missing"),
        ({"question": "What?"}, "field 'answer' is missing (text, a number, true or false"),
        (problem(question=7), "field 'question': text is expected, not 7"),
        (problem(question=" "), "field 'question' is empty"),
        (problem(answer=None), "field 'answer': text, a number, true or false is expected"),
        (problem(answer=[7]), "field 'answer': text, a number, true or false is expected"),
        (problem(answer=""), "field 'answer' is empty"),
        (problem(answer="so\n7"), "field 'answer': one line is expected"),
        ('{"question": "What?", "answer": NaN}', "field 'answer': text, a number"),
        ('{"question": "What?", "answer": 1e999}', "field 'answer': text, a number"),
        (problem(id=7), "field 'id': text is expected, not 7"),
        (problem(id=""), "field 'id' is empty"),
        (problem(attributes=[]), "field 'attributes': an object is expected"),
        (problem(id="first"), "id 'first' occurs twice, first in "),
        (problem(step=STEPS), "field 'step' is not read: write 'steps'"),
        (problem(ID="b"), "field 'ID' is not read: write 'id'"),
        ({"question": "What?", "answr": 7}, "field 'answr' is not read: write 'answer'"),
    ],
)
def test_mistakes_in_problems_are_named(write, row, said):
    directory = write("dev.jsonl", [problem(id="first"), row])
    with pytest.raises(UserError) as caught:
        jsonl.load("dev", directory=directory)
    assert str(caught.value).startswith(f"{directory}/dev.jsonl:2: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keys", jsonl.IMPORTED)
@pytest.mark.parametrize("name", ["train", "train.annotations"])
def test_rows_of_other_layouts_name_the_importer(tmp_path, name, keys):
    row = dict.fromkeys(keys, "x")
    assert recognise([row]).name == jsonl.IMPORTED[keys]
    (tmp_path / "train.jsonl").write_text(jsonl.ROW)
    (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    said = rf"{name}.jsonl:1: a row of the layout .*import it with --config.data.annotations=FILE"
    with pytest.raises(UserError, match=said):
        jsonl.load_annotations("train", directory=str(tmp_path))


def test_the_lines_of_all_bad_rows_are_told_at_once(write):
    good, bad = problem(), {"question": "What?"}
    directory = write("dev.jsonl", [good, bad, good, bad, good])
    with pytest.raises(UserError) as caught:
        jsonl.load("dev", directory=directory)
    missing = "field 'answer' is missing (text, a number, true or false is expected)"
    assert str(caught.value) == f"{directory}/dev.jsonl:2: {missing} (also refused: lines 4)"
    directory = write("dev.jsonl", [bad] * 12)
    with pytest.raises(
        UserError, match=r" \(also refused: lines 2, 3, 4, 5, 6, 7, 8, 9, 3 more\)$"
    ):
        jsonl.load("dev", directory=directory)
    directory = write("dev.jsonl", [problem(steps=[]), good, problem(steps=7)])
    with pytest.raises(UserError, match=r"dev\.jsonl:1: .* \(also refused: lines 3\)$"):
        jsonl.load_annotations("dev", directory=directory)
    write("dev.jsonl", [problem(id="a"), problem(id="b")])
    directory = write("dev.annotations.jsonl", [{"id": "c"}, {"id": "d"}])
    with pytest.raises(UserError, match=r"annotations\.jsonl:1: .* \(also refused: lines 2\)$"):
        jsonl.load_annotations("dev", directory=directory)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("3+4=7", "field 'steps': a list of objects is expected"),
        ([], "field 'steps': a list of objects is expected"),
        (["3+4=7"], "field 'steps': a list of objects is expected"),
        ([{"solution": "7"}], "field 'steps' item 0: field 'subquestion' is missing"),
        (
            [*STEPS, {"subquestion": 7, "solution": "7"}],
            "field 'steps' item 2: field 'subquestion'",
        ),
        ([{"subquestion": None}], "field 'steps' item 0: field 'solution' is missing"),
        ([{"subquestion": None, "solution": " "}], "field 'steps' item 0: field 'solution' is emp"),
        (
            [{"sub_question": "Why?", "solution": "7"}],
            "field 'steps' item 0: field 'sub_question' ",
        ),
    ],
)
def test_mistakes_in_steps_are_named(write, steps, said):
    directory = write("dev.jsonl", [problem(steps=steps)])
    with pytest.raises(UserError) as caught:
        jsonl.load_annotations("dev", directory=directory)
    assert str(caught.value).startswith(f"{directory}/dev.jsonl:1: {said}")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "c"}, "field 'id': no problem has the id 'c'"),
        ({"id": "a", "question": "Other?"}, "field 'question': not the question of 'a' in "),
        ({"question": "Other?"}, "field 'question': no problem has the question 'Other?'"),
        ({"question": "What is 3 + 4?"}, "field 'question': 2 problems have it: give the id"),
        ({}, "field 'id' or 'question' is missing"),
        ({"id": "a", "answer": None}, "field 'answer'"),
        ({"id": "a", "steps": None}, "field 'steps'"),
        ({"id": "a", "source": "me"}, "field 'source': an object with 'kind' is expected"),
        ({"id": "b"}, "id 'b' occurs twice, first in "),
    ],
)
def test_mistakes_in_the_annotations_file_are_named(write, row, said):
    write("dev.jsonl", [problem(id="a"), problem(id="b")])
    rows = [{"id": "b", "answer": 7, "steps": STEPS}, {"answer": 7, "steps": STEPS} | row]
    directory = write("dev.annotations.jsonl", rows)
    with pytest.raises(UserError) as caught:
        jsonl.load_annotations("dev", directory=directory)
    assert str(caught.value).startswith(f"{directory}/dev.annotations.jsonl:2: {said}")


def test_missing_files(write, tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such directory: set --config\.task_options"):
        jsonl.load("dev", directory=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"dev\.jsonl: no such file: its rows look like {"):
        jsonl.load("dev", directory=str(tmp_path))
    directory = write("train.jsonl", [problem()])
    write("train.annotations.jsonl", [])
    with pytest.raises(UserError, match=r"no such file \(splits there: train\): its rows"):
        jsonl.load("dev", directory=directory)
    with pytest.raises(UserError, match=r"set --config\.task_options\.directory"):
        jsonl.load("dev", directory="")


def test_files_without_rows(write):
    directory = write("dev.jsonl", [])
    with pytest.raises(UserError, match=r"dev\.jsonl: empty: its rows look like"):
        jsonl.load("dev", directory=directory)
    write("dev.jsonl", [problem()])
    assert jsonl.load_annotations("dev", directory=directory) == []
    write("dev.annotations.jsonl", [])
    with pytest.raises(UserError, match=r"dev\.annotations\.jsonl: empty"):
        jsonl.load_annotations("dev", directory=directory)


def test_byte_order_mark_is_read_over_and_other_encodings_are_refused(tmp_path):
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps(problem()), encoding="utf-8-sig")
    assert len(jsonl.load("dev", directory=str(tmp_path))) == 1
    path.write_text(json.dumps(problem(), ensure_ascii=False) + "é", encoding="latin-1")
    with pytest.raises(UserError, match="save it as UTF-8"):
        jsonl.load("dev", directory=str(tmp_path))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000 + "]" * 100_000])
def test_json_that_python_cannot_hold_is_a_user_error(tmp_path, value):
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps(problem()) + f'\n{{"question": "q", "answer": {value}}}\n')
    with pytest.raises(UserError, match=r"dev\.jsonl:2: JSON that cannot be read"):
        jsonl.load("dev", directory=str(tmp_path))


@pytest.mark.parametrize(
    ("completion", "answer", "prediction", "correct"),
    [
        ("#### $1,200", "1,200", "1200", True),
        ("#### 7 7", "7", None, False),
        ("#### Yes", "yes", "yes", True),
        ("#### false", "No", "no", True),
        ("#### maybe", "yes", None, False),
        ("####  new  YORK", "New York", "new  YORK", True),
        ("It is New York", "New York", "It is New York", False),
        ("", "New York", None, False),
    ],
)
def test_grade_follows_the_kind_of_answer(completion, answer, prediction, correct):
    grade = jsonl.grade(completion, answer)
    assert grade.prediction == prediction
    assert grade.scores["normalised"] is correct
    assert list(grade.scores) == ["strict", "flexible", "fine_tune_cot", "normalised"]


def test_scores_of_text_answers():
    scores = jsonl.grade("#### New York\nor\n#### new york city", "New York").scores
    expected = {"strict": True, "flexible": True, "fine_tune_cot": False, "normalised": False}
    assert scores == expected
    assert jsonl.grade('#### "New York."', "New York").scores["fine_tune_cot"]
