"""Annotations of a run: what is said of them, and rows that can be found by what messages say."""

import json

import pytest

from distill_jax import command_line, run_data
from distill_jax.errors import UserError
from distill_jax.run_inputs import RunInputs
from distill_jax.text import rows
from distill_jax.text.tokenizer import train_tokenizer
from distill_jax.training.batches import StudentRows
from distill_jax.workdir import Workdir


def own_rows(count, without_steps=0):
    steps = [{"subquestion": "How many?", "solution": "4"}]
    made = [
        {"question": f"What is {n} + 1?", "answer": n + 1, "steps": steps} for n in range(count)
    ]
    return made + [{"question": f"Why {n}?", "answer": n} for n in range(without_steps)]


def inputs_of(directory, train, **overrides):
    lines = "".join(json.dumps(row) + "\n" for row in train)
    (directory / "train.jsonl").write_text(lines)
    (directory / "dev.jsonl").write_text(lines)
    config = command_line.load_config("configs/jsonl.py")
    flat = {"task_options.directory": str(directory)} | overrides
    command_line.apply_overrides(config, flat)
    return RunInputs(config, Workdir(directory / "w"))


@pytest.mark.parametrize(
    ("overrides", "usage"),
    [
        ({}, "33 problems: 30 with steps, 0 rejected, 3 held out for dev; 27 to train on"),
        (
            {"data.train_problems": "5", "data.dev_problems": "0"},
            "33 problems: 30 with steps, 0 rejected, 0 held out for dev; 5 to train on",
        ),
        ({"scheme": "answer_only"}, "33 problems: 0 rejected, 3 held out for dev; 30 to train on"),
        (
            {"data.dev_split": "dev", "data.dev_problems": "4"},
            "33 problems: 30 with steps, 0 rejected; dev: 33 problems: 30 with steps, 0 rejected, "
            "4 used; 26 to train on",
        ),
    ],
)
def test_what_became_of_own_rows_is_said(overrides, usage, tmp_path):
    assert run_data.collect(inputs_of(tmp_path, own_rows(30, 3), **overrides)).usage == usage


def test_a_missing_dev_file_is_named_with_the_remedy(tmp_path):
    inputs = inputs_of(tmp_path, own_rows(30))
    data = run_data.collect(inputs)
    run_data.write(inputs, data, inputs.tokenizer(data.train))
    assert run_data.collect(inputs).train == data.train
    inputs.workdir.dev_annotations.unlink()
    with pytest.raises(UserError, match=r"annotations\.dev\.jsonl is missing: put it back, or"):
        run_data.collect(inputs)


def test_a_row_that_is_too_long_is_named_by_its_annotation_and_question(tmp_path):
    long = {
        "question": "Why? " * 50,
        "answer": 7,
        "steps": [{"subquestion": None, "solution": "7"}],
    }
    inputs = inputs_of(tmp_path, [*own_rows(5), long], scheme="chain")
    annotations = run_data.collect(inputs).train
    tokenizer = train_tokenizer([a.question for a in annotations], 300)
    encoded = rows.encode_rows(annotations, inputs.scheme, inputs.views, tokenizer)["solver"]
    with pytest.raises(
        UserError, match=r"\(longest: jsonl/train/5 \('Why\? Why\? .*\.\.\.'\) with"
    ):
        StudentRows(encoded, "solver", 30, 0.0)
