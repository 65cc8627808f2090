"""Whose a working directory is: refused, taken over, and what is noticed about its files."""

import pytest

from distill_jax.errors import UserError
from distill_jax.run.workdir_check import check_workdir
from distill_jax.training.manifest import MANIFEST
from distill_jax.workdir import Workdir, some_of, write_json, write_text

OLD, NEW = {"seed": 0}, {"seed": 1}


@pytest.fixture
def workdir(tmp_path):
    """A run that began to train and has no checkpoint yet."""
    made = Workdir(tmp_path / "w")
    made.path.mkdir()
    made.write_config({"checkpoint_dir": ""}, OLD)
    for path in (made.annotations, made.dev_annotations, made.tokenizer / "tokenizer.json"):
        write_text(path, path.name)
    write_json(made.training_data, {"solver": {"steps": 9, "sha256": made.hashes()}})
    return made


def check(workdir, identity, may_take_over=True):
    return check_workdir(workdir, identity, may_take_over=may_take_over)


def test_a_run_without_checkpoint_can_be_replaced_and_then_nothing_of_it_is_left(workdir):
    assert not check(workdir, OLD)
    assert check(workdir, NEW)
    with pytest.raises(UserError, match=r"holds another run \(config.seed was 0, now 1\)"):
        check(workdir, NEW, may_take_over=False)
    workdir.clear()
    assert [path.name for path in workdir.path.iterdir()] == ["format_version"]
    assert not check(workdir, NEW)


@pytest.mark.parametrize("trained", ["checkpoint", "finished", "evaluated", "not mounted"])
def test_a_run_that_was_trained_stays(trained, workdir):
    if trained == "checkpoint":
        write_text(workdir.checkpoints / "decomposer" / "5" / MANIFEST, "{}")
    elif trained == "finished":
        write_json(workdir.training_data, {"solver": {"finished_at": 9}})
    elif trained == "evaluated":
        workdir.evaluations.mkdir()
    else:
        workdir.write_config({"checkpoint_dir": str(workdir.path / "no_such_disk")}, OLD)
    with pytest.raises(UserError, match="holds another run"):
        check(workdir, NEW)
    assert not check(workdir, OLD)


@pytest.mark.parametrize("name", ["annotations.jsonl", "annotations.dev.jsonl", "tokenizer.json"])
def test_a_file_that_changed_or_is_missing_is_named_with_the_remedy(name, workdir):
    (path,) = workdir.path.rglob(name)
    path.write_text("changed")
    with pytest.raises(UserError, match=rf"{name} is not what it was when student 'solver' .* put"):
        check(workdir, OLD)
    path.unlink()
    with pytest.raises(UserError, match=rf"{name} is missing, .*, or start a new --workdir"):
        check(workdir, OLD)


def test_checkpoints_without_config_are_nobodys(workdir):
    workdir.config.unlink()
    with pytest.raises(UserError, match=r"without its config.json: put the file back"):
        check(workdir, OLD)
    workdir.training_data.unlink()
    assert not check(workdir, OLD)
    write_text(workdir.checkpoints / "solver" / "5" / MANIFEST, "{}")
    with pytest.raises(UserError, match=r"without its config.json: put the file back"):
        check(workdir, OLD)


def test_long_lists_are_cut():
    assert some_of(list("abcd")) == "a; b; c; d"
    assert some_of(list("abcdef")) == "a; b; c; d; and 2 more"
