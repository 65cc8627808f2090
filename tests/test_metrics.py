"""metrics.jsonl."""

import json

from distill_jax.tracking import terminal
from distill_jax.tracking.metrics_file import MetricsFile


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


def test_the_time_left_is_reckoned_from_the_first_report_not_from_compiling(monkeypatch):
    clock, said = iter([0.0, 100.0, 105.0, 120.0, 125.0]), []
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    progress = terminal.Progress(None, None, said.append, "training", 100)
    progress.update(20, "loss 3")  # compiled for 100 s: nothing is known of the pace yet
    progress.update(30, "loss 2")  # 5 s after the line before: none
    progress.update(60, "loss 1")  # 40 in 20 s
    progress.update(100, "loss 0")  # the last one always comes
    assert said == [
        "training 20/100 loss 3",
        "training 60/100 loss 1 left 0:20",
        "training 100/100 loss 0 left 0:00",
    ]
