"""SVAMP: both protocols, both formats, a Hub layout, and what is said about broken files."""

import json
import os
import re

import datasets
import pytest

from distill_jax.annotations.verify import verify
from distill_jax.errors import UserError
from distill_jax.records import Step
from distill_jax.tasks import svamp

HEADER = "Question,Numbers,Equation,Answer,group_nums,Body,Ques\n"
BOOKS = '"If Bo has number0 books , and Al \'s shelf number1 , who has more ?",'


def svamp_rows(**changes):
    """1,000 rows like those of SVAMP.json; changes are fields by ID (with _ for -)."""
    rows = []
    for n in range(1, 1001):
        row = {
            "ID": f"chal-{n}",
            "Body": f"Ann has {n} apples.",
            "Question": "How many are there with 2 more?",
            "Equation": f"( {n}.0 + 2.0 )",
            "Answer": n + 2.0,
            "Type": "Addition",
        }
        rows.append(row | changes.get(f"chal_{n}", {}))
    return rows


def write(folder, rows, csv=HEADER + BOOKS + "56.0 9.5,- number0 number1,46.5,,,\n"):
    (folder / "mawps-asdiv-a_svamp").mkdir(parents=True, exist_ok=True)
    (folder / "SVAMP.json").write_text(json.dumps(rows))
    (folder / "mawps-asdiv-a_svamp" / "train.csv").write_text(csv)
    return str(folder)


def by_id(records):
    return {record.id: record for record in records}


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds svamp/SVAMP.json")
    return os.path.join(root, "svamp")


def test_problems_and_annotations(tmp_path):
    discount = {
        "Body": "A pack of dvds costs 76 dollars. If there is a discount of 25 dollars",
        "Question": "How much is a pack?",
        "Equation": "( ( 76.0 - 25.0 ) / 2.0 )",
        "Answer": 25.5,
        "Type": "Common-Divison",
    }
    wrong = {"Body": "Then he bought 37 cookies", "Equation": "8.0", "Answer": 7}
    directory = write(tmp_path, svamp_rows(chal_1=discount, chal_3=wrong))
    problems, annotations = (
        [each for split in svamp.SPLITS for each in load(split, directory=directory, protocol="ho")]
        for load in (svamp.load, svamp.load_annotations)
    )
    problem, annotation = (by_id(each)["svamp/chal-1"] for each in (problems, annotations))
    assert problem.question == (
        "A pack of dvds costs 76 dollars. If there is a discount of 25 dollars, how much is a pack?"
    )
    assert problem.answer == annotation.answer == "25.5"
    assert problem.attributes == {"type": "Common-Division", "steps": 2}
    assert annotation.steps == (
        Step(None, "76-25 = <<76-25=51>>51"),
        Step(None, "51/2 = <<51/2=25.5>>25.5"),
    )
    assert annotation.source == {"kind": "gold"}
    problem, annotation = (by_id(each)["svamp/chal-3"] for each in (problems, annotations))
    assert problem.question == "Then he bought 37 cookies. How many are there with 2 more?"
    assert problem.attributes["steps"] == 0
    assert (problem.answer, annotation.answer) == ("7", "8")
    assert annotation.steps == (Step(None, "8"),)
    kept, rejected = verify(annotations, problems, svamp.grade)
    assert len(kept) == 999
    assert [(each.id, each.reason) for each in rejected] == [("svamp/chal-3", "wrong answer")]


def test_the_split_of_ho(tmp_path):
    directory = write(tmp_path, svamp_rows())
    train, test = ([p.id for p in svamp.load(s, directory=directory)] for s in svamp.SPLITS)
    assert (len(train), len(test)) == (700, 300)
    assert sorted(train + test) == sorted(f"svamp/chal-{n}" for n in range(1, 1001))
    # The first places of "test" in data/split/svamp__default.json, counted from 0.
    assert test[:6] == [f"svamp/chal-{place + 1}" for place in (9, 11, 19, 23, 24, 25)]
    for split, ids in (("train", train), ("test", test)):
        assert [a.id for a in svamp.load_annotations(split, directory=directory)] == ids
        assert {p.split for p in svamp.load(split, directory=directory)} == {split}


def test_mawps_asdiv_trains_on_the_csv_and_tests_on_all_of_svamp(tmp_path):
    directory = write(tmp_path, svamp_rows())
    options = {"directory": directory, "protocol": "mawps_asdiv"}
    (problem,) = svamp.load("train", **options)
    assert problem.id == "mawps_asdiv/train/0"
    assert problem.question == "If Bo has 56 books, and Al's shelf 9.5, who has more?"
    assert problem.answer == "46.5"
    assert problem.attributes == {"steps": 1}
    (annotation,) = svamp.load_annotations("train", **options)
    assert annotation.steps == (Step(None, "56-9.5 = <<56-9.5=46.5>>46.5"),)
    assert (annotation.id, annotation.question) == (problem.id, problem.question)
    assert len(svamp.load("test", **options)) == len(svamp.load_annotations("test", **options))
    assert len(svamp.load("test", **options)) == 1000
    (tmp_path / "data").mkdir()  # as in a clone of the repository
    (tmp_path / "mawps-asdiv-a_svamp").rename(tmp_path / "data" / "mawps-asdiv-a_svamp")
    assert svamp.load("train", **options) == [problem]


def test_copies_with_other_numbers(tmp_path):
    """Their steps are of the kinds that the row has: whole, or above zero."""
    rows = (
        BOOKS + "56.0 9.0,- number0 number1,47.0,,,\n"
        "number0 pens and number1 more ?,3.0 8.0,+ number0 number1,11.0,,,\n"
        "Half of number0 ?,20.0,/ number0 2.0,10.0,,,\n"
        "number0 litres ?,1.5,* number0 1.0,1.5,,,\n"
    )
    directory = write(tmp_path, svamp_rows(), HEADER + rows)
    options = {"directory": directory, "protocol": "mawps_asdiv", "renumbered": 3}
    problems, annotations = (
        svamp.load("train", **options),
        svamp.load_annotations("train", **options),
    )
    assert verify(annotations, problems, svamp.grade) == (annotations, [])
    assert len({problem.question for problem in problems}) == len(problems)
    books = [p for p in problems if p.id.startswith("mawps_asdiv/train/0")]
    assert [p.id.removeprefix("mawps_asdiv/train/0") for p in books] == ["", "/1", "/2", "/3"]
    for problem in books[1:]:
        match = re.fullmatch(
            r"If Bo has (\d+) books, and Al's shelf (\d+), who has more\?", problem.question
        )
        assert match, problem.question
        # Drawn from the file's whole numbers, and the difference stays above zero.
        assert {int(match[1]), int(match[2])} <= {56, 9, 3, 8, 20}
        assert int(match[1]) - int(match[2]) == int(problem.answer) > 0
    halves = {p.answer for p in problems if p.question.startswith("Half")}
    assert halves == {"10", "28", "4"}  # of 20, 56 and 8; 3 and 9 have no whole half
    assert [p.answer for p in problems if "litres" in p.question] == ["1.5"]  # no other fraction
    assert svamp.load("train", **options) == problems
    copies = {a.id: a.source["copy_of"] for a in annotations if "copy_of" in a.source}
    assert copies == {p.id: p.id.rpartition("/")[0] for p in problems if p.id.count("/") == 3}
    plain = svamp.load("train", **options | {"renumbered": 0})
    assert plain == [p for p in problems if p.id.count("/") == 2]


@pytest.mark.parametrize(("protocol", "count"), [("ho", 1), ("mawps_asdiv", -1)])
def test_copies_that_cannot_be_made_are_refused(protocol, count, tmp_path):
    directory = write(tmp_path, svamp_rows())
    with pytest.raises(UserError, match=f"renumbered={count}: 0, or with protocol=mawps_asdiv"):
        svamp.load("train", directory=directory, protocol=protocol, renumbered=count)


def test_fractions_that_were_written_as_floats(tmp_path):
    row = "number0 pie and number1 pie,0.16666666666666666 0.5,+ number0 number1,"
    directory = write(tmp_path, svamp_rows(), f"{HEADER}{row}0.6666666666666667,,,\n")
    options = {"directory": directory, "protocol": "mawps_asdiv"}
    (problem,), (annotation,) = (
        load("train", **options) for load in (svamp.load, svamp.load_annotations)
    )
    assert problem.question == "1/6 pie and 0.5 pie"
    assert problem.answer == annotation.answer == "2/3"
    assert annotation.steps == (Step(None, "1/6+0.5 = <<1/6+0.5=2/3>>2/3"),)
    assert verify([annotation], [problem], svamp.grade) == ([annotation], [])


def test_numbers_with_two_digits_in_their_name(tmp_path):
    words = " ".join(f"number{n}" for n in range(12))
    numbers = " ".join(str(n) for n in range(100, 112))
    csv = f"{HEADER}{words},{numbers},+ number1 number11,212.0,,,\n"
    directory = write(tmp_path, svamp_rows(), csv)
    (problem,) = svamp.load("train", directory=directory, protocol="mawps_asdiv")
    assert problem.question == numbers


def test_hub_rows_give_the_same_problems(tmp_path, monkeypatch):
    """The Hub's own split does not matter, nor do answers that are text."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "hub").mkdir()
    rows = svamp_rows()
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, part in (("train", rows[300:]), ("test", rows[:300])):
        texts = [row | {"Answer": str(row["Answer"])} for row in part]
        datasets.Dataset.from_list(texts).to_parquet(str(tmp_path / "hub" / f"{split}.parquet"))
        lines += [f"  - split: {split}", f"    path: {split}.parquet"]
    (tmp_path / "hub" / "README.md").write_text("\n".join([*lines, "---", ""]))
    directory, hub_id = write(tmp_path / "files", rows), str(tmp_path / "hub")
    for split in svamp.SPLITS:
        for load in (svamp.load, svamp.load_annotations):
            assert by_id(load(split, hub_id=hub_id)) == by_id(load(split, directory=directory))
    with pytest.raises(UserError, match=r"trains on a file: set --config\.task_options"):
        svamp.load("train", hub_id=hub_id, protocol="mawps_asdiv")


def test_hub_failure_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        svamp.load("train", hub_id=str(tmp_path / "empty"))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'empty'}: cannot be loaded (")
    assert "--config.task_options.directory to a folder with SVAMP.json" in message
    assert "\n" not in message


def test_unknown_split_and_protocol(tmp_path):
    for load in (svamp.load, svamp.load_annotations):
        with pytest.raises(UserError, match="no split 'dev': choose train or test"):
            load("dev", directory=str(tmp_path))
        with pytest.raises(UserError, match=r"protocol 'x': choose ho or mawps_asdiv"):
            load("test", directory=str(tmp_path), protocol="x")


def test_missing_directory_and_files(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such directory: set --config\.task_options"):
        svamp.load("test", directory=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"SVAMP\.json: no such file: download it from https"):
        svamp.load("test", directory=str(tmp_path))
    with pytest.raises(UserError, match=r"train\.csv: no such file: download it from https"):
        svamp.load("train", directory=str(tmp_path), protocol="mawps_asdiv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "not a JSON list"),
        ("[]", "not a JSON list"),
        ("[1]", "row 0: not a JSON object"),
        ("\xff", "not UTF-8 at byte 0"),
    ],
)
def test_a_broken_json_file_is_named(tmp_path, text, said):
    path = tmp_path / "SVAMP.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        svamp.load("test", directory=str(tmp_path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert svamp.URL in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ID": None}, "field 'ID' is missing"),
        ({"Body": ""}, "field 'Body' is missing"),
        ({"Question": 3}, "field 'Question' is missing or not text"),
        ({"Type": None}, "field 'Type' is missing"),
        ({"Answer": None}, "field 'Answer': 'None' is not a number"),
        ({"Answer": float("nan")}, "field 'Answer': 'nan' is not a number"),
        ({"Equation": "76 - 25"}, "field 'Equation': '76 - 25' is not `( a + b )`"),
        ({"Equation": "( 7.0 / 0.0 )"}, "field 'Equation': a division by zero"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, said):
    directory = write(tmp_path, svamp_rows(chal_5=change))
    for load in (svamp.load, svamp.load_annotations):
        with pytest.raises(UserError) as caught:
            load("test", directory=directory)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'SVAMP.json'} row 4: {said}")
        assert svamp.URL in message


def test_rows_that_are_missing_or_there_twice(tmp_path):
    directory = write(tmp_path, svamp_rows()[:999])
    with pytest.raises(UserError, match=r"1 of the 1000 problems .* svamp/chal-1000: take all"):
        svamp.load("train", directory=directory)
    write(tmp_path, svamp_rows(chal_7={"ID": "chal-8"}))
    with pytest.raises(UserError, match="id 'svamp/chal-8' occurs twice"):
        svamp.load("train", directory=directory)


@pytest.mark.parametrize(
    ("row", "line", "said"),
    [
        ("number0 pens ?,,* number0 2.0,4.0,,,\n", 2, "field 'Question': number0 is not in"),
        ("1 pen ?,x,* 1.0 2.0,2.0,,,\n", 2, "field 'Numbers': 'x' is not a number"),
        ("1 pen ?,,* 1.0,2.0,,,\n", 2, "field 'Equation': '* 1.0' is not `+ a b`"),
        ("1 pen ?,,* 1.0 number3,2.0,,,\n", 2, "field 'Equation': 'number3': there are 0"),
        ("1 pen ?,,* 1.0 2.0\n", 2, "field 'Answer': 'None' is not a number"),
        ("1 pen ?\n", 2, "field 'Equation' is missing"),
        ('"1 pen ?,,* 1.0 2.0,2.0,,,\n', 2, "not CSV (unexpected end of data)"),
        ('"1\npen ?",,* 1.0,2.0,,,\n', 3, "field 'Equation': '* 1.0' is not"),
    ],
)
def test_a_broken_csv_row_is_named_with_its_line(tmp_path, row, line, said):
    directory = write(tmp_path, svamp_rows(), HEADER + row)
    with pytest.raises(UserError) as caught:
        svamp.load("train", directory=directory, protocol="mawps_asdiv")
    path = tmp_path / "mawps-asdiv-a_svamp" / "train.csv"
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: {said}")
    assert svamp.URL in message


def test_a_csv_file_without_rows(tmp_path):
    directory = write(tmp_path, svamp_rows(), HEADER)
    with pytest.raises(UserError, match=r"train\.csv: no rows"):
        svamp.load("train", directory=directory, protocol="mawps_asdiv")


def test_grade():
    grade = svamp.grade("76-25 = <<76-25=51>>51\n#### 51", "51")
    assert grade.prediction == "51"
    assert len(grade.scores) == 4 and all(grade.scores.values())


def test_real_split_of_ho_is_that_of_their_file(real):
    name = "teacher/reasoning_teacher_prompts/split/svamp__default.json"
    with open(os.path.join(os.path.dirname(real), name)) as file:
        places = json.load(file)
    for split in svamp.SPLITS:
        ids = [problem.id for problem in svamp.load(split, directory=real)]
        assert ids == [f"svamp/chal-{place + 1}" for place in sorted(places[split])]


@pytest.mark.parametrize(
    ("protocol", "split", "count", "rejected"),
    [
        ("ho", "train", 700, 1),
        ("ho", "test", 300, 0),
        ("mawps_asdiv", "train", 3138, 18),  # 7 are wrong, 11 rounded
        ("mawps_asdiv", "test", 1000, 1),
    ],
)
def test_real_annotations(real, protocol, split, count, rejected):
    options = {"directory": real, "protocol": protocol}
    problems = svamp.load(split, **options)
    annotations = svamp.load_annotations(split, **options)
    assert [a.id for a in annotations] == [p.id for p in problems]
    assert [a.question for a in annotations] == [p.question for p in problems]
    assert len(problems) == count
    kept, refused = verify(annotations, problems, svamp.grade)
    assert (len(kept), len(refused)) == (count - rejected, rejected)
    assert {each.reason for each in refused} <= {"wrong answer"}
    for problem, annotation in zip(problems, annotations, strict=True):
        assert len(annotation.steps) == max(problem.attributes["steps"], 1)
        assert not re.search(r"number[0-9]| [.,?]", problem.question)
        grade = svamp.grade(
            f"{annotation.steps[-1].solution}\n#### {problem.answer}", problem.answer
        )
        assert grade.scores["normalised"]


def test_real_questions_are_joined_as_described(real):
    questions = [p.question for p in svamp.load("test", directory=real, protocol="mawps_asdiv")]
    with open(os.path.join(real, "SVAMP.json")) as file:
        rows = json.load(file)
    plain = [f"{row['Body']} {row['Question']}" for row in rows]
    joined = [f"{row['Body']}, {row['Question'][:1].lower()}{row['Question'][1:]}" for row in rows]
    assert sum(a == b for a, b in zip(questions, plain, strict=True)) == 642
    assert sum(a == b for a, b in zip(questions, joined, strict=True)) == 346


def test_real_training_questions_of_mawps_asdiv_are_not_in_svamp(real):
    train, test = (
        [p.question.casefold() for p in svamp.load(s, directory=real, protocol="mawps_asdiv")]
        for s in svamp.SPLITS
    )
    assert not set(train) & set(test)
    assert len(train) - len(set(train)) == 309
