"""The benchmark command: that it runs and measures what it says, not how fast anything is."""

import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from distill_jax.tasks import gsm8k
from distill_jax.text import tokenizer

ROOT = pathlib.Path(__file__).parents[1]
COMMAND = [sys.executable, str(ROOT / "benchmarks/train.py")]
FIXTURES = ROOT / "tests/fixtures/gsm8k"

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is missing: pip install torch --index-url https://download.pytorch.org/whl/cpu",
)


def run(*arguments):
    finished = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The fixture's rows and a tokenizer trained on them, laid out as --data wants it."""
    directory = tmp_path_factory.mktemp("data")
    shutil.copytree(FIXTURES, directory / "gsm8k")
    texts = []
    for annotation in gsm8k.load_annotations("train", directory=str(FIXTURES)):
        texts += [annotation.question, *(step.solution for step in annotation.steps)]
    tokenizer.train_tokenizer(texts, 300).save(directory / "gpt2_tokenizer")
    return directory


@pytest.mark.parametrize("part", [(), ("cpu",), ("gpu",), ("startup",)])
def test_help_names_the_parts_or_their_arguments(part):
    text = run(*part, "--help")
    assert ("--output" if part else "startup") in text


@needs_torch
def test_both_sides_of_the_cpu_comparison_do_the_same_work(data, tmp_path):
    output = tmp_path / "results.json"
    run(
        "cpu", f"--data={data}", f"--output={output}", "--steps=1", "--repeats=1",
        "--layers=1", "--width=64", "--heads=2", "--packed-rows=2",
    )  # fmt: skip
    results = json.loads(output.read_text())
    assert results["machine"]["versions"]["jax"] and results["machine"]["processor"] is not None
    model = results["1l-2h-64w"]
    for part, goal in (("padded", 1.0), ("packed", 2.0)):
        comparison = model[part]
        speed = {}
        for side in ("ours", "torch"):
            figures = comparison[side]
            speed[side] = figures["useful_tokens_per_second"]
            assert figures["seconds_per_step"] > 0 and figures["model_gflops_per_second"] > 0
            assert figures["peak_memory_mib"] > 0
            assert figures["useful_tokens_per_step"] <= figures["fed_tokens_per_step"]
        assert comparison["ratio"] == pytest.approx(speed["ours"] / speed["torch"], rel=2e-3)
        assert comparison["goal"] == goal
        assert comparison["reached"] == (comparison["ratio"] >= goal)
        assert comparison["ours"]["compile_s"] > 0
    padded = model["padded"]
    assert padded["first_loss"]["ours"] == pytest.approx(padded["first_loss"]["torch"], abs=1e-4)
    assert padded["largest_loss_difference"] < 1e-3
    for key in ("useful_tokens_per_step", "fed_tokens_per_step", "rows_per_step", "row_length"):
        assert padded["ours"][key] == padded["torch"][key]


def test_the_gpu_part_records_what_fails_with_its_reason(tmp_path):
    output = tmp_path / "results.json"
    run(
        "gpu", "--device=cpu", f"--output={output}", "--measurements=cudnn,xla", "--batches=1",
        "--steps=1", "--warmup=1", "--row-length=640", "--layers=1", "--width=64", "--heads=2",
    )  # fmt: skip
    model = json.loads(output.read_text())["1l-2h-64w"]
    assert "runs on gpu, not cpu" in model["cudnn"]["failed"]
    assert model["xla"]["tokens_per_second"] > 0 and model["xla"]["tflops"] > 0
    assert model["xla"]["mfu"] is None  # the peak of a CPU is not in the table
    assert model["summary"]["best_kernel"] == "xla"
    assert model["summary"]["torch_not_measured"] == "not asked for"
