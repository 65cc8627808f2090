"""Where values go: event files as TensorBoard reads them, W&B offline, trackio, a profile."""

import gzip
import json
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from experiment_runs import ROOT, TINY, command, curve, environment, one_error_line, run
from tracker_files import trackio_sent, wandb_sent

from distill_jax import devices
from distill_jax.errors import UserError
from distill_jax.settings import command_line
from distill_jax.tracking.metrics_file import MetricsFile
from distill_jax.tracking.trackers import Tracking, _as_code
from distill_jax.training import hooks
from distill_jax.workdir import Workdir

pytest.importorskip("tensorboardX", reason="no tensorboardX: pip install 'distill-jax[test]'")
event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="no TensorBoard: pip install 'distill-jax[test]'",
)

KEY = "sk-nobody-may-read-this"
STEPS = [
    "--config.train.steps=30",
    "--config.train.eval_every=15",
    "--config.train.dev_dialogues=2",
]
SHORT = [*TINY, *STEPS]


def series(workdir, name):
    """One run of TensorBoard, read as TensorBoard itself does."""
    events = event_accumulator.EventAccumulator(
        str(workdir / "tensorboard" / name), {event_accumulator.TENSORS: 0}
    )
    events.Reload()
    return events


def scalars(workdir, name, tag):
    return [(event.step, event.value) for event in series(workdir, name).Scalars(tag)]


def texts(workdir, name, tag):
    return [
        (event.step, event.tensor_proto.string_val[0].decode())
        for event in series(workdir, name).Tensors(f"{tag}/text_summary")
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "w"
    secret = ["--config.teacher.base_url=http://me:secret@localhost/v1"]
    profile = ["--config.train.profile_first=7", "--config.train.profile_last=9"]
    done = subprocess.run(
        command("main", *SHORT, *secret, *profile, "--workdir", workdir),
        cwd=ROOT, env=environment() | {"OPENAI_API_KEY": KEY}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return workdir, done.stdout


def test_pytorch_stays_outside(tmp_path):
    """tensorboardX would import it; who wants it afterwards still gets it."""
    pytest.importorskip("torch", reason="no PyTorch: pip install 'distill-jax[peers]'")
    script = (
        "import pathlib, sys; from distill_jax.tracking import trackers\n"
        "board = trackers.TensorBoard(pathlib.Path(sys.argv[1]), {'seed': 0}, [])\n"
        "board.start('solver', 0, {}); board.write('train', 'solver', 1, {'loss': 2.5})\n"
        "board.close(); assert 'torch' not in sys.modules\n"
        "import torch; print(torch.zeros(2).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "tensorboard"],
        env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[0.0, 0.0]\n"), done.stderr
    assert scalars(tmp_path, "solver", "train/loss") == [(1, 2.5)]


def test_tensorboard_shows_what_metrics_jsonl_holds(whole):
    workdir, _ = whole
    assert sorted(path.name for path in (workdir / "tensorboard").iterdir()) == [
        "decomposer", "evaluation", "solver",
    ]  # fmt: skip
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    names = {name for line in lines for name in line if name != "step"}
    wanted = ("loss", "grad_norm", "learning_rate", "tokens", "tokens_per_second")
    assert {f"train/solver/{name}" for name in (*wanted, "peak_memory_gib")} <= names
    assert {"dev/solver/accuracy", "test/evaluation/accuracy"} <= names
    for name in names:
        kind, which, value = name.split("/")
        shown = scalars(workdir, which, f"{kind}/{value}")
        assert [step for step, _ in shown] == [step for step, _ in curve(workdir, name)]
        np.testing.assert_allclose(
            [v for _, v in shown], [v for _, v in curve(workdir, name)], rtol=1e-6
        )
    assert [step for step, _ in curve(workdir, "train/solver/loss")] == [5, 10, 15, 20, 25, 30]
    report = json.loads((workdir / "report.json").read_text())
    assert curve(workdir, "test/evaluation/accuracy") == [(30, report["accuracy"])]


def test_tokens_are_those_that_were_fed(whole):
    workdir, _ = whole
    facts = json.loads((workdir / "training_data.json").read_text())["solver"]
    fed = dict(curve(workdir, "train/solver/tokens"))
    # Whole rows are drawn: the facts know the mean only.
    assert fed[30] == pytest.approx(facts["tokens"], rel=0.05) and fed[15] < fed[30]


def test_settings_and_dialogues_are_shown(whole):
    workdir, _ = whole
    hparams = series(workdir, "solver").summary_metadata["_hparams_/session_start_info"]
    assert b"optimizer.solver.learning_rate" in hparams.plugin_data.content
    [(_, config)] = texts(workdir, "solver", "config")
    assert "    train.steps = 30" in config.splitlines()
    # The decomposer's partner is not trained yet: only the solver has dialogues on dev.
    # TensorBoard forgets the numbers of a killed run that are written again, not the texts.
    shown = set(texts(workdir, "solver", "dev/dialogues"))
    assert sorted(step for step, _ in shown) == [15, 30]
    [(step, text)] = texts(workdir, "evaluation", "test/dialogues")
    (evaluation,) = (workdir / "evaluations").iterdir()
    first = json.loads((evaluation / "predictions.jsonl").open().readline())
    assert step == 30 and f"    problem: {first['question']}" in text.splitlines()


def test_no_key_is_written_to_a_tracker(whole):
    workdir, output = whole
    assert KEY not in output
    for path in workdir.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert KEY.encode() not in content, path
        assert path.name == "config.json" or b"me:secret" not in content, path


def test_the_profile_holds_the_steps_that_were_asked_for(whole):
    workdir, output = whole
    for student in ("decomposer", "solver"):
        assert f"profile: {workdir / 'profile' / student} (open it: xprof " in output
        (trace,) = (workdir / "profile" / student).glob("plugins/profile/*/perfetto_trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        steps = {e["args"]["step_num"] for e in events if "step_num" in e.get("args", {})}
        assert {int(step) for step in steps} == {7, 8, 9}
        assert list(trace.parent.glob("*.xplane.pb"))


def same(found, expected):
    """Equal steps, and values but for rounding: each step once, and what it was in another run."""
    assert [step for step, _ in found] == [step for step, _ in expected]
    np.testing.assert_allclose([v for _, v in found], [v for _, v in expected], rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "trackers"),
    [(signal.SIGKILL, ()), (signal.SIGTERM, ("wandb", "trackio"))],
    ids=["killed", "stopped, with other trackers"],
)
def test_an_interrupted_run_has_every_step_once(whole, kind, trackers, tmp_path):
    for name in trackers:
        pytest.importorskip(name, reason=f"no {name}: pip install 'distill-jax[{name}]'")
    workdir = tmp_path / "w"
    env = environment() | {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}
    more = ["--config.train.save_every=7", f"--config.tracking={','.join(trackers)}"]
    arguments = command("main", *SHORT, *more, "--workdir", workdir)
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    metrics = workdir / "metrics.jsonl"
    while not metrics.exists() or '"step": 20, "train/solver' not in metrics.read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=300)
    assert process.returncode in (75, -signal.SIGKILL), errors
    again = subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True)
    assert again.returncode == 0 and "solver: going on from step" in again.stdout, again.stderr
    for name in ("train/solver/loss", "train/solver/tokens", "train/decomposer/loss"):
        part, which, value = name.split("/")
        expected = curve(whole[0], name)
        same(curve(workdir, name), expected)
        same(scalars(workdir, which, f"{part}/{value}"), expected)
    assert [step for step, _ in scalars(workdir, "solver", "dev/loss")] == [15, 30]
    # TensorBoard forgets the numbers of a killed run that are written again, not the texts.
    shown = set(texts(workdir, "solver", "dev/dialogues"))
    assert sorted(step for step, _ in shown) == [15, 30]
    for name in trackers:
        sent = {"wandb": wandb_sent, "trackio": trackio_sent}[name]
        same(sent(tmp_path, "train/solver/loss"), curve(whole[0], "train/solver/loss"))
        same(sent(tmp_path, "dev/solver/accuracy"), curve(whole[0], "dev/solver/accuracy"))
        assert [step for step, _ in sent(tmp_path, "test/evaluation/accuracy")] == [30]


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    config = command_line.load_config("configs/base.py")
    config.tracking = ("wandb",)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tracking = Tracking(config, Workdir(tmp_path), MetricsFile(None))
    with pytest.raises(UserError, match=r"pip install 'distill-jax\[wandb\]'"):
        tracking.check()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--config.tracking=tensorbord"], "config.tracking has 'tensorbord': choose among wandb"),
        (["--config.train.profile_first=5"], "profile_last=0: both are steps"),
        (["--config.train.profile_first=5", "--config.train.profile_last=4"], "profile_last=4"),
    ],
)
def test_mistakes_are_one_line(flags, said, tmp_path):
    assert said in one_error_line(run("main", *TINY, *flags, "--workdir", tmp_path / "w"))


def test_what_a_student_writes_stays_a_block_of_code():
    assert _as_code("a\n\n# b\r<b>c\u2028```") == "    a\n    \n    # b\n    <b>c\n    ```"


def test_utilisation_is_a_share_of_all_devices_and_of_steps_alone():
    chips = np.array([[types.SimpleNamespace(device_kind="TPU v5 lite")] * 4])
    seconds = iter([2.0])
    stopwatch = types.SimpleNamespace(seconds=lambda: next(seconds), paused_seconds=0.0)
    moment = types.SimpleNamespace(tokens=500, stopwatch=stopwatch)
    speed = hooks.Speed(moment, 197e9, types.SimpleNamespace(devices=chips))
    stopwatch.paused_seconds = 40.0  # it measured and saved
    # 1,000 tokens/s of 0.197 TFLOPs each, of 4 x 197 TFLOP/s.
    assert devices.CHIPS["v5e"].flops == 197e12
    values = speed.measure(2_500)
    assert values["tokens_per_second"] == 1000
    assert values["tflops_per_second"] == pytest.approx(197)
    assert values["mfu"] == pytest.approx(0.25)
    assert values["seconds_between_steps"] == 40.0
