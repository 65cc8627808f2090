"""metrics.jsonl, and the bar beside it."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.tracking import terminal
from distill_jax.tracking.metrics_file import MetricsFile
from distill_jax.training import hooks, loop


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


def test_a_terminal_obeys_nothing_that_is_printed(capsys):
    shown = terminal.Terminal()
    shown.show("a\x1b[31m\nb")
    shown.say("c\u202ed")
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == ("a\\x1b[31m", "b") and third.endswith("c\\u202ed")


class Tracker:
    def __init__(self):
        self.written = []

    def write(self, kind, student, step, values):
        self.written.append((step, values["loss"], values["tokens_per_second"]))


def test_slow_steps_are_shown_when_they_end_and_their_pace_is_right(monkeypatch):
    """A device takes 6 s for a step, of which every fourth is written. Steps are dispatched at
    once, but only two of them are under way, so the bar moves with the device."""
    now, shown = [0.0], []
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now[0])

    def wait_for(values):
        now[0] = max(now[0], 6.0 * (10 - float(values["loss"])))

    monkeypatch.setattr(hooks.jax, "block_until_ready", wait_for)
    bar = types.SimpleNamespace(update=lambda done, note: shown.append((now[0], done, note)))
    stopwatch = loop.Stopwatch()
    moment = loop.Moment(step=0, state=None, until=9, tokens=0, stopwatch=stopwatch)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    tracker = Tracker()
    logging = hooks.Logging(
        "solver", 4, tracker, bar, hooks.Speed(moment, 1.0, mesh), lambda step: 0.1, None
    )
    logging(moment)
    for step in range(1, 10):
        moment.step, moment.values = step, {"loss": jnp.float32(10 - step)}
        moment.tokens, moment.stop = 60 * step, step == 9
        logging(moment)
        assert now[0] == 6 * max(0, step - 2)
    logging.flush()
    assert tracker.written == [(4, 6.0, 10.0), (8, 2.0, 10.0), (9, 1.0, 10.0)]
    paces = [""] * 3 + [" 10 tokens/s"] * 6
    assert shown == [
        (6.0 * step, step, f"loss {10 - step}.000{pace}")
        for step, pace in enumerate(paces, start=1)
    ]


def test_fast_steps_are_shown_when_they_are_written(monkeypatch):
    now, shown = [0.0], []
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now[0])
    bar = types.SimpleNamespace(update=lambda done, note: shown.append(done))
    moment = loop.Moment(step=0, state=None, until=20, tokens=0, stopwatch=loop.Stopwatch())
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    logging = hooks.Logging(
        "solver", 4, Tracker(), bar, hooks.Speed(moment, 1.0, mesh), lambda step: 0.1, None
    )
    for step in range(1, 13):
        now[0] += 0.1
        moment.step, moment.values = step, {"loss": jnp.float32(1)}
        logging(moment)
    assert shown == [4, 8]
    logging.flush()
    assert shown == [4, 8, 12]
