"""metrics.jsonl."""

import json

from distill_jax.metrics import MetricsFile


def test_metrics_file_forgets_what_a_resumed_run_writes_again(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for number in (10, 20, 30):
        file.write(number, {"train/solver/loss": number / 10})
        file.write(number, {"train/decomposer/loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as torn:
        torn.write('{"step": 40, "train/sol')
    file.forget_after(20, "train/solver/")
    assert file.curve("train/solver/loss") == [(10, 1.0), (20, 2.0)]
    assert len(file.curve("train/decomposer/loss")) == 3
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_line_after_a_torn_one_is_not_lost(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.forget_after(0, "train/solver/")  # no file yet
    file.write(10, {"train/solver/loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as torn:
        torn.write('{"step": 20, "train/sol')
    file.forget_after(10, "train/solver/")
    file.write(20, {"train/solver/loss": 2.0})
    assert file.curve("train/solver/loss") == [(10, 1.0), (20, 2.0)]
