"""The data set of annotations: what `datasets` reads of it, its card, and a Hub on loopback."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from scripted_hub import running_hub

from distill_jax.annotations import hub
from distill_jax.errors import UserError
from distill_jax.run import training_annotations
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def workdir(tmp_path):
    config = command_line.load_config("configs/base.py")
    counts = {f"task_options.{split}_problems": "30" for split in ("train", "dev", "test")}
    command_line.apply_overrides(config, counts | {"data.dev_problems": "3"})
    inputs = make_run(config, Workdir(tmp_path / "w"))
    training_annotations.write_annotations(
        inputs, training_annotations.collect(inputs, Terminal()), Terminal()
    )
    return inputs.workdir


def test_datasets_reads_the_folder_and_the_card_counts(workdir, tmp_path):
    import datasets

    folder = tmp_path / "folder"
    folder.mkdir()
    hub.write_folder(workdir, folder)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    rows = [json.loads(line) for line in workdir.annotations.read_text().splitlines()]
    assert loaded["train"].to_list() == rows and len(rows) == 27
    assert len(loaded["validation"]) == 3
    card = (folder / "README.md").read_text()
    assert "27 annotations" in card and "| gold |  |  |  | 27 |" in card
    assert "terms of a teacher's provider apply" in card


def test_pushed_and_read_back_by_another_run(workdir, tmp_path):
    flags = [f"--config.task_options.{split}_problems=30" for split in ("train", "dev", "test")]
    start = [sys.executable, "-m", "distill_jax.annotate"]
    config = ["--config", "configs/base.py", *flags, "--config.data.dev_problems=3"]
    with running_hub(tmp_path / "hf") as (repositories, variables):
        for more in (
            ["--workdir", str(workdir.path), "--push_to", "me/set"],
            [*config, "--workdir", str(tmp_path / "v"), "--config.data.annotations=hub:me/set"],
        ):
            done = subprocess.run(
                [*start, *more],
                cwd=ROOT,
                env=os.environ | variables,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    files = repositories["datasets/me/set"]
    assert sorted(files) == ["README.md", "summary.json", "train.jsonl", "validation.jsonl"]
    assert files["train.jsonl"] == workdir.annotations.read_bytes()
    read = [
        json.loads(line) for line in (tmp_path / "v/annotations.jsonl").read_text().splitlines()
    ]
    ids = {json.loads(line)["id"] for line in workdir.annotations.read_text().splitlines()}
    assert {row["id"] for row in read} <= ids and len(read) == 25  # a tenth is held out again


def test_nothing_to_push_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"run `python -m distill_jax\.annotate`"):
        hub.push(Workdir(tmp_path), "me/set")
