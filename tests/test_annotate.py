"""`python -m distill_jax.annotate` as a process, against a loopback server."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from scripted_server import Act, ScriptedServer, question_of

from distill_jax.tasks import arithmetic

ROOT = pathlib.Path(__file__).parents[1]
GOLD = {a.question: a for a in arithmetic.load_annotations("train", train_problems=120, seed=5)}


def right(request):
    question = question_of(request).split("Problem: ")[1].split("\n")[0]
    annotation = GOLD[question]
    pairs = [f"Q: {step.subquestion}\nA: {step.solution}" for step in annotation.steps]
    return "\n".join([*pairs, f"#### {annotation.answer}"])


def command(tmp_path, *arguments, module="annotate", workdir="w"):
    keys = {
        "task_options.train_problems": 120,
        "task_options.dev_problems": 10,
        "task_options.test_problems": 20,
        "task_options.seed": 5,
        "data.dev_problems": 10,
        "teacher.model": "scripted",
        "teacher.prompt": "socratic_zero",
        "teacher.cache_dir": tmp_path / "cache",
        "teacher.concurrency": 4,
        "teacher.retries": 1,
    }
    flags = [f"--config.{key}={value}" for key, value in keys.items()]
    where = ["--workdir", str(tmp_path / workdir)] if workdir else []
    start = [sys.executable, "-m", f"distill_jax.{module}", "--config", "configs/base.py"]
    return [*start, *where, *flags, *arguments]


def run(server, arguments, stdin=subprocess.DEVNULL):
    environment = os.environ | {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-secret"}
    return subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=stdin
    )


def cached(tmp_path):
    [path] = (tmp_path / "cache").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_whole_stage(tmp_path):
    """Refusal without consent, a trial, the run, and another filter without a request."""
    wrong = list(GOLD)[7]

    def reply(request, _):
        text = right(request)
        return Act(text=text.replace("####", "#### 9") if wrong in question_of(request) else text)

    with ScriptedServer(reply) as server:
        refused = run(server, command(tmp_path))
        assert (refused.returncode, server.requests) == (2, 0)
        assert "120 calls would be sent: give --yes" in refused.stderr
        assert "[user]\nProblem: " in refused.stdout and not (tmp_path / "w").exists()

        trial = run(server, command(tmp_path, "--yes", "--limit", "8", workdir=None))
        assert (trial.returncode, server.requests) == (0, 8), trial.stderr
        assert "the first that is rejected (arithmetic/train/7, wrong answer" in trial.stdout
        assert not (tmp_path / "w").exists()

        done = run(server, command(tmp_path, "--yes"))
        assert (done.returncode, server.requests) == (0, 120), done.stderr
        assert "112 calls to scripted are left (8 of 120 samples are in the cache)" in done.stdout

        again = run(server, command(tmp_path, "--config.data.annotations_per_problem=1"))
        assert (again.returncode, server.requests) == (0, 120), again.stderr
        assert "replacing another run that has no checkpoint yet" in again.stdout
    files = {path.name: path for path in (tmp_path / "w").iterdir()}
    rows = [json.loads(line) for line in files["annotations.jsonl"].read_text().splitlines()]
    dev = files["annotations.dev.jsonl"].read_text().splitlines()
    assert len(rows) + len(dev) == 119 and len(dev) == 10
    for row in rows:
        gold = GOLD[row["question"]]
        steps = [{"subquestion": s.subquestion, "solution": s.solution} for s in gold.steps]
        assert row["steps"] == steps and row["answer"] == gold.answer
    [rejected] = files["annotations.rejected.jsonl"].read_text().splitlines()
    assert json.loads(rejected)["question"] == wrong
    assert not any("sk-secret" in path.read_text() for path in files.values() if path.is_file())
    shown = run(server, command(tmp_path, "--show_batch", module="main"))  # the server is gone
    assert shown.returncode == 0 and "[decomposer>" in shown.stdout, shown.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_no_finished_answer_is_asked_for_again(how, tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r), wait_s=0.1)) as server:
        environment = os.environ | {"OPENAI_BASE_URL": server.url}
        process = subprocess.Popen(
            command(tmp_path, "--yes"), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL
        )
        while server.requests < 30 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(how)
        assert process.wait() == (75 if how == signal.SIGTERM else -9)
        kept = {row["key"] for row in cached(tmp_path)}
        asked = server.requests
        assert 20 <= len(kept) <= asked <= len(kept) + 4  # at most those in flight are lost
        done = run(server, command(tmp_path, "--yes"))
        assert done.returncode == 0, done.stderr
        assert server.requests == asked + 120 - len(kept)
    rows = cached(tmp_path)
    assert len(rows) == len({row["key"] for row in rows}) == 120


def test_a_server_that_is_gone_is_one_line_and_exit_code_1(tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        pass
    gone = run(server, command(tmp_path, "--yes", workdir="w"))
    assert gone.returncode == 1
    [line] = gone.stderr.strip().splitlines()
    assert line.startswith("error: the teacher at") and "run the same command again" in line
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("typed", [b"n\n", b"\n", b"\x04"])  # the last one is Ctrl-D
def test_at_a_terminal_nothing_but_yes_sends_anything(typed, tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        keyboard, terminal = os.openpty()
        os.write(keyboard, typed)
        done = run(server, command(tmp_path), stdin=terminal)
        assert (done.returncode, server.requests) == (2, 0), done.stderr
        assert "nothing was sent" in done.stderr and "Traceback" not in done.stderr
        os.write(keyboard, b"y\n")
        done = run(server, command(tmp_path, "--limit", "3", workdir=None), stdin=terminal)
        assert (done.returncode, server.requests) == (0, 3), done.stderr
    os.close(keyboard)
    os.close(terminal)


def test_without_answers_the_batch_cannot_be_shown_and_the_remedy_is_said(tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        done = run(server, command(tmp_path, "--show_batch", module="main"))
    assert (done.returncode, server.requests) == (2, 0)
    assert "not asked: run `python -m distill_jax.annotate` with --yes first" in done.stderr


def test_main_asks_the_teacher_and_trains_on_what_it_said(tmp_path):
    small = {
        "train.steps": 2,
        "train.batch_size": 2,
        "model.decomposer.width": 16,
        "model.solver.width": 16,
        "model.decomposer.layers": 1,
        "model.solver.layers": 1,
        "evaluation.problems": 2,
        "sampling.max_tokens": 8,
        "sampling.max_turn_tokens": 4,
    }
    flags = [f"--config.{key}={value}" for key, value in small.items()]
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        done = run(server, command(tmp_path, "--yes", *flags, module="main"))
        assert done.returncode == 0, done.stderr
        again = run(server, command(tmp_path, *flags, module="main"))
    assert again.returncode == 0 and server.requests == 120
    assert "nothing left to do" in again.stdout
    after = run(server, command(tmp_path, *flags))
    assert after.returncode == 0 and "nothing to do" in after.stdout, after.stderr


def test_an_account_that_is_used_up_stops_main_before_it_trains(tmp_path):
    """Exit code 2 with one line; what was answered is there after credit was added."""
    questions = list(GOLD)

    def reply(request, _):
        late = any(question in question_of(request) for question in questions[40:])
        return Act(status=402) if late else Act(text=right(request))

    with ScriptedServer(reply) as server:
        done = run(server, command(tmp_path, "--yes", module="main"))
        assert done.returncode == 2 and server.requests <= 44
        [line] = done.stderr.strip().splitlines()
        assert line.startswith("error: the account at") and "run the same command again" in line
        assert not (tmp_path / "w" / "annotations.jsonl").exists()
        assert "110 train, 10 dev" in done.stdout
    answered = len(cached(tmp_path))
    assert answered == 40
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        done = run(server, command(tmp_path, "--yes"))
        assert (done.returncode, server.requests) == (0, 80), done.stderr


def test_with_nothing_kept_everything_rejected_is_listed(tmp_path):
    with ScriptedServer(lambda r, _: Act(text="I cannot help with that.")) as server:
        done = run(server, command(tmp_path, "--yes"))
        assert done.returncode == 2
        [line] = done.stderr.strip().splitlines()
        assert "no annotation to train on" in line and "annotations.rejected.jsonl" in line
        rows = (tmp_path / "w" / "annotations.rejected.jsonl").read_text().splitlines()
        assert [json.loads(row)["reason"] for row in rows] == ["no answer"] * 120
        assert not (tmp_path / "w" / "annotations.jsonl").exists()
    # Another config goes on in the same directory.
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        again = run(server, command(tmp_path, "--yes", "--config.teacher.prompt=socratic"))
    assert again.returncode == 0, again.stderr
