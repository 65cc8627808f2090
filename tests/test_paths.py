"""Paths that users give: `~`, addresses, relative ones, and places that cannot be written to."""

import errno
import fcntl
import os
import pathlib
import re
import shlex
import shutil

import pytest
from run_directories import solved, write_run

from distill_jax import errors
from distill_jax.errors import UserError
from distill_jax.evaluation import combined_evaluation, comparison, runs
from distill_jax.export.__main__ import main as export
from distill_jax.model import gguf_source, hugging_face
from distill_jax.records import Problem
from distill_jax.run import annotation_sources, checks, from_first, restore_students, student_source
from distill_jax.run.output_check import check_outputs
from distill_jax.run.run import make_run, stored_run
from distill_jax.settings import command_line
from distill_jax.sweep import __main__ as sweep
from distill_jax.tasks import jsonl, upstream
from distill_jax.teacher import prompt
from distill_jax.teacher.cache import AnswerCache
from distill_jax.text.tokenizer import load_tokenizer, train_tokenizer
from distill_jax.tracking.terminal import Terminal
from distill_jax.training.manifest import MANIFEST
from distill_jax.workdir import Workdir, local_path, write_json, write_text

PROBLEMS = [Problem(f"p{i}", f"How many {i}?", "7", "test", {"steps": 1}) for i in range(3)]
INIT = "config.model.solver.init_from"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home directory, and beside it the one that the tests run in."""
    made, here = tmp_path / "home", tmp_path / "here"
    made.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.chdir(here)
    return made


def demo(**changes):
    config = command_line.load_config("demo.py")
    command_line.set_values(config, {k.replace("__", "."): v for k, v in changes.items()})
    return config


def annotations_of_file(name):
    run = make_run(demo(data__annotations=(name,)), Workdir("w"))
    return annotation_sources._from_files(run, Terminal(quiet=True), PROBLEMS).annotations


READERS = {
    "workdir": lambda path: Workdir(path).path,
    "--config": command_line.load_config,
    "run of a report": lambda path: runs.read_runs([path]),
    "--output of combine": combined_evaluation.check_output,
    "--output of export": lambda path: export(["--workdir", "w", "--output", path]),
    "--workdir of a sweep": lambda path: sweep.main(["--config=schemes.py", "--workdir", path]),
    "task_options.directory": lambda path: jsonl.load("train", directory=path),
    "directory of published data": lambda path: upstream.folder(path, "files"),
    "teacher.prompt": lambda path: prompt.load_prompt(path, "arithmetic"),
    "teacher.cache_dir": lambda path: AnswerCache(path, "m", print).path,
    "data.annotations": annotations_of_file,
    "tokenizer.name": load_tokenizer,
    "init_from": lambda path: hugging_face.find(path, INIT),
    "init_from=FILE.gguf": lambda path: gguf_source.find(path, INIT),
    "init_from of a run": student_source.other_run,
    "step of a run": lambda path: student_source._other_step(path, "solver"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("address", ["gs://bucket/x", "GS://bucket/x", "file:///tmp/x", "gs:/b/x"])
def test_no_address_is_taken_for_a_path(reader, address, home):
    with pytest.raises(UserError, match=f"={address}: .* is expected"):
        READERS[reader](address)
    assert not any(pathlib.Path().iterdir())


def test_the_home_directory_is_meant_everywhere(home):
    assert READERS["workdir"]("~/w") == home / "w"
    shutil.copy(command_line.PACKAGED_CONFIGS / "demo.py", home / "mine.py")
    assert READERS["--config"]("~/mine.py").scheme == "socratic"
    write_text(home / "d/train.jsonl", '{"question": "3 + 4?", "answer": 7}')
    assert len(READERS["task_options.directory"]("~/d")) == 1
    assert READERS["directory of published data"]("~/d") == home / "d"
    write_text(home / "p.txt", "=== format\nchain\n=== user\n{{ question }}\n")
    assert READERS["teacher.prompt"]("~/p.txt").format == "chain"
    assert READERS["teacher.cache_dir"]("~/answers").parent == home / "answers"
    row = '{"id": "p1", "question": "How many 1?", "answer": "7", "source": {"kind": "gold"}, '
    write_text(home / "a.jsonl", row + '"steps": [{"subquestion": "How?", "solution": "7"}]}')
    assert len(READERS["data.annotations"]("~/a.jsonl")) == 1
    train_tokenizer(["a b"], 258).save(home / "tokenizer")
    assert READERS["tokenizer.name"]("~/tokenizer").size == 258
    (home / "model").mkdir()
    for reader, name in (("init_from", "model"), ("init_from=FILE.gguf", "model.gguf")):
        with pytest.raises(UserError, match=str(home / name)):
            READERS[reader](f"~/{name}")
    assert READERS["init_from of a run"]("~/r/checkpoints/s") == (home / "r", "s")
    write_text(home / "r/checkpoints/s/5" / MANIFEST, "{}")
    write_text(home / "r/training_data.json", '{"s": {"finished_at": 5}}')
    assert READERS["step of a run"]("~/r/checkpoints/s") == home / "r/checkpoints/s/5"
    for name, right in (("a", True), ("b", False)):
        write_run(home / name, [solved(p, [("How?", "7")], right) for p in PROBLEMS])
    with pytest.raises(UserError, match=f"{home / 'a'} belongs to a run"):
        READERS["--output of combine"]("~/a")
    assert [run.path for run in READERS["run of a report"]("~/a")] == [home / "a"]
    written = comparison.write_comparison(["~/a", "~/b"], "~/out", baseline="~/b", dialogues=0)
    assert written[0] == home / "out/comparison.html" and written[0].exists()
    run = make_run(demo(checkpoint_dir="~/c"), Workdir("w"))
    assert str(run.checkpoint_directory("solver")) == str(home / "c/solver")
    assert not any(pathlib.Path().iterdir())


def test_names_that_are_no_paths(home):
    with pytest.raises(UserError, match="this user has no home directory here"):
        local_path("~no_such_user/x", "--output")
    with pytest.raises(UserError, match="not UTF-8"):
        local_path(os.fsdecode(b"\xff"), "--output")
    assert local_path("a/~b", "--output") == pathlib.Path("a/~b")


def test_all_addresses_of_a_config_are_found_at_once(home):
    s3 = "s3://b/x"
    config = demo(data__annotations=(s3, "hub:me/x"), tokenizer__name="https://huggingface.co/gpt2")
    found = demo(checkpoint_dir=s3, teacher__cache_dir=s3, teacher__prompt=s3)
    for section in ("data.annotations", "tokenizer.name"):
        found[section.split(".")[0]] = config[section.split(".")[0]]
    found.model.solver.init_from = s3
    text = "; ".join(checks.mistakes(found))
    keys = ("data.annotations", "tokenizer.name", "checkpoint_dir", "teacher.cache_dir")
    for key in (*keys, "teacher.prompt", "model.solver.init_from"):
        assert text.count(f"config.{key}=") == 1, text
    assert "hub:me" not in text


@pytest.mark.parametrize("directory", ["GS://b/x", "s3://b/x", "file:///tmp/x", "gs://", "gs:/b"])
def test_checkpoints_are_in_a_directory_or_a_bucket(directory):
    [found] = checks.mistakes(demo(checkpoint_dir=directory))
    assert found.startswith(f"config.checkpoint_dir={directory}: a local directory or gs://BUCKET/")


def test_a_bucket_needs_its_package(monkeypatch):
    bucket, there = demo(checkpoint_dir="gs://b/x/"), []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in there or None)
    assert checks.mistakes(bucket) == [
        "config.checkpoint_dir=gs://b/x/ needs a package: pip install 'etils[epath-gcs]'"
    ]
    there.append("gcsfs")
    assert checks.mistakes(bucket) == []
    assert make_run(bucket, Workdir("w")).config.checkpoint_dir == "gs://b/x/"


def test_a_relative_checkpoint_dir_is_found_from_another_directory(home, monkeypatch):
    run = make_run(demo(checkpoint_dir="c"), Workdir(home / "w"))
    run.workdir.write_config(run.config.to_dict(), run.identity())
    facts = {student: {"finished_at": 5} for student in run.students}
    write_json(run.workdir.training_data, facts)
    for student in run.students:
        write_text(pathlib.Path("c", student, "5", MANIFEST), "{}")
    there = pathlib.Path("c").absolute()
    monkeypatch.chdir(home)
    again = stored_run(Workdir("w"), {})
    assert from_first.known_students(again).finished == dict.fromkeys(run.students, 5)
    # A disk that is not mounted, or a run from before: what is missing is named.
    shutil.move(there, home / "moved")
    with pytest.raises(UserError, match=rf"{there}/\w+: no such directory.* --config.checkpoint_d"):
        restore_students.check_finished(again, from_first.known_students(again))
    moved = stored_run(Workdir("w"), {"checkpoint_dir": "moved"})
    assert restore_students.check_finished(moved, from_first.known_students(moved))


def blocked(home, what):
    """(a config, the directory of a run) with a place that cannot be written to, and its path."""
    write_text(home / "file", "")
    workdir = Workdir(home / "w")
    place = {
        "below a file": home / "file/x",
        "no directory": home / "file",
        "system": pathlib.Path("/proc/x"),
        "long name": home / ("x" * 300),
        "in workdir": workdir.evaluations,
        "log": workdir.log,
        "report": workdir.report_html,
    }[what]
    if what == "in workdir":
        write_text(place, "")
    elif what in ("log", "report"):
        place.mkdir(parents=True)
    inside = place.is_relative_to(workdir.path)
    return demo(checkpoint_dir="" if inside else str(place)), workdir, place


BLOCKED = ["below a file", "no directory", "system", "long name", "in workdir", "log", "report"]


@pytest.mark.parametrize("what", BLOCKED)
def test_every_output_is_tried_before_anything_is_done(what, home):
    config, workdir, place = blocked(home, what)
    before = sorted(home.rglob("*"))
    with pytest.raises(UserError) as raised:
        check_outputs(make_run(config, workdir))
    assert str(place) in str(raised.value) and "\n" not in str(raised.value)
    assert sorted(home.rglob("*")) == before
    check_outputs(make_run(demo(), Workdir(home / "other/new")))
    assert sorted(home.rglob("*")) == before


def test_a_file_system_without_locks_is_named(home, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"w: files cannot be locked there .*another disk"):
        Workdir("w").locked().__enter__()
    assert not pathlib.Path("w").exists()
    with pytest.raises(UserError, match=r"files cannot be locked there .*cache_dir"):
        AnswerCache("answers", "m", print).__enter__()


@pytest.mark.parametrize("name", ["file/w", "x" * 300])
def test_a_workdir_that_cannot_be_made_is_one_line(name, home):
    pathlib.Path("file").write_text("")
    with pytest.raises(UserError, match=f"--workdir={name}: .*: choose another"):
        Workdir(name).locked().__enter__()


def test_places_that_cannot_be_written_are_one_line_of_every_command(home, capsys):
    pathlib.Path("file").write_text("")
    pathlib.Path("folder").mkdir()
    for place in ("file/x/y.txt", "x" * 300, "folder"):
        assert errors.run_command(lambda argv, p=place: write_text(pathlib.Path(p), ""), []) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and place[:5] in said
    for number in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EDQUOT):
        error = OSError(number, os.strerror(number), "some/place")
        assert isinstance(errors.of_the_system(error), UserError)
    assert errors.of_the_system(OSError(errno.EACCES, "not of a file")) is None
    assert errors.of_the_system(FileNotFoundError(errno.ENOENT, "ours", "some/place")) is None


def test_commands_that_are_shown_can_be_pasted(home):
    place = home / "it's a run"
    write_json(place / "config.json", {})
    with pytest.raises(UserError, match="is not evaluated yet") as raised:
        runs.read_runs([str(place)])
    assert shlex.quote(str(place)) in str(raised.value)
    words = shlex.split(command_line.to_type("evaluate", "--workdir", place, "--list"))
    assert words == ["python", "-m", "distill_jax.evaluate", "--workdir", str(place), "--list"]
    # What is shown with a value in it is made by to_type(), what is given is read by local_path().
    for path in pathlib.Path(errors.__file__).parent.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "Path(arguments." not in line, f"{path}: {line}"
            assert not re.search(r"python -m distill_jax\.\w+ [^`\"]*\{", line), f"{path}: {line}"
