"""configs/smollm2_svamp.py from the first command to files for llama.cpp, with a tiny GGUF file."""

import csv
import json

import pytest
from experiment_runs import one_error_line, run

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
import tiny_gguf  # noqa: E402

from distill_jax.gguf_file import GGUFFile  # noqa: E402
from distill_jax.text import gguf_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A directory in the upstream format: 40 problems to learn from, 1,000 to be asked."""
    directory = tmp_path_factory.mktemp("svamp")
    problems = [
        {
            "ID": f"chal-{n}", "Body": f"Ann has {n} pens and buys 2 more.", "Type": "Addition",
            "Question": "How many has she?", "Equation": f"( {n}.0 + 2.0 )", "Answer": n + 2.0,
        }
        for n in range(1, 1001)
    ]  # fmt: skip
    (directory / "SVAMP.json").write_text(json.dumps(problems))
    (directory / "mawps-asdiv-a_svamp").mkdir()
    with (directory / "mawps-asdiv-a_svamp" / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", "Numbers", "Equation", "Answer"])
        names = ("Bob", "Eve", "Ida", "Tom")
        for n in range(40):
            words = f"{names[n % 4]} picks number0 pears on day {n} and eats number1 , how many ?"
            writer.writerow([words, f"{n + 9} 3", "- number0 number1", n + 6])
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    return tiny_gguf.write(path, values=tiny_gguf.metadata() | {"llama.context_length": 512})


def test_two_steps_from_a_gguf_file_and_back_into_one(data, model, tmp_path):
    options = [
        f"--config.task_options.directory={data}",
        f"--config.model.solver.init_from={model}",
        "--config.train.epochs=0",
        "--config.train.steps=2",
        "--config.data.dev_problems=4",
        "--config.data.seq_len=0",
        "--config.sampling.max_tokens=8",
        "--config.sampling.slots=4",
        "--config.evaluation.problems=4",
    ]
    workdir = tmp_path / "w"
    done = run("main", "--config=configs/smollm2_svamp.py", *options, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    assert f"starting from {model}" in done.stdout and "untrained" not in done.stdout
    marks = json.loads((workdir / "tokenizer" / "end_marks.json").read_text())
    assert marks == {"end_of_turn": "<|im_end|>", "end_of_text": "<|endoftext|>", "untrained": []}
    facts = json.loads((workdir / "training_data.json").read_text())["solver"]
    assert (facts["model"]["model_type"], facts["model"]["layers"]) == ("llama", tiny_gguf.LAYERS)
    unknown = f"as {facts['began_as']}: overlap of its training data with these tests is unknown"
    assert facts["began_as"].startswith("tiny.gguf") and f"students began {unknown}" in done.stdout
    for page in (workdir / "report.html").read_text(), (workdir / "report.json").read_text():
        assert facts["began_as"] in page
    done = run("export", "--workdir", workdir, "--output", tmp_path / "out", "--gguf=q8_0")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out" / "solver"
    assert f"Students began {unknown}" in (out / "README.md").read_text().replace("\\", "")
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [0, 2]
    exported = GGUFFile(out / "solver.gguf")
    assert {tensor.tensor_type.name for tensor in exported.tensors.values()} == {"F32", "Q8_0"}
    tokenizer = gguf_tokenizer.read_tokenizer(exported)
    assert (tokenizer.end_of_turn, tokenizer.end_of_text) == (2, 0)
    text = "Ann's 15 <|im_end|><think>"
    before = gguf_tokenizer.read_tokenizer(GGUFFile(model)).tokenizer
    before.encode_special_tokens = tokenizer.tokenizer.encode_special_tokens = True
    assert tokenizer.tokenizer.encode(text).ids == before.encode(text).ids


def test_another_tokenizer_than_that_of_the_file_is_refused(data, model, tmp_path):
    values = tiny_gguf.metadata() | {"tokenizer.ggml.pre": "gpt-2"}
    other = tiny_gguf.write(tmp_path / "other.gguf", values=values)
    done = run(
        "main", "--config=configs/smollm2_svamp.py", "--workdir", tmp_path / "w",
        f"--config.task_options.directory={data}", f"--config.model.solver.init_from={model}",
        f"--config.tokenizer.name={other}",
    )  # fmt: skip
    assert "has another tokenizer: leave config.tokenizer.name empty" in one_error_line(done)
