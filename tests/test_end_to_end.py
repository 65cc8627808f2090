"""The commands as a user runs them: real processes, real files."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from experiment_runs import (
    ROOT,
    TINY,
    command,
    contents,
    curve,
    environment,
    one_error_line,
    run,
    states,
)

import distill_jax
from distill_jax import annotate, errors, evaluate, main
from distill_jax.__main__ import COMMANDS
from distill_jax.settings import command_line
from distill_jax.workdir import Workdir


def test_a_run_leaves_what_the_design_says(tiny_run):
    workdir, output = tiny_run
    for name in ("config.json", "environment.json", "metrics.jsonl", "annotations.jsonl"):
        assert (workdir / name).stat().st_size > 0
    assert (workdir / "annotations.rejected.jsonl").read_text() == ""
    for student in ("decomposer", "solver"):
        steps = sorted(int(p.name) for p in (workdir / "checkpoints" / student).iterdir())
        assert steps == [40, 60]
    (evaluation,) = (workdir / "evaluations").iterdir()
    predictions = [json.loads(x) for x in (evaluation / "predictions.jsonl").open()]
    assert [p["id"] for p in predictions] == [f"arithmetic/test/{i}" for i in range(12)]
    report = json.loads((workdir / "report.json").read_text())
    assert report == json.loads((evaluation / "report.json").read_text())
    assert report["n"] == 12
    assert report["accuracy"] == sum(p["correct"] for p in predictions) / 12
    assert set(report["scores"]) == {"strict", "flexible", "fine_tune_cot", "normalised"}
    html = (workdir / "report.html").read_text()
    assert html.count("<svg") >= 2 and "one dialogue" in output
    assert f"accuracy {report['accuracy']:.1%}" in output and str(workdir / "report.html") in output
    facts = json.loads((workdir / "training_data.json").read_text())
    curve = [json.loads(x) for x in (workdir / "metrics.jsonl").open()]
    assert sum("train/solver/loss" in row for row in curve) == 60 / 5
    assert facts["solver"]["steps"] == 60


def test_running_again_changes_nothing_and_says_so(tiny_copy):
    workdir = tiny_copy
    before = contents(workdir)
    again = run("main", *TINY, "--workdir", workdir)
    assert again.returncode == 0
    assert again.stdout.count("nothing left to do") == 4
    assert contents(workdir) == before


def refused(capsys, command, *arguments):
    """The message of a command that must fail because of the user, in this process: that saves the
    imports, and the exit code goes through the same function."""
    capsys.readouterr()
    assert errors.run_command(command.main, [str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_evaluate_opens_the_run_and_takes_other_sampling(tiny_copy, capsys):
    workdir = tiny_copy
    before = contents(workdir)
    again = run("evaluate", "--workdir", workdir)
    assert again.returncode == 0 and "nothing left to do" in again.stdout
    assert {k: v for k, v in contents(workdir).items() if k in before} == before
    [page] = contents(workdir).keys() - before.keys()  # the evaluation has one, too
    assert page.endswith("/report.html")
    before = contents(workdir)
    hot = run("evaluate", "--workdir", workdir, "--config.sampling.temperature=1.0")
    assert hot.returncode == 0, hot.stderr
    after = contents(workdir)
    assert len(after) == len(before) + 3  # another evaluation beside the first
    assert {k: after[k] for k in before} == before
    for key in ("config.seed=1", "config.model.solver.layers=3"):
        message = refused(capsys, evaluate, "--workdir", workdir, f"--{key}")
        assert key.split("=")[0] in message and "holds another run" in message
    message = refused(capsys, evaluate, "--workdir", workdir / "missing")
    assert "no such file" in message and not (workdir / "missing").exists()


def test_another_identity_is_refused_with_all_keys(tiny_copy, capsys):
    workdir = tiny_copy
    changed = ["--config.seed=7", "--config.optimizer.solver.learning_rate=0.5"]
    message = refused(capsys, main, *TINY, *changed, "--workdir", workdir)
    assert "config.seed was 0, now 7" in message
    assert "config.optimizer.solver.learning_rate was 0.001, now 0.5" in message


def test_a_second_process_on_the_same_workdir_is_refused(tiny_copy):
    import fcntl

    workdir = tiny_copy
    with open(workdir / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is in use by" in one_error_line(run("main", *TINY, "--workdir", workdir))


@pytest.mark.parametrize("scheme", ["answer_only", "chain"])
def test_scheme_alone_can_be_changed(scheme, tmp_path):
    done = run("main", *TINY, f"--config.scheme={scheme}", "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "w" / "checkpoints").iterdir()] == ["solver"]
    predictions = next((tmp_path / "w" / "evaluations").glob("*/predictions.jsonl"))
    for line in predictions.open():
        assert {turn["role"] for turn in json.loads(line)["turns"]} <= {"solver"}


def test_unified_student_and_other_reads(tmp_path):
    """Of the Llama family, with random parameters."""
    unified = ["--config.students.decomposer=solver", "--config.reads.decomposer=()"]
    llama = "--config.model.solver.family=llama"
    done = run("main", *TINY, *unified, llama, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "w" / "checkpoints").iterdir()] == ["solver"]
    facts = json.loads((tmp_path / "w" / "training_data.json").read_text())
    assert facts["solver"]["rows"] == 600  # two views of 300 annotations
    assert facts["solver"]["model"]["rope_theta"] == 1e4


def test_students_can_be_trained_one_at_a_time(tiny_run, tmp_path):
    first = run("main", *TINY, "--config.train.students=solver", "--workdir", tmp_path / "w")
    assert first.returncode == 0 and "still to train before the evaluation: decomposer" in (
        first.stdout
    )
    solver = tmp_path / "w" / "checkpoints" / "solver"
    assert not list(solver.glob("*/training")) and len(list(solver.glob("*/params"))) == 2
    # A checkpoint that is damaged meanwhile cannot be made again from the one before.
    damaged = solver / "60" / "arrays.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-5])
    message = one_error_line(run("main", *TINY, "--workdir", tmp_path / "w"))
    assert "60 is damaged, and no other checkpoint has the optimizer's state" in message
    assert f"delete {solver} to train student solver anew" in message
    shutil.rmtree(solver)
    second = run("main", *TINY, "--workdir", tmp_path / "w")
    assert second.returncode == 0, second.stderr
    assert damaged.read_bytes() == whole
    assert states(tmp_path / "w") == states(tiny_run[0])


def test_a_disk_that_is_too_small_is_refused_before_anything_is_trained(tiny_run, tmp_path):
    said = tiny_run[1]
    assert "disk: up to " in said and said.index("disk: up to ") < said.index("student decomposer")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk]).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    try:
        done = run("main", *TINY, f"--config.checkpoint_dir={disk}", "--workdir", tmp_path / "w")
        message = one_error_line(done)
        assert f"{disk}: checkpoints need at least" in message and "config.train.keep" in message
        assert not list(disk.iterdir()) and not (tmp_path / "w" / "config.json").exists()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_run_that_is_stopped_three_times_ends_with_the_same_parameters(tiny_run, tmp_path):
    workdir = tmp_path / "w"
    metrics = workdir / "metrics.jsonl"

    def logged(student, step):
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        return any(f'"step": {step},' in line and f"train/{student}/" in line for line in lines)

    for kind, student, step in (
        (signal.SIGKILL, "decomposer", 15),
        (signal.SIGINT, "decomposer", 40),
        (signal.SIGTERM, "solver", 15),
    ):
        process = subprocess.Popen(
            command("main", *TINY, "--config.train.save_every=7", "--workdir", workdir),
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 300
        while not logged(student, step):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(kind)
        said, errors = process.communicate(timeout=300)
        assert ("going on from step" in said) == (kind != signal.SIGKILL)  # which came first
        if kind == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 75
            assert errors.strip() == "interrupted: run the same command again to continue"
    again = run("main", *TINY, "--workdir", workdir)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stdout
    assert states(workdir) == states(tiny_run[0])
    whole = (tiny_run[0] / "report.json").read_text()
    resumed = json.loads((workdir / "report.json").read_text())
    assert {**resumed, "seconds": 0} == {**json.loads(whole), "seconds": 0}
    names = ["train/solver/loss", "train/decomposer/loss"]
    for name in names:
        assert curve(workdir, name) == curve(tiny_run[0], name)


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1.5])
def test_a_signal_during_compilation_leaves_at_once(delay_s, tmp_path):
    env = {k: v for k, v in environment("").items() if k != "JAX_COMPILATION_CACHE_DIR"}
    process = subprocess.Popen(
        command("main", *TINY, "--workdir", tmp_path / "w"),
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "compiling the training step" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(delay_s)  # which takes seconds
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and errors.count("\n") == 1
    assert not (tmp_path / "w" / "checkpoints" / "decomposer" / "60").exists()


def test_a_signal_during_the_evaluation_leaves_at_once_and_it_is_done_again(tiny_run, tmp_path):
    process = subprocess.Popen(
        command("main", *TINY, "--workdir", tmp_path / "w"),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "evaluating on" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and errors.count("\n") == 1
    assert not (tmp_path / "w" / "report.json").exists()
    again = run("main", *TINY, "--workdir", tmp_path / "w")
    assert again.returncode == 0 and "training solver: nothing left to do" in again.stdout
    names = ("accuracy", "status", "turns", "tokens", "checkpoint_steps")
    reports = [json.loads((w / "report.json").read_text()) for w in (tiny_run[0], tmp_path / "w")]
    assert all(reports[0][name] == reports[1][name] for name in names if name in reports[0])


def test_a_loss_that_is_not_finite_stops_and_the_directory_can_be_used_again(tmp_path):
    """There is no checkpoint yet, so the remedy is the same command with another rate."""
    wild = ["--config.optimizer.decomposer.learning_rate=1e30", "--config.train.log_every=1"]
    done = run("main", *TINY, *wild, "--workdir", tmp_path / "w")
    message = one_error_line(done)
    assert "loss of student 'decomposer' is nan" in message or "is inf" in message
    assert "(it has no checkpoint yet): lower config.optimizer.decomposer.learning_rate" in message
    mended = [*TINY, "--config.train.steps=2", "--config.data.train_problems=50"]
    done = run("main", *mended, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert "replacing another run that has no checkpoint yet (config.data.train_p" in done.stdout
    assert len((tmp_path / "w" / "annotations.jsonl").read_text().splitlines()) == 50
    steps = curve(tmp_path / "w", "train/decomposer/loss")
    assert [step for step, _ in steps] == [2]


def test_all_config_mistakes_are_listed_at_once(tmp_path, capsys):
    mistakes = [
        "--config.train.stepz=3",
        "--config.nothing=1",
        "--config.train.batch_size=many",
        "--config.model=3",
    ]
    message = refused(capsys, main, *TINY, *mistakes, "--workdir", tmp_path / "w")
    assert "unknown key config.train.stepz (did you mean train.steps?)" in message
    assert "unknown key config.nothing" in message
    assert "config.train.batch_size='many' is not of type int" in message
    assert "config.model (a section" in message
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config=configs/none.py"], "shipped are configs/base.py, configs/demo.py"),
        (["--config.scheme=socrates"], "choose answer_only, chain, socratic"),
        (["--config.task=my_task"], "config.task='my_task': no such module"),
        (["--config.task=./my_task.py"], "give the name of a module: mytask for ./mytask.py"),
        (["--config.task="], "config.task='': give the name of a module"),
        (["--config.sampling.given=plan"], "needs a planner: scheme 'socratic' has none"),
        (["--config.evaluation.checkpoint=solvr=4"], "config.evaluation.checkpoint names 'solvr'"),
        (["--config.evaluation.checkpoint=45"], "the checkpoints of steps 40, 60 will be left"),
        (["--config.task_options.difficulty=harder"], "choose easiest, easy, medium, hard"),
        (["--config.students.solver=nobody"], "no section for student 'nobody'"),
        (["--config.reads.solver=teacher"], "config.reads.solver names 'teacher'"),
        (
            ["--config.model.solver.heads=3"],
            "config.model.solver.heads=3 does not divide config.model.sol",
        ),
        (["--config.model.solver.context=40"], "raise config.model.solver.context"),
        (["--config.data.seq_len=30"], "raise config.data.seq_len"),
        (["--config.mesh.data=3"], "does not fit 8 device(s)"),
        (["--config.tokenizer.name=./nowhere"], "no such directory"),
        (["--config.train.batch_size=0"], "must be at least 1"),
        (["--config.evaluation.split=valid"], "no split 'valid'"),
        (["--config.sampling.max_turns=0"], "config.sampling.max_turns=0: must be at least 1"),
        (["--config.sampling.temperature=-1"], "must be at least 0"),
        (["--config.seed=-1"], "config.seed=-1: must be at least 0"),
        (["--config.seed=4294967296"], "config.seed=4294967296: must be below 4294967296"),
        (["--config.train.steps=-5"], "config.train.steps=-5: must be at least 0"),
        (
            ["--config=configs/gsm8k_tiny.py", "--config.task_options.directory=/no/such/place"],
            "/no/such/place",
        ),
        (["--config=configs/jsonl.py"], "config.task_options.directory"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_files(arguments, expected, tmp_path, capsys):
    tiny = TINY if not arguments[0].startswith("--config=") else []
    assert expected in refused(capsys, main, *tiny, *arguments, "--workdir", tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_unknown_flags_are_usage_errors():
    done = run("main", "--config=configs/demo.py", "--nonsense")
    assert done.returncode == 2 and "unrecognized arguments: --nonsense" in done.stderr
    assert "(a config key is set by --config.key=value)" in done.stderr
    assert "--workdir is required" in run("main", "--config=configs/demo.py").stderr
    assert "--config and --workdir are required" in run("main").stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [(main.main, "training solver: nothing left to do"), (annotate.main, ": nothing to do\n")],
)
def test_without_a_config_that_of_the_directory_is_taken(command, said, tiny_run, tmp_path, capsys):
    workdir = str(shutil.copytree(tiny_run[0], tmp_path / "w"))
    before = contents(pathlib.Path(workdir))
    assert errors.run_command(command, ["--workdir", workdir]) == 0
    assert said in capsys.readouterr().out
    assert contents(pathlib.Path(workdir)) == before
    # Whose run it is is decided as with a file.
    changed = ["--workdir", workdir, "--config.seed=7"]
    assert errors.run_command(command, changed) == 2
    assert "holds another run (config.seed was 0, now 7)" in capsys.readouterr().err
    assert contents(pathlib.Path(workdir)) == before
    nowhere = str(tmp_path / "nowhere")
    assert errors.run_command(command, ["--workdir", nowhere]) == 2
    assert capsys.readouterr().err == (
        f"error: --config=FILE is needed: --workdir={nowhere} holds no run that it could be taken "
        "from\n"
    )
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("config.train.stepz = 4", "line 4: unknown key stepz (did you mean steps?)"),
        ("config.nonsense = 4", "line 4: unknown key nonsense"),
        ("config.train.steps = 'many'", "line 4: TypeError: Could not override field 'steps'"),
        ("import no_such_module", "line 4: ModuleNotFoundError: No module named 'no_such_module'"),
        ("config = (", "line 4: SyntaxError: '(' was never closed"),
    ],
)
def test_a_mistake_in_a_config_file_is_told_with_its_line(tmp_path, capsys, line, said):
    (tmp_path / "mine.py").write_text(
        "from distill_jax.configs.base import get_config as base_config\n"
        "def get_config():\n"
        "    config = base_config()\n"
        f"    {line}\n"
        "    return config\n"
    )
    message = refused(capsys, main, "--config", tmp_path / "mine.py", "--show_batch")
    assert message.startswith(f"error: --config={tmp_path / 'mine.py'}, {said}")
    assert len(message) < 300


def test_a_config_that_does_not_begin_with_the_base_says_what_it_lacks(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "import ml_collections\n"
        "def get_config():\n"
        "    return ml_collections.ConfigDict({'task': 'arithmetic'})\n"
    )
    message = refused(capsys, main, "--config", tmp_path / "mine.py", "--show_batch")
    assert "mine.py: the config lacks checkpoint_dir, data, distributed, " in message
    assert message.endswith(": begin with distill_jax.configs.base.get_config()")


def test_a_base_of_the_user_is_not_taken_for_that_of_the_package(tiny_run, tmp_path, monkeypatch):
    (tmp_path / "base.py").write_text("raise SystemExit('this is another base')\n")
    monkeypatch.chdir(tmp_path)
    stored = command_line.run_config(Workdir(tiny_run[0]))
    assert stored.train.steps == 60


def test_what_would_stop_the_evaluation_is_found_before_training(tiny_run, tmp_path, capsys):
    own_data(tmp_path / "data")
    with open(tmp_path / "data" / "test.jsonl", "a") as file:
        file.write(json.dumps({"question": "How old are the two of them?", "answer": 3}) + "\n")
    arguments = [
        "--config=configs/jsonl.py",
        *OWN,
        f"--config.task_options.directory={tmp_path / 'data'}",
        "--config.data.templated=True",
        "--workdir",
        tmp_path / "w",
    ]
    ensemble = "--config.evaluation.ensemble="
    message = refused(capsys, main, *arguments, f"{ensemble}{tmp_path / 'data'}")
    assert (
        f"{tmp_path / 'data' / 'config.json'}: no such file: is this the directory of a run?"
        in message
    )
    message = refused(capsys, main, *arguments, f"{ensemble}{tiny_run[0]}")
    assert "was trained with another tokenizer" in message
    message = refused(capsys, main, *arguments, "--config.sampling.given=subquestions")
    assert "needs gold steps: 1 of 11 problems have none" in message
    assert not (tmp_path / "w" / "checkpoints").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_heavy(name):
    """By the console command, which calls the `main` of each."""
    script = (
        "import sys, distill_jax.__main__ as console\n"
        "code = 'no exit'\n"
        "console.main(['--help'])\n"
        f"try: console.main([{name!r}, '--help'])\n"
        "except SystemExit as exit: code = exit.code\n"
        "heavy = {'jax', 'flax', 'numpy', 'transformers', 'datasets', 'grain'} & set(sys.modules)\n"
        "print(repr((code, sorted(heavy))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("(0, [])"), done.stdout + done.stderr
    assert f"usage: python -m distill_jax.{name} " in done.stdout
    assert all(f"\n  {each} " in done.stdout for each in COMMANDS)


def test_the_console_command_calls_the_others():
    """As `python -m distill_jax`, which is the same function."""
    for arguments, said in (
        (["main", "--config=configs/demo.py"], "--workdir is required"),
        (["anotate"], "there is no command 'anotate' (did you mean annotate?)"),
        ([], "name a command: main, annotate,"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "distill_jax", *arguments],
            env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2 and said in done.stderr, done.stderr


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def own_data(directory):
    rows = [
        {
            "question": f"Ann has {a} pens and gets {b}. How many?",
            "answer": a + b,
            "steps": [{"subquestion": "How many pens?", "solution": f"{a} + {b} = {a + b}"}],
        }
        for a in range(2, 9)
        for b in range(2, 9)
    ]
    write_jsonl(directory / "train.jsonl", rows)
    write_jsonl(directory / "test.jsonl", rows[::5])


OWN = [a for a in TINY if "task_options" not in a and not a.startswith("--config=")]


def test_own_jsonl_and_prompts_longer_than_the_context(tmp_path, capsys):
    own_data(tmp_path / "data")
    with open(tmp_path / "data" / "test.jsonl", "a") as file:
        file.write(json.dumps({"question": "Why? " * 600, "answer": 3}) + "\n")
    arguments = [
        "--config=configs/jsonl.py",
        *OWN,
        f"--config.task_options.directory={tmp_path / 'data'}",
    ]
    message = refused(capsys, main, *arguments, "--workdir", tmp_path / "w")
    assert "all 49 annotations are dropped (leak" in message and "templated=True" in message
    arguments.append("--config.data.templated=True")
    message = refused(capsys, main, *arguments, "--workdir", tmp_path / "w")
    assert "1 of 11 questions are longer than the context of 512 tokens" in message
    share = "--config.evaluation.max_too_long_share=0.2"
    done = run("main", *arguments, share, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "w" / "report.json").read_text())
    assert report["status"]["prompt_too_long"] == 1 and report["n"] == 11
    assert re.search(
        r"jsonl: 49 problems: 49 with steps, 0 rejected, \d+ dropped as questions of the "
        r"evaluation, \d held out for dev; \d\d to train on",
        done.stdout,
    )
    assert "leak" in (tmp_path / "w" / "annotations.rejected.jsonl").read_text()
    assert "warning: the learning rate rises during 100 steps, more than half of 60" in done.stdout
    assert re.search(r"student solver: step 30: dev loss \d.*\(the best so far\)", done.stdout)
    last = [json.loads(x) for x in next((tmp_path / "w").rglob("predictions.jsonl")).open()][-1]
    assert (last["status"], last["correct"], last["turns"]) == ("prompt_too_long", False, [])


def test_a_broken_row_is_named_by_file_and_line(tmp_path, capsys):
    own_data(tmp_path / "data")
    train = tmp_path / "data" / "train.jsonl"
    good = train.read_text()
    arguments = [
        "--config=configs/jsonl.py",
        f"--config.task_options.directory={tmp_path / 'data'}",
        "--workdir",
        tmp_path / "w",
    ]
    train.write_text(good + "{oops\n")
    assert f"{train}:50: not JSON" in refused(capsys, main, *arguments)
    train.write_text(good + '{"question": "2 + 2?"}\n')
    message = refused(capsys, main, *arguments)
    assert f"{train}:50" in message and "answer" in message


def test_train_from_python_is_the_command(tiny_copy, capsys):
    """What a finished run does; notebooks/evaluate.ipynb trains one."""
    _, overrides = command_line.split_overrides(TINY)
    keys = {key.replace(".", "__"): value for key, value in overrides.items()}
    config = command_line.load_config("configs/demo.py")
    results = distill_jax.train(config, tiny_copy, **keys)
    assert "training solver: nothing left to do" in capsys.readouterr().out
    assert results.report == distill_jax.read_run(tiny_copy).report
    assert config == command_line.load_config("configs/demo.py")
    with pytest.raises(errors.UserError, match="seed"):  # another run's directory
        distill_jax.train("configs/demo.py", tiny_copy, **keys, seed=7)
    with pytest.raises(errors.UserError, match=r"unknown key config.train.stepz.*scheme='x'"):
        distill_jax.train("configs/demo.py", tiny_copy, train__stepz=1, scheme="x")


def test_show_batch_marks_the_loss_and_writes_nothing(tmp_path):
    done = run("main", *TINY, "--show_batch", "--workdir", tmp_path / "w")
    assert run("main", *TINY, "--show_batch").stdout == done.stdout
    assert done.returncode == 0, done.stderr
    assert "--- student decomposer as decomposer" in done.stdout
    assert "--- student solver as solver" in done.stdout
    assert "[decomposer>" in done.stdout and "<|endofturn|>]" in done.stdout
    assert not (tmp_path / "w").exists()


def test_a_wheel_works_from_another_directory(tmp_path):
    """Built without the repository's tree in sight: templates and configs must be inside."""
    # --no-isolation builds with the setuptools that the test extra brings: no network is needed.
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {**environment(), "PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import distill_jax; print(distill_jax.__file__)"]
    found = subprocess.run(where, cwd=elsewhere, env=env, capture_output=True, text=True).stdout
    assert found.startswith(str(site))
    said = subprocess.run([site / "bin" / "distill-jax", "--help"], env=env, capture_output=True)
    assert said.returncode == 0 and said.stdout.startswith(b"usage: distill-jax COMMAND")
    # A prompt, a split, a template, the page and a config: what is not Python comes along.
    script = (
        "from distill_jax.settings import command_line\n"
        "from distill_jax.tasks import strategyqa\n"
        "from distill_jax.teacher.prompt import load_prompt\n"
        "import distill_jax, pathlib\n"
        "assert load_prompt('socratic', 'gsm8k').format == 'pairs'\n"
        "assert len(strategyqa._test_ids('official')) > 100\n"
        "page = pathlib.Path(distill_jax.__file__).parent / 'ask' / 'page' / 'index.html'\n"
        "assert '<html' in page.read_text()\n"
        "assert command_line.load_config('configs/demo.py').scheme == 'socratic'\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=elsewhere, env=env, check=True)
    arguments = [*TINY, "--config.train.steps=3", "--workdir", "w"]
    done = subprocess.run(
        command("main", *arguments), cwd=elsewhere, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "w" / "report.html").stat().st_size > 10_000


def test_gsm8k_in_the_upstream_format(tmp_path):
    """The config of the real data on our own rows, with a small byte-level tokenizer."""
    from distill_jax.text.tokenizer import train_tokenizer

    fixtures = ROOT / "tests" / "fixtures" / "gsm8k"
    train_tokenizer([(fixtures / "train.jsonl").read_text()], 400).save(tmp_path / "tokenizer")
    arguments = [
        "--config=configs/gsm8k_tiny.py",
        f"--config.task_options.directory={fixtures}",
        f"--config.tokenizer.name={tmp_path / 'tokenizer'}",
        "--config.train.steps=3",
        "--config.sampling.max_tokens=32",
    ]
    done = run("main", *arguments, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "w" / "annotations.jsonl").open()]
    assert rows[0]["id"] == "gsm8k/train/0" and rows[0]["steps"][0]["subquestion"].endswith("?")
    assert json.loads((tmp_path / "w" / "report.json").read_text())["n"] == 3


def test_a_terminal_gets_a_progress_bar(tmp_path):
    """Under a pseudo-terminal: a bar that redraws itself instead of a line now and then."""
    import pty

    main_end, child_end = pty.openpty()
    arguments = [*TINY, "--config.train.steps=10", "--workdir", tmp_path / "w"]
    process = subprocess.Popen(
        command("main", *arguments), cwd=ROOT, env={**environment(), "TERM": "xterm"},
        stdout=child_end, stderr=child_end, stdin=child_end,
    )  # fmt: skip
    os.close(child_end)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    assert process.wait() == 0
    text = shown.decode(errors="replace")
    assert "training decomposer" in text and "10/10" in text and "tokens/s" in text
    assert "left 0:00" not in text and "\x1b[" in text


@pytest.mark.slow
def test_the_demo_reaches_its_accuracy(tmp_path):
    """`configs/demo.py` with one student in both roles, which learns it from 30 % of the tokens
    that two need, to save time: at least 60 % of 200 test problems, above every guesser."""
    unified = ["--config.students.decomposer=solver", "--config.train.token_budget=1_500_000"]
    done = run("main", "--config=configs/demo.py", *unified, "--workdir", tmp_path / "w", flags="")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "w" / "report.json").read_text())
    assert report["n"] == 200 and report["accuracy"] >= 0.6
    assert all(guesser["excluded"] for guesser in report["guessers"].values())


@pytest.mark.slow
def test_real_gsm8k_from_files(tmp_path):
    data = os.environ.get("DISTILL_JAX_DATA")
    if not data:
        pytest.skip("DISTILL_JAX_DATA is not set: no GSM8K, no GPT-2 tokenizer")
    arguments = [
        "--config=configs/gsm8k_tiny.py",
        f"--config.task_options.directory={data}/gsm8k",
        f"--config.tokenizer.name={data}/gpt2_tokenizer",
        "--config.train.steps=4",
        "--config.evaluation.problems=8",
    ]
    done = run("main", *arguments, "--workdir", tmp_path / "w", flags="")
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "w" / "training_data.json").read_text())
    # 7,473 training problems, less 21 with a false equation and the 200 that are held out as dev.
    assert facts["decomposer"]["rows"] == facts["solver"]["rows"] == 7252
    assert json.loads((tmp_path / "w" / "report.json").read_text())["n"] == 8
