"""GSM8K: the upstream files, a Hub layout, and what is said about broken ones."""

import json
import os
import pathlib
import re
import shutil

import datasets
import pytest

from distill_jax.errors import UserError
from distill_jax.records import Step, read_json_lines
from distill_jax.tasks import gsm8k
from distill_jax.text.exact_values import extract_numbers, parse_value

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "gsm8k"


@pytest.fixture
def directory(tmp_path):
    """A copy of the fixtures that a test may damage."""
    return pathlib.Path(shutil.copytree(FIXTURES, tmp_path / "gsm8k"))


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds gsm8k/train.jsonl")
    return os.path.join(root, "gsm8k")


@pytest.fixture
def hub_layout(tmp_path, monkeypatch):
    """A folder laid out like the data set repository on the Hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    configs = ["---", "configs:"]
    for name, suffix in (("main", ""), ("socratic", "_socratic")):
        (tmp_path / "hub" / name).mkdir(parents=True)
        configs += [f"- config_name: {name}", "  data_files:"]
        for split in gsm8k.SPLITS:
            rows = [row for _, row in read_json_lines(FIXTURES / f"{split}{suffix}.jsonl")]
            file = f"{name}/{split}-00000-of-00001.parquet"
            datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "hub" / file))
            configs += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (tmp_path / "hub" / "README.md").write_text("\n".join([*configs, "---", ""]))
    return str(tmp_path / "hub")


def test_problems():
    problems = gsm8k.load("train", directory=str(FIXTURES))
    assert [problem.id for problem in problems] == [f"gsm8k/train/{i}" for i in range(4)]
    assert [problem.answer for problem in problems] == ["39", "1200", "0", "-4"]
    assert [problem.attributes for problem in problems] == [{"steps": n} for n in (2, 3, 3, 1)]
    assert {problem.split for problem in problems} == {"train"}
    assert problems[3].question.startswith("It is 3 degrees")
    assert len(gsm8k.load("test", directory=str(FIXTURES))) == 3


def test_annotations():
    annotations = gsm8k.load_annotations("train", directory=str(FIXTURES))
    assert annotations[0].steps == (
        Step("How many rolls does Mira bake?", "Mira bakes 4*12 = <<4*12=48>>48 rolls."),
        Step("How many rolls does she keep?", "She keeps 48-9 = <<48-9=39>>39 rolls."),
    )
    assert annotations[0].source == {"kind": "gold"}
    problems = gsm8k.load("train", directory=str(FIXTURES))
    for annotation, problem in zip(annotations, problems, strict=True):
        assert annotation.id == problem.id
        assert annotation.question == problem.question
        assert annotation.answer == problem.answer


def test_steps_without_solution_are_dropped():
    assert "than $20? ** \\n" in (FIXTURES / "train_socratic.jsonl").read_text()
    steps = gsm8k.load_annotations("train", directory=str(FIXTURES))[2].steps
    assert len(steps) == 3
    assert all(step.solution for step in steps)


def test_hub_rows_equal_those_of_the_files(hub_layout):
    for split in gsm8k.SPLITS:
        for load in (gsm8k.load, gsm8k.load_annotations):
            assert load(split, hub_id=hub_layout) == load(split, directory=str(FIXTURES))


def test_hub_failure_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        gsm8k.load("test", hub_id=str(tmp_path / "empty"))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'empty'} (main, test): cannot be loaded")
    assert "--config.task_options.directory" in message
    assert "\n" not in message


def test_broken_hub_row_is_named(hub_layout):
    rows = [{"question": "How many?", "answer": "7"}]
    file = f"{hub_layout}/main/test-00000-of-00001.parquet"
    datasets.Dataset.from_list(rows).to_parquet(file)
    with pytest.raises(UserError, match=r"hub \(main, test\) row 0: field 'answer'"):
        gsm8k.load("test", hub_id=hub_layout)


def test_unknown_split():
    for load in (gsm8k.load, gsm8k.load_annotations):
        with pytest.raises(UserError, match="no split 'dev': choose train or test"):
            load("dev", directory=str(FIXTURES))


def test_missing_directory_and_file(directory):
    with pytest.raises(UserError, match=r"nowhere: no such directory: set --config\.task_options"):
        gsm8k.load("test", directory=str(directory / "nowhere"))
    (directory / "test_socratic.jsonl").unlink()
    with pytest.raises(UserError, match=r"test_socratic\.jsonl: no such file: download it from"):
        gsm8k.load_annotations("test", directory=str(directory))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON object is expected"),
        (json.dumps({"answer": "a\n#### 7"}), "field 'question'"),
        (json.dumps({"question": "How many?"}), "field 'answer'"),
        (json.dumps({"question": "How many?", "answer": 7}), "field 'answer'"),
        (json.dumps({"question": " ", "answer": "a\n#### 7"}), "field 'question'"),
        (json.dumps({"question": "How many?", "answer": "It is 7."}), "#### N"),
        (json.dumps({"question": "How many?", "answer": "It is 7.\n####"}), "#### N"),
        (json.dumps({"question": "How many?", "answer": "#### 7\nso"}), "#### N"),
    ],
)
def test_broken_row_is_named_with_file_and_line(directory, line, said):
    path = directory / "test.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError) as caught:
        gsm8k.load("test", directory=str(directory))
    message = str(caught.value)
    assert message.startswith(f"{path}:4: ")
    assert said in message
    assert gsm8k.URL in message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("It is 7.\n#### 7", "not `subquestion ** solution`: 'It is 7.'"),
        ("Q? ** It ** 7.\n#### 7", "not `subquestion ** solution`"),
        ("Q? ** \n#### 7", "no step before `####`"),
        ("#### 7", "no step before `####`"),
    ],
)
def test_broken_socratic_line_is_named(directory, answer, said):
    for name in ("test.jsonl", "test_socratic.jsonl"):
        row = json.dumps({"question": "How many?", "answer": answer})
        (directory / name).write_text(row + "\n")
    with pytest.raises(UserError) as caught:
        gsm8k.load_annotations("test", directory=str(directory))
    assert str(caught.value).startswith(f"{directory / 'test_socratic.jsonl'}:1: {said}")


def test_counts_that_differ(directory):
    path = directory / "test_socratic.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match="3 test problems but 2 socratic rows"):
        gsm8k.load_annotations("test", directory=str(directory))


def test_grade():
    grade = gsm8k.grade("She keeps 39.\n#### 39", "39")
    assert grade.prediction == "39"
    assert len(grade.scores) == 4 and all(grade.scores.values())


@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("test", 1319)])
def test_real_gold_completions_are_correct_for_all_three_scores(real, split, count):
    problems = gsm8k.load(split, directory=real)
    rows = read_json_lines(os.path.join(real, f"{split}.jsonl"))
    assert len(problems) == len(rows) == count
    for problem, (_, row) in zip(problems, rows, strict=True):
        grade = gsm8k.grade(row["answer"], problem.answer)
        assert all(grade.scores.values()), problem.id
        assert grade.prediction == problem.answer


@pytest.mark.parametrize("split", gsm8k.SPLITS)
def test_real_annotations_match_their_problems(real, split):
    annotations = gsm8k.load_annotations(split, directory=real)
    for annotation, problem in zip(annotations, gsm8k.load(split, directory=real), strict=True):
        assert (annotation.id, annotation.question) == (problem.id, problem.question)
        assert annotation.answer == problem.answer
        assert len(annotation.steps) == problem.attributes["steps"]
        assert all(step.subquestion and step.solution for step in annotation.steps)


def test_real_last_number_of_the_last_step_is_not_always_the_answer(real):
    annotations = gsm8k.load_annotations("train", directory=real)

    def plain(text):
        found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
        return parse_value(found[-1].rstrip(",")) if found else None

    last = [(a.steps[-1].solution, parse_value(a.answer)) for a in annotations]
    assert sum(plain(text) != answer for text, answer in last) == 210
    # Five of them are only misread: `$100 000` (three), `mp3`, `vitamin D3`.
    assert sum(extract_numbers(text)[-1:] != [answer] for text, answer in last) == 205
