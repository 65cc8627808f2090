"""Files that are not what they should be, and texts that no file can hold: one line each."""

import json

import pytest
from run_directories import identity, solved, write_run

from distill_jax import records
from distill_jax.errors import UserError
from distill_jax.evaluation import breakdowns, comparison_tables, listing, runs
from distill_jax.evaluation.summary import Circumstances, summarise
from distill_jax.records import Annotation, Problem, Step, read_json_lines
from distill_jax.run import checks, from_first
from distill_jax.run.run import make_run, stored_run
from distill_jax.settings import command_line
from distill_jax.tasks import jsonl, upstream
from distill_jax.text.tokenizer import load_tokenizer
from distill_jax.tracking.metrics_file import MetricsFile
from distill_jax.workdir import Workdir, write_json, write_text

PROBLEMS = [Problem(f"p{i}", f"How many {i}?", "7", "test", {"steps": 1}) for i in range(3)]
DAMAGED = {
    "empty object": b"{}",
    "list": b"[]",
    "null": b"null",
    "nothing": b"",
    "not UTF-8": b'{"config": "\xff"}',
    "torn": b'{"config": {"seed"',
    "other types": b'{"config": {"seed": []}, "identity": [], "solver": 1, "decomposer": {}}',
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run with an evaluation, and with the config of a real run."""
    path = tmp_path_factory.mktemp("run") / "w"
    write_run(path, [solved(p, [("How?", "7")]) for p in PROBLEMS])
    run = make_run(command_line.load_config("demo.py"), Workdir(path))
    write_json(run.workdir.config, {"config": run.config.to_dict(), "identity": run.identity()})
    return path


def read_everything(path):
    """What commands read of a run, one after another; each may end in a UserError."""

    def train():
        run = from_first.checked(stored_run(Workdir(path), {}))
        from_first.known_students(run)
        from_first.tokenizer(run)

    def report():
        found = runs.read_runs([str(path)])
        comparison_tables.settings_table(found)

    for read in (train, report, lambda: listing.list_evaluations(Workdir(path))):
        try:
            read()
        except UserError as error:
            yield str(error)


FILES = ["config.json", "format_version", "training_data.json", "report.json"]
FILES += ["evaluations/headline-40-20-0123abcd/report.json"]


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_of_a_run_are_one_line(name, damage, finished):
    path = finished / name
    whole = path.read_bytes()
    try:
        path.write_bytes(DAMAGED[damage])
        said = list(read_everything(finished))
    finally:
        path.write_bytes(whole)
    assert said and not any("\n" in line for line in said)
    where = "format version" if name == "format_version" else path.name
    assert any(where in line for line in said), said


def test_a_run_without_its_tokenizer_is_told_so(finished):
    assert any("tokenizer is missing: put back" in line for line in read_everything(finished))


HALF = "\\ud83d"  # as it is spelt in JSON


@pytest.mark.parametrize("field", ["question", "answer", "id", "steps", "attributes"])
def test_half_a_character_is_refused_with_its_line(field, tmp_path):
    row = {"question": "3 + 4?", "answer": "7", "id": "a"}
    row |= {"steps": [{"subquestion": None, "solution": "7"}], "attributes": {"topic": "x"}}
    whole = json.dumps({"question": "\U0001f600?", "answer": 7})  # both halves: a character
    broken = json.dumps(row | {field: "MARK"}) if field in ("question", "answer", "id") else (
        json.dumps(row).replace('"x"' if field == "attributes" else '"solution": "7"',
                                '"MARK"' if field == "attributes" else '"solution": "MARK"')
    )  # fmt: skip
    write_text(tmp_path / "train.jsonl", f"{whole}\n{broken.replace('MARK', HALF)}\n")
    with pytest.raises(UserError, match=r"train.jsonl:2: \\ud83d is half a character"):
        jsonl.load("train", directory=str(tmp_path))
    write_text(tmp_path / "train.jsonl", whole)
    [problem] = jsonl.load("train", directory=str(tmp_path))
    assert problem.question == "\U0001f600?"


def test_half_a_character_in_other_files(tmp_path):
    write_text(tmp_path / "rows.jsonl", f'{{"question": "{HALF}", "answer": "7"}}')
    with pytest.raises(UserError, match="half a character"):
        read_json_lines(tmp_path / "rows.jsonl")
    assert read_json_lines(tmp_path / "rows.jsonl", mend=True)[0][1]["question"] == "?"
    write_text(tmp_path / "SVAMP.json", f'[{{"ID": "{HALF}"}}]')
    with pytest.raises(UserError, match=r"SVAMP.json row 0: .* half a character"):
        upstream.json_rows(tmp_path / "SVAMP.json", "URL")


def test_half_a_character_from_anywhere_else_is_not_written(tmp_path):
    with pytest.raises(UserError, match=r"a.txt cannot .*: half a character in 'So \\ud83d'"):
        write_text(tmp_path / "a.txt", "So \ud83d!")
    assert not any(tmp_path.iterdir())


def test_rows_that_are_no_annotations(tmp_path):
    whole = Annotation("a", "Q?", "7", (Step(None, "7"),), {"kind": "gold"})
    path = tmp_path / "annotations.jsonl"
    write_text(path, records.to_json(whole))
    assert records.read_annotations(path) == [whole]
    for row in ("{}", '{"id": "a", "question": "Q", "answer": "7", "source": {}, "steps": 7}'):
        write_text(path, f"{records.to_json(whole)}\n{row}\n")
        with pytest.raises(UserError, match=r"annotations.jsonl:2: not an annotation"):
            records.read_annotations(path)


def test_damaged_lines_of_metrics_are_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 5, "loss": 1.5}\n[1]\n{}\n"\xff\n{"step": 7, "loss": 1.0}\n{"st')
    metrics = MetricsFile(path)
    assert metrics.curve("loss") == [(5, 1.5), (7, 1.0)]
    metrics.forget_after(5, "loss")
    assert path.read_text() == '{"step": 5, "loss": 1.5}\n'


@pytest.mark.parametrize("content", [b"{}", b"[]", b"null", b"{", b"\xff", b'{"model": 1}', b""])
def test_a_tokenizer_that_is_none(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"cannot load a tokenizer \(.*\): give a directory"
    ) as said:
        load_tokenizer(str(tmp_path))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, float("nan"), float("inf"), None, True, 2, 2.5, "two", 10**400]
)
def test_any_attribute_steps_can_be_reported(value):
    told = [Problem("p3", "How many?", "7", "test", {"steps": value}), *PROBLEMS]
    predictions = [solved(problem, [("How?", "7")]) for problem in told]
    circumstances = Circumstances(
        "t",
        "test",
        {"solver": 1},
        identity=identity(),
        seed=0,
        seconds=1.0,
        sampling={"temperature": 0.0},
    )
    by_steps = summarise(predictions, {}, circumstances)["by_steps"]
    counted = isinstance(value, int | str) or value == 2.5
    assert sum(group["n"] for group in by_steps) == 3 + counted
    assert sum(group.n for group in breakdowns.by_attribute(predictions, "steps")) == 3 + counted
    json.dumps(by_steps, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("('FILE')", ("FILE",)), ("['a', 'b']", ("a", "b")), ("('a',)", ("a",)), ("()", ()),
        ("FILE", ("FILE",)), ("(0.2, 0.8)", (0.2, 0.8)), ("(5)", (5,)),
    ],
)  # fmt: skip
def test_a_list_of_one_is_not_cut_into_letters(text, value):
    assert command_line.parse_value(text, ()) == value


KEYS = ["data.annotations", "train.students", "tracking", "evaluation.task_options"]


@pytest.mark.parametrize("key", [*KEYS, "reads.solver"])
def test_lists_of_texts_hold_nothing_else(key):
    config = command_line.load_config("demo.py")
    config.update_from_flattened_dict({key: (5,)})
    found = [mistake for mistake in checks.mistakes(config) if "texts are expected" in mistake]
    assert found == [f"config.{key}=(5,): texts are expected, such as ('a', 'b')"]


def test_shares_that_are_no_numbers():
    config = command_line.load_config("demo.py")
    config.data.annotations, config.data.mixture = ("a",), (None,)
    assert "shares are numbers" in checks.mistakes(config)[0]
