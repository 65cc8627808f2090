"""configs/paper: each passes the checks, finds data, tokenizer and weights under their names on the
Hub, and makes rows; some are compiled."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from experiment_runs import QUICK_COMPILATION, ROOT
from pages import DOCS

from distill_jax.records import Annotation, Step, to_json
from distill_jax.settings import command_line
from distill_jax.settings.task_module import import_task
from distill_jax.text.transcript import SCHEMES

PAPERS = command_line.PACKAGED_CONFIGS / "paper"
NAMES = sorted(p.stem for p in PAPERS.glob("*.py") if p.stem not in ("__init__", "pretrained"))
FOLDERS = {"gsm8k": "gsm8k", "svamp": "svamp", "strategyqa": "strategyqa"}
COMPILED = ("ho_svamp_fine_tune",)  # the others take as long again, each


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """(environment, data): a cache of the Hub with a small openai-community/gpt2, its real
    tokenizer, and the folder of the real data."""
    data = os.environ.get("DISTILL_JAX_DATA")
    if not data:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder with gsm8k/ and others")
    torch = pytest.importorskip("torch", reason="needs extra [peers]")
    import transformers

    cache = tmp_path_factory.mktemp("hub")
    repository = cache / "models--openai-community--gpt2"
    snapshot = repository / "snapshots" / ("0" * 40)
    torch.manual_seed(0)
    size = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16)
    transformers.GPT2LMHeadModel(size).save_pretrained(snapshot)
    for path in (pathlib.Path(data) / "gpt2_tokenizer").glob("*.json"):
        (snapshot / path.name).write_bytes(path.read_bytes())
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    variables = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **variables, "XLA_FLAGS": QUICK_COMPILATION}, pathlib.Path(data)


def arguments(name, data, directory):
    """The command line of a dry run on a few real problems, annotated where a teacher would."""
    config = command_line.load_config(PAPERS / f"{name}.py")
    folder = data / config.task.rpartition(".")[2]
    found = [f"--config=configs/paper/{name}.py", f"--config.task_options.directory={folder}"]
    found += ["--config.data.train_problems=40", "--config.data.dev_problems=4"]
    if config.teacher.model:
        file = directory / f"{name}.jsonl"
        options = dict(config.task_options) | {"directory": str(folder)}
        gold = import_task(config.task).load_annotations("train", **options)[:60]
        file.write_text("".join(to_json(asked(annotation)) + "\n" for annotation in gold))
        found += [f"--config.data.annotations={file}", "--config.teacher.model="]
    return found


def asked(annotation: Annotation) -> Annotation:
    """With a subquestion before every step, as a teacher writes them."""
    steps = tuple(
        Step(step.subquestion or "What follows?", step.solution) for step in annotation.steps
    )
    return dataclasses.replace(annotation, steps=steps)


def test_the_page_names_every_config_and_each_starts_from_published_weights():
    page = (DOCS / "reproducing.md").read_text()
    assert set(re.findall(r"(?:ho|shridhar)_[a-z0-9]+_[a-z_]+", page)) == set(NAMES)
    assert len(NAMES) == 24
    for name in NAMES:
        config = command_line.load_config(PAPERS / f"{name}.py")
        assert config.scheme in SCHEMES
        assert config.model.solver.init_from == config.tokenizer.name == "openai-community/gpt2"


PREPARE = """
import sys
import jax
from distill_jax.model import sharding
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.preparation import prepare
from distill_jax.run.run import make_run
from distill_jax.run.student_setup import Place
from distill_jax.settings import command_line
from distill_jax.teacher.settings import NOTHING
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

for line in sys.stdin:
    first, *overrides = line.rstrip("\\n").split("\\t")
    config = command_line.load_config(first.removeprefix("--config="))
    flat = dict(each.removeprefix("--config.").split("=", 1) for each in overrides)
    command_line.apply_overrides(config, flat)
    run = make_run(config, Workdir(sys.argv[1]))
    place = Place(sharding.make_mesh(**config.mesh), "cpu")
    desk = Desk(run, Terminal(quiet=True), NOTHING)
    prepared = prepare(desk, run.students, place)
    setups = prepared.setups
    layers = [s.trainer.config.layers for s in setups]
    print(len(prepared.data.train), [s.student for s in setups], layers)
"""


def test_each_makes_rows_of_real_problems_and_finds_the_weights(surroundings, tmp_path):
    environment, data = surroundings
    lines = "".join("\t".join(arguments(name, data, tmp_path)) + "\n" for name in NAMES)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, tmp_path / "nowhere"],
        input=lines, env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = [line for line in done.stdout.splitlines() if line[0].isdigit()]
    assert len(made) == len(NAMES)
    for name, line in zip(NAMES, made, strict=True):
        students = ["solver"]
        if "iterative" in name:
            students = ["decomposer", "solver"]
        if "equations" in name or "operators" in name:
            students = ["planner", "decomposer", "solver"]
        assert line == f"40 {students} {[1] * len(students)}", name


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_some_are_compiled(name, surroundings, tmp_path):
    environment, data = surroundings
    done = subprocess.run(
        [sys.executable, "-m", "distill_jax.main", *arguments(name, data, tmp_path), "--dry_run"],
        env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert list(report["students"]) == ["solver"]
    assert all(part["useful_flops"] > 0 for part in report["students"].values())
