"""Exported students, as transformers with PyTorch loads them, and the command that writes them."""

import ast
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import tokenizers
import transformers
from experiment_runs import TINY, command, environment, one_error_line, run
from test_hugging_face import DTYPES, KEY, network_logits, tensors

from distill_jax.errors import UserError
from distill_jax.export import hugging_face_export
from distill_jax.model import gpt2, hugging_face, network
from distill_jax.text import rows as text_rows
from distill_jax.text.tokenizer import END_OF_TURN, load_tokenizer, train_tokenizer

torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)

TEXT = "Anna has 15 apples and buys 27 more. How many in all?\n15+27 = 42\n#### 42"


def tiny_student(tmp_path, tokenizer, *, scale=1.0, context=96):
    tokenizer.save(tmp_path / "tokenizer")
    config = gpt2.GPT2Config(
        vocab_size=tokenizer.padded_size, context=context, layers=2, heads=2, width=32
    )
    params = network.init_params(config, jax.random.key(0))
    return config, jax.tree.map(lambda leaf: leaf * scale, params)


def exported(tmp_path, tokenizer, dtype="float32", never_writes=(), **options):
    """(directory, config, params) of a student that was exported from random parameters."""
    config, params = tiny_student(tmp_path, tokenizer, **options)
    directory = hugging_face_export.export_student(
        tmp_path / "out",
        hugging_face_export.Exported("solver", params, config, tmp_path / "tokenizer"),
        dtype,
        "# solver\n",
        never_writes,
    )
    return directory, config, params


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT] * 3, 300)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transformers_loads_an_export_as_it_is(tmp_path, tokenizer, dtype):
    directory, config, params = exported(tmp_path, tokenizer, dtype)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["solver"]
    # Who may read the one file may read the others.
    assert len({path.stat().st_mode for path in directory.iterdir()}) == 1
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, output_loading_info=True
    )
    assert not any(info.values()), info
    assert model.dtype == getattr(torch, dtype)
    assert model.config.vocab_size == tokenizer.size != config.vocab_size
    assert model.config.architectures == ["GPT2LMHeadModel"]
    ends = [tokenizer.end_of_text, tokenizer.end_of_turn]
    assert model.generation_config.eos_token_id == ends
    assert model.generation_config.pad_token_id == tokenizer.end_of_text
    # And back: what we read is what was written.
    source = hugging_face.find(str(directory), KEY)
    assert (source.model.vocab_size, source.dtype) == (tokenizer.size, dtype)
    again = hugging_face.load_params(source, config.vocab_size)
    again["wte"]["embedding"] = again["wte"]["embedding"][: tokenizer.size]
    params["wte"]["embedding"] = params["wte"]["embedding"][: tokenizer.size]
    rounded = jax.tree.map(lambda x: np.asarray(x, DTYPES[dtype]).astype(np.float32), params)
    jax.tree.map(np.testing.assert_array_equal, again, rounded)
    # transformers saves what it loaded byte for byte as we saved it.
    model.save_pretrained(tmp_path / "saved")
    ours, theirs = tensors(directory), tensors(tmp_path / "saved")
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_config_json_is_what_transformers_would_write(tmp_path, tokenizer):
    directory, _, _ = exported(tmp_path, tokenizer, "bfloat16")
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    model.save_pretrained(tmp_path / "saved")
    ours, theirs = (
        json.loads((path / "config.json").read_text()) for path in (directory, tmp_path / "saved")
    )
    assert ours == theirs


def gpt2_tokenizer(directory):
    """A tokenizer of the class of GPT-2, which has no end of turn, with bytes and two merges."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, "an", "ann", "<|endoftext|>"]
    transformers.GPT2Tokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[("a", "n"), ("an", "n")]
    ).save_pretrained(directory)
    return load_tokenizer(str(directory))


@pytest.mark.parametrize("kind", ["trained", "gpt2"])
def test_the_exported_tokenizer_gives_our_ids(tmp_path, tokenizer, kind):
    if kind == "gpt2":
        tokenizer = gpt2_tokenizer(tmp_path / "gpt2")
    directory, config, _ = exported(tmp_path, tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    texts = [TEXT, "", " ", "3 12,  345.5\t\n\n ", "Wie groß? 日本 🙂", "anna's  annä", "a .  b 's"]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert theirs(text).input_ids == ids
        assert theirs.decode(ids) == text == theirs.decode(ids, skip_special_tokens=True)
    assert len(theirs) == tokenizer.size and theirs.model_max_length == config.context
    assert theirs.eos_token_id == theirs.pad_token_id == tokenizer.end_of_text
    assert tokenizer.end_of_turn in theirs.all_special_ids
    assert theirs(f"a{END_OF_TURN}").input_ids[-1] == tokenizer.end_of_turn
    question = " How many?\n"
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": "2 and 3"}]
    first, second = tokenizer.encode([m["content"] for m in chat])
    ends = [tokenizer.end_of_turn]
    for extra in ({}, {"add_generation_prompt": True}):
        ids = theirs.apply_chat_template(chat[:1], **extra).input_ids
        assert ids == text_rows.prompt_tokens(first, tokenizer.end_of_turn)
        assert theirs.apply_chat_template(chat, **extra).input_ids == first + ends + second + ends


def test_a_tokenizer_that_would_add_tokens_adds_none(tmp_path, tokenizer):
    tokenizer.save(tmp_path / "adding")
    path = str(tmp_path / "adding" / "tokenizer.json")
    backend = tokenizers.Tokenizer.from_file(path)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tokenizer.end_of_text)]
    )
    backend.save(path)
    adding = load_tokenizer(str(tmp_path / "adding"))
    directory, _, _ = exported(tmp_path, adding)
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    assert theirs(TEXT).input_ids == adding.encode([TEXT])[0]


def test_greedy_text_is_the_same_here_and_there(tmp_path, tokenizer):
    """64 tokens for each of 20 prompts, padding ids left out, with weights that make it vary."""
    directory, config, params = exported(tmp_path, tokenizer, scale=5.0)
    prompts = np.random.default_rng(0).integers(2, tokenizer.size, (20, 16))
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    model.generation_config.eos_token_id = None  # 64 tokens of all of them
    with torch.no_grad():
        theirs = model.generate(
            torch.tensor(prompts),
            attention_mask=torch.ones(prompts.shape, dtype=torch.long),
            max_new_tokens=64,
        ).numpy()
    tokens = np.zeros((20, 80), np.int64)
    tokens[:, :16] = prompts
    step = jax.jit(lambda tokens: network_logits(config, params, tokens)[..., : tokenizer.size])
    gaps = []
    for position in range(16, 80):
        logits = np.asarray(step(tokens))[:, position - 1]
        best = np.sort(logits, axis=-1)
        gaps.append(best[:, -1] - best[:, -2])
        tokens[:, position] = logits.argmax(-1)
    assert len(np.unique(tokens[:, 16:])) > 50  # it does vary
    assert np.min(gaps) > 1e-4  # and no choice hangs on rounding
    np.testing.assert_array_equal(theirs, tokens)


def test_what_a_student_may_not_write_is_suppressed(tmp_path, tokenizer):
    ends = [tokenizer.end_of_turn, tokenizer.end_of_text]
    directory, _, _ = exported(tmp_path, tokenizer, never_writes=ends, scale=3.0)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    assert model.generation_config.suppress_tokens == sorted(ends)
    prompt = torch.tensor([[5, 6, 7]])
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=60)
    assert out.shape == (1, 63) and not set(out[0, 3:].tolist()) & set(ends)


def test_nothing_is_written_over_and_nothing_is_left_half_done(tmp_path, tokenizer, monkeypatch):
    directory, config, params = exported(tmp_path, tokenizer)
    arguments = params, config, tmp_path / "tokenizer"
    with pytest.raises(UserError, match="not empty: delete it"):
        hugging_face_export.export_student(
            tmp_path / "out", hugging_face_export.Exported("solver", *arguments), "float32", "card"
        )
    assert (directory / "README.md").read_text() == "# solver\n"
    huge = jax.tree.map(lambda leaf: leaf * 1e9, params)
    with pytest.raises(UserError, match=r"wte\.weight has values that float16 cannot hold"):
        hugging_face_export.export_student(
            tmp_path / "out",
            hugging_face_export.Exported("other", huge, *arguments[1:]),
            "float16",
            "card",
        )
    (tmp_path / "out" / ".other.tmp").mkdir()  # of an export that was killed
    (tmp_path / "out" / ".other.tmp" / "rubbish").touch()
    (tmp_path / "out" / "other").mkdir()  # empty: may be used
    monkeypatch.setattr(hugging_face_export, "_write_tokenizer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hugging_face_export.export_student(
            tmp_path / "out", hugging_face_export.Exported("other", *arguments), "float32", "card"
        )
    assert list((tmp_path / "out" / "other").iterdir()) == []
    monkeypatch.undo()
    done = hugging_face_export.export_student(
        tmp_path / "out", hugging_face_export.Exported("other", *arguments), "float32", "card"
    )
    assert not (done / "rubbish").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["other", "solver"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not a directory"):
        hugging_face_export.check_target(tmp_path / "file", "solver")


def run_example(directory):
    """Run the Python of an exported card in its directory; returns the code."""
    code = re.search(r"```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
    assert code
    done = subprocess.run(
        [sys.executable, "-c", code[1]], cwd=directory, env=environment(), capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return code[1]


def test_a_run_is_exported_and_its_card_works(tmp_path):
    workdir, output = tmp_path / "w", tmp_path / "out"
    done = run("main", *TINY, "--config.train.steps=3", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    done = run("export", "--workdir", workdir, "--output", output)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["alternate.py", "decomposer", "solver"]
    report = json.loads((workdir / "report.json").read_text())
    ours = load_tokenizer(str(workdir / "tokenizer"))
    for student, suppressed in (("decomposer", None), ("solver", [ours.end_of_text])):
        assert str(output / student) in done.stdout
        text = (output / student / "README.md").read_text()
        assert f"{report['accuracy']:.1%}" in text and f"n = {report['n']}" in text
        settings = json.loads((output / student / "generation_config.json").read_text())
        assert settings.get("suppress_tokens") == suppressed
        assert hugging_face.find(str(output / student), KEY).dtype == "float32"
    # The example is a beginning of a training row.
    code = run_example(output / "solver")
    messages = ast.literal_eval(code[code.index("[\n") : code.index("\n]") + 2])
    first = json.loads((workdir / "annotations.jsonl").open().readline())
    assert [m["content"] for m in messages] == [first["question"], first["steps"][0]["subquestion"]]
    assert "not empty" in one_error_line(run("export", "--workdir", workdir, "--output", output))
    done = run("export", "--workdir", workdir, "--output", tmp_path / "half", "--dtype=bfloat16")
    assert done.returncode == 0, done.stderr
    assert hugging_face.find(str(tmp_path / "half" / "solver"), KEY).dtype == "bfloat16"


def test_the_export_of_nothing(tmp_path):
    message = one_error_line(run("export", "--workdir", tmp_path / "w", "--output", tmp_path / "o"))
    assert "no such file" in message and not (tmp_path / "o").exists()
    shown = subprocess.run(command("export", "--help"), env=environment(), capture_output=True)
    assert shown.returncode == 0 and b"--dtype" in shown.stdout
