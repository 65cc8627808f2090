"""The benchmark commands: that they run and measure what they say, not how fast anything is."""

import importlib
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from test_commands_of_pages import check_own_command

from benchmarks import bench_all, combining, sample_job
from distill_jax import devices
from distill_jax.sweep import definition, plan
from distill_jax.tasks import gsm8k
from distill_jax.text import tokenizer

ROOT = pathlib.Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
FIXTURES = ROOT / "tests/fixtures/gsm8k"

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is missing: pip install torch --index-url https://download.pytorch.org/whl/cpu",
)


def run(*arguments, command="train.py"):
    command = [sys.executable, str(BENCHMARKS / command), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The fixture's rows and a tokenizer trained on them, laid out as --data wants it."""
    directory = tmp_path_factory.mktemp("data")
    shutil.copytree(FIXTURES, directory / "gsm8k")
    texts = []
    for split in ("train", "test"):
        for annotation in gsm8k.load_annotations(split, directory=str(FIXTURES)):
            texts.append(annotation.question)
            texts += [f"{step.subquestion} {step.solution}" for step in annotation.steps]
    # So many words that texts are short: every length of prompts and caches is compiled anew.
    tokenizer.train_tokenizer(texts, 1000).save(directory / "gpt2_tokenizer")
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


def test_adapters_are_measured_beside_those_of_peft(data, tmp_path):
    pytest.importorskip("peft", reason="no peft: it is in the extra [peers]")
    output = tmp_path / "results.json"
    run(
        "cpu", f"--data={data}", f"--output={output}", "--steps=1", "--repeats=1", "--lora-rank=4",
        "--parts=padded", "--layers=1", "--width=64", "--heads=2",
    )  # fmt: skip
    padded = json.loads(output.read_text())["1l-2h-64w, LoRA of rank 4"]["padded"]
    first = padded["first_loss"]  # both begin with the base
    assert first["ours"] == pytest.approx(first["torch"], abs=1e-4)
    # Beside other first matrices A, the step from there differs a little.
    assert 0 < padded["largest_loss_difference"] < 0.1
    assert padded["ratio"] > 0


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


SAMPLE_PARTS = (
    ("cpu", "--trial-problems"), ("llama", "--at-once"), ("gpu", "--forty"),
    ("utilisation", "--picture"),
)  # fmt: skip


@pytest.mark.parametrize(("part", "option"), SAMPLE_PARTS)
def test_help_of_the_sampling_benchmark(part, option):
    assert option in run(part, "--help", command="sample.py")


def test_random_dialogues_are_as_long_as_those_of_gsm8k():
    data = sample_job.random_dialogues()
    caps = data.caps()
    assert (caps.end_of_text, caps.end_of_turn, caps.vocab_size) == (50256, 50257, 50258)
    lengths = [len(tokens) for tokens in data.written]
    # In GSM8K's test split: prompts of 58 tokens, dialogues of 139, the longest 395.
    assert sum(lengths) / len(lengths) == pytest.approx(139, abs=10)
    assert 300 < caps.max_tokens == max(lengths) < 500
    assert sum(map(len, data.prompts)) / len(data.prompts) == pytest.approx(58, abs=5)


@needs_torch
def test_both_sides_of_sampling_write_the_same_dialogues(data, tmp_path):
    output = tmp_path / "results.json"
    run(
        "cpu", f"--data={data}", f"--output={output}", "--repeats=1", "--slots=2", "--batch=2",
        "--layers=1", "--width=64", "--heads=2", "--threads=1", "--variants=carry",
        command="sample.py",
    )  # fmt: skip
    result = json.loads(output.read_text())["1l-2h-64w"]["sampling"]
    ours, theirs = result["ours"], result["torch"]
    written = sum(map(len, sample_job.gsm8k_dialogues(str(data)).written))
    for side in (ours, theirs):
        assert side["ok"] and side["tokens"] == written
        assert side["problems_per_second"] > 0 and side["peak_memory_mib"] > 0
    speed = ours["problems_per_second"] / theirs["problems_per_second"]
    assert result["ratio"] == pytest.approx(speed, rel=2e-3) and result["problems"] == 3
    assert ours["compile_s"] > 0 and ours["compile_s_of_each_round"] == [0.0]
    assert 0 < ours["prefill_share"] < ours["prefill_share"] + ours["decode_share"] <= 1
    assert theirs["variant"] == "carry" and len(theirs["trials_problems_per_second"]) == 1


@needs_torch
def test_llama_cpp_writes_turns_of_the_same_lengths_and_reads_nothing_twice(data, tmp_path):
    for package in ("xllamacpp", "gguf"):
        pytest.importorskip(package, reason=f"no {package}: pip install {package}")
    output = tmp_path / "results.json"
    arguments = (
        "llama", f"--data={data}", f"--output={output}", "--repeats=1", "--at-once=2",
        "--layers=1", "--width=64", "--heads=2", "--types=f16", "--threads=1", "--trial-problems=2",
    )  # fmt: skip
    run(*arguments, command="sample.py")
    first = output.read_text()
    result = json.loads(first)["1l-2h-64w"]["2 at a time"]
    ours, theirs = result["ours"], result["llama.cpp"]
    written = sum(map(len, sample_job.gsm8k_dialogues(str(data)).written))
    assert ours["tokens"] == theirs["tokens"] == written and theirs["reread"] <= 0
    assert list(theirs["trials_problems_per_second"]) == [
        "f16, 1 threads, free", "f16, 1 threads, locked",
    ]  # fmt: skip
    speed = ours["problems_per_second"] / theirs["problems_per_second"]
    assert result["ratio"] == pytest.approx(speed, rel=2e-3) and result["problems"] == 3
    # What was measured is not measured again, and not mixed with what was asked otherwise.
    assert "measured before" in run(*arguments, command="sample.py")
    assert output.read_text() == first
    command = [sys.executable, str(BENCHMARKS / "sample.py"), *arguments, "--problems=1"]
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 1 and "was measured with other arguments" in other.stderr


@needs_torch
def test_the_gpu_part_of_sampling_reads_what_a_step_must(data, tmp_path):
    output = tmp_path / "results.json"
    run(
        "gpu", "--device=cpu", f"--data={data}", f"--output={output}", "--repeats=1", "--slots=2",
        "--layers=1", "--width=64", "--heads=2", "--batch=",
        command="sample.py",
    )  # fmt: skip
    model = json.loads(output.read_text())["1l-2h-64w"]
    figures = model["ours-xla-2"]
    assert figures["ok"] and figures["tokens_per_second"] > 0
    assert -20 < figures["mean_log_probability"] < -5  # of random weights: near -log(50,258)
    assert "runs on GPUs, not on cpu" in model["ours-triton-2"]["failed"]
    # Per step the 12 width^2 + 13 width of two blocks, words and the last LayerNorm, in bfloat16.
    gold = sample_job.gsm8k_dialogues(str(data))
    words = -(-gold.vocab_size // 128) * 128
    weights = 2 * 2 * (12 * 64**2 + 13 * 64 + 64 * words + 2 * 64) * figures["decode_steps"]
    # Per token the keys and values of what stands before it, and of itself, of two views; a CPU
    # has them in float32.
    pairs = sum(
        len(prompt) + done for prompt, tokens in zip(gold.prompts, gold.written, strict=True)
        for done in range(len(tokens))
    )  # fmt: skip
    assert figures["decode_read_gb"] * 1e9 == pytest.approx(weights + pairs * 2 * 8 * 64, rel=1e-2)
    share = figures["decode_gb_per_second"] / figures["bandwidth_gb_per_second"]
    assert figures["roofline_share"] == pytest.approx(share, rel=2e-3)
    assert model["summary"]["best"] == {"ours": "ours-xla-2", "torch": None}
    assert model["samples-40"]["estimate_s"] == pytest.approx(
        40 * figures["tokens"] / figures["tokens_per_second"], rel=1e-2
    )


def test_utilisation_before_and_after_and_its_picture(data, tmp_path):
    output, picture = tmp_path / "results.json", tmp_path / "slots.svg"
    run(
        "utilisation", f"--data={data}", f"--output={output}", "--slots=2", "--samples=1,2",
        f"--picture={picture}", "--picture-slots=2",
        command="sample.py",
    )  # fmt: skip
    results = json.loads(output.read_text())
    for section in ("1 sample", "2 samples"):
        figures = results[section]["2 slots"]
        assert 0 < figures["batches"]["utilisation"] <= 1
        assert figures["continuous"]["steps"] <= figures["batches"]["steps"]
    rows = results["picture"]["continuous"]["rows"]
    lengths = [len(tokens) for tokens in sample_job.gsm8k_dialogues(str(data)).written]
    assert sorted(last - first for _, _, first, last in rows) == sorted(lengths)
    assert "</svg>" in picture.read_text()


def test_asking_a_teacher_is_measured_against_the_bare_sdk(tmp_path):
    output = tmp_path / "results.json"
    run(
        f"--output={output}", "--requests=40", "--repeats=2", "--concurrency=4", "--latency_ms=10",
        "--many=100", command="annotate.py",
    )  # fmt: skip
    results = json.loads(output.read_text())["annotate"]
    rounds = results["throughput"]["seconds_of_each_round"]
    # 40 requests of 10 ms, 4 at a time, take 0.1 s at the least.
    assert all(len(rounds[name]) == 2 and min(rounds[name]) > 0.1 for name in ("bare", "ours"))
    medians = {name: sum(times) / 2 for name, times in rounds.items()}
    overhead = medians["ours"] / medians["bare"] - 1
    assert results["throughput"]["overhead"] == pytest.approx(overhead, rel=2e-3, abs=1e-3)
    assert results["throughput"]["most_possible_per_second"] == 400
    assert len(results["memory"]["mib_at_tenths"]) == 10


def test_seeds_together_make_the_same_updates_as_apart(tmp_path):
    output = tmp_path / "results.json"
    tiny = ["--override=model.solver.layers=1", "--override=model.solver.width=32"]
    sizes = ["--steps=2", "--repeats=1", "--problems=60", "--seeds=2"]
    run(*sizes, *tiny, f"--output={output}", command="seeds_together.py")
    found = json.loads(output.read_text())["seeds"]
    apart, together = found["apart"], found["together"]
    assert found["largest_loss_difference"] < 1e-5
    assert len(set(apart["last_losses"])) == 2 and len(together["round_s"]) == 1
    assert found["speed_up"] == pytest.approx(
        together["tokens_per_second"] / apart["tokens_per_second"], rel=2e-3
    )


@pytest.mark.slow
def test_a_round_is_measured_beside_trl(tmp_path):
    pytest.importorskip("trl", reason="no TRL: it is in the extra [trl]")
    output = tmp_path / "rounds.json"
    run(
        f"--workdir={tmp_path / 'runs'}", f"--output={output}", "--budget=40000", "--rounds=4",
        "--problems=4", "--samples=2", "--max_tokens=16", "--threads=1", "--repeats=1",
        command="rounds.py",
    )  # fmt: skip
    measured = json.loads(output.read_text())["rounds"]["demo"]
    sides = ("ours", "TRL", "TRL in bfloat16")
    assert all(1 < measured["rounds"][side][0]["tokens"] <= 16 for side in sides)
    speeds = {side: measured[side]["rounds_per_minute"] for side in sides}
    assert measured["ratio"] == pytest.approx(speeds["ours"] / speeds["TRL"], rel=1e-2)


def test_a_part_that_has_ended_is_not_measured_again_and_is_in_the_table(tmp_path):
    """With files of other measurements: nothing is run."""
    ours, peer = {"problems_per_second": 3.0}, {"problems_per_second": 2.0}
    machine = {"processor": "a processor", "cores": 2}
    for part in bench_all.parts():
        measured = {"gpt2": {"64 at a time": {"ours": ours, "llama.cpp": peer, "ratio": 1.5}}}
        if part.name == "growth":
            measured = {"slots": {"8": {"seconds": 2.0, "peak_memory_mib": 300}}}
        stored = {"arguments": {}, "machine": machine, **measured}
        (tmp_path / f"{part.name}.json").write_text(json.dumps(stored))
    arguments = ("--data=DIR", f"--output={tmp_path}")
    printed = run(*arguments, "--only=llama-gpt2-64", command="bench_all.py")
    assert printed == run(*arguments, "--only=llama-gpt2-64", "--table", command="bench_all.py")
    row = "| gpt2, 64 at a time | 3 problems/s | llama.cpp: 2 problems/s | 1.50 | a processor, "
    assert row in printed and "--problems=256 --trial-problems=16 --models=gpt2 " in printed
    everything = run(*arguments, command="bench_all.py")
    assert "| evaluating: slots | 8 | 2.0 | 300 |" in everything


def test_the_figures_of_a_gpu_are_in_one_file_and_one_table(tmp_path):
    """Of parts that have ended, so nothing is run."""
    for part in bench_all.gpu_parts():
        stored = {"arguments": {}, "machine": {"processor": "a processor", "cores": 16}}
        stored["gpt2"] = {part.name: {"tokens_per_second": 5.0}}
        (tmp_path / f"{part.name}.json").write_text(json.dumps(stored))
    printed = run("--gpu", f"--output={tmp_path}", command="bench_all.py")
    together = json.loads((tmp_path / "gpu.json").read_text())
    assert list(together) == ["gpu-train", "gpu-sample", "gpu-study"]
    for name, stored in together.items():
        assert stored["gpt2"] == {name: {"tokens_per_second": 5.0}}
        assert f"| {name}, gpt2, {name} | tokens_per_second | 5.0 |" in printed


def test_a_part_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    works = tmp_path / "works.py"
    works.write_text("import pathlib, sys\npathlib.Path(sys.argv[1][9:]).write_text('{}')\n")
    with_run = bench_all.Part("with-run", (str(works), "{run}"))  # left out: no run is given
    found = [bench_all.Part("fails", (str(tmp_path / "gone.py"),)), with_run]
    found.append(bench_all.Part("works", (str(works),)))
    monkeypatch.setattr(bench_all, "parts", lambda: found)
    output = tmp_path / "results"
    with pytest.raises(SystemExit, match="fails ended with code 2: run this again"):
        bench_all.main([f"--output={output}"])
    assert [path.name for path in output.iterdir()] == ["works.json"]


@pytest.mark.parametrize("part", [*bench_all.parts(), *bench_all.gpu_parts()], ids=lambda p: p.name)
def test_every_part_is_a_command_that_exists(part, data, tmp_path):
    _, script, *arguments = part.line(str(data))
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    read = module.parser().parse_args([*arguments, f"--output={tmp_path / 'x.json'}"])
    assert read.output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("bench_all.py --table --output={tmp}", "nothing was measured yet"),
        ("bench_all.py --only=padded", "--data is missing"),
        ("bench_all.py --only=nonsense", "--list shows them"),
        ("bench_all.py --data={tmp} --only=padded", "has no gsm8k/train.jsonl"),
        ("train.py cpu --data={tmp}", "has no gsm8k/train.jsonl"),
        ("train.py startup --run={tmp}", "has no report.json"),
        ("train.py gpu", "--device=cpu"),
        ("sample.py gpu", "--device=cpu"),
        ("bench_all.py --gpu", "--device=cpu"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_measured(command, said, tmp_path):
    if "gpu" in command and devices.gpu_files():
        pytest.skip("this machine has a GPU")
    script, *arguments = command.format(tmp=tmp_path).split()
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *arguments],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert said in printed and "Traceback" not in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_study_says_what_its_runs_took_and_where_it_was_cut_off(tmp_path):
    tiny = (
        "--arms=made_coins-answer_only", "--config.train.token_budget=3000",
        "--config.task_options.train_problems=50", "--config.evaluation.problems=5",
    )  # fmt: skip
    output = tmp_path / "study.json"
    run(*tiny, f"--output={output}", command="study.py")
    measured = json.loads(output.read_text())["study"]
    assert list(measured) == [f"made_coins-answer_only-seed{seed}" for seed in (0, 1)]
    for figures in measured.values():
        assert figures["problems"] == 5 and figures["seconds"] > figures["evaluation_s"] > 0
    run(*tiny, "--limit-s=1", f"--output={output}", command="study.py")
    assert json.loads(output.read_text())["end"] == {"ended": "cut off after 1 s"}


def test_the_study_of_combining_calls_commands_that_exist(capsys):
    """A dry run: the runs are those of its sweep, everything that is made is in the report."""
    combining.Study(pathlib.Path("w"), dry=True).run()
    lines = [line.split()[2:] for line in capsys.readouterr().out.splitlines()]
    for module, *arguments in lines:
        check_own_command(module.removeprefix("distill_jax."), arguments)
    *_, (module, *rows) = lines
    swept = plan.plan(definition.load_sweep("configs/sweeps/combining.py"), {}, pathlib.Path("w"))
    assert module == "distill_jax.report"
    assert set(rows) >= {f"w/{step.name}" for step in swept.steps}
    made = [words[-1].removeprefix("--output=") for words in lines if "combine" in words[0]]
    assert len(made) == 5 and set(made) <= set(rows)
