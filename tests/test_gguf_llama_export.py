"""Llama-family students as GGUF files: read back bit for bit, and continued by llama.cpp."""

import json

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
import llama_cpp  # noqa: E402
import tiny_gguf  # noqa: E402

from distill_jax.errors import UserError  # noqa: E402
from distill_jax.export import gguf_llama_export  # noqa: E402
from distill_jax.export.gguf_llama_export import write_gguf  # noqa: E402
from distill_jax.gguf_file import GGUFFile  # noqa: E402
from distill_jax.model import gguf_import  # noqa: E402
from distill_jax.text import gguf_tokenizer  # noqa: E402
from distill_jax.text.gguf_tokenizer_export import EndIds  # noqa: E402
from distill_jax.text.tokenizer import train_tokenizer  # noqa: E402

ENDS = EndIds(turn=2, text=0)
PROMPTS = ["Ann has 15 apples<|im_end|>", "How many pieces of fruit, 1234?\n\n", "日本 Don't"]


def model(path, architecture, **changes):
    """(config, {name: array}, directory of the tokenizer) of a tiny model."""
    tied = changes.pop("tied", True)
    tensors = tiny_gguf.weights(architecture)
    if not tied:
        tensors["output.weight"] = tensors["token_embd.weight"][::-1].copy()
    values = tiny_gguf.metadata(architecture) | changes
    file = GGUFFile(tiny_gguf.write(path / "m.gguf", architecture, values=values, tensors=tensors))
    config = gguf_import.read_config(file)
    directory = path / "tokenizer"
    gguf_tokenizer.read_tokenizer(file).transformers_tokenizer().save_pretrained(directory)
    return config, dict(gguf_import.read_weights(file, config)), directory


@pytest.mark.parametrize("architecture", gguf_import.ARCHITECTURES)
def test_a_model_comes_back_as_it_was(tmp_path, architecture):
    config, weights, directory = model(tmp_path, architecture, tied=architecture != "qwen3")
    write_gguf(tmp_path / "out.gguf", config, weights.items(), directory, ENDS, "f32")
    file = GGUFFile(tmp_path / "out.gguf")
    again = gguf_import.read_config(file)
    assert again == config | {"eos_token_id": 0, "pad_token_id": 0}
    read = dict(gguf_import.read_weights(file, again))
    assert read.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(read[name], value)
    before = gguf_tokenizer.read_tokenizer(GGUFFile(tmp_path / "m.gguf"))
    after = gguf_tokenizer.read_tokenizer(file)
    assert after.tokenizer.to_str() == before.tokenizer.to_str()
    assert after.special == before.special and after.chat_template == before.chat_template
    assert (after.end_of_turn, after.end_of_text, after.eos) == (2, 0, 0)


def test_rotary_factors_come_back(tmp_path):
    config, weights, directory = model(tmp_path, "llama")
    rope = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config |= {"rope_parameters": rope | {"rope_theta": 5e4}, "rope_scaling": rope}
    write_gguf(tmp_path / "out.gguf", config, weights.items(), directory, ENDS, "f32")
    again = gguf_import.read_config(GGUFFile(tmp_path / "out.gguf"))
    assert again["rope_parameters"] == config["rope_parameters"]
    assert again["rope_scaling"] == rope


@pytest.mark.parametrize("architecture", gguf_import.ARCHITECTURES)
@pytest.mark.parametrize("file_type", gguf_llama_export.FILE_TYPES)
def test_llama_cpp_writes_what_transformers_writes(tmp_path, architecture, file_type):
    torch = pytest.importorskip("torch", reason="no PyTorch")
    import transformers

    config, weights, directory = model(tmp_path, architecture, tied=architecture != "llama")
    write_gguf(tmp_path / "out.gguf", config, weights.items(), directory, ENDS, file_type)
    file = GGUFFile(tmp_path / "out.gguf")
    kinds = {tensor.tensor_type.name for tensor in file.tensors.values()}
    assert kinds == {"F32", file_type.upper()}
    # What the file holds, rounded or not, is what transformers is given.
    stored = {k: torch.from_numpy(v) for k, v in gguf_import.read_weights(file, config)}
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config)
    )
    theirs.load_state_dict(stored, strict=False)
    if config["tie_word_embeddings"]:
        theirs.tie_weights()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    server = llama_cpp.serve(tmp_path / "out.gguf")
    # After a nearer tie they may part: with q8_0 llama.cpp rounds what it multiplies with, too.
    near = {"f32": 0.001, "f16": 0.003, "q8_0": 0.1}[file_type]
    clear = 0
    for prompt in PROMPTS:
        ids = tokenizer(prompt).input_ids
        assert llama_cpp.tokenize(server, prompt, special=True) == ids
        output = theirs.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=16,
            output_scores=True, return_dict_in_generate=True, suppress_tokens=[*ENDS],
            eos_token_id=None, do_sample=False,
        )  # fmt: skip
        tokens = output.sequences[0].tolist()
        for step, scores in enumerate(output.scores):
            first, second = scores[0].topk(2).values
            before = tokens[: len(ids) + step]
            body = {"prompt": before, "n_predict": 1, "temperature": 0.0, "ignore_eos": True}
            reply = llama_cpp.post(server, "/completion", body | {"return_tokens": True})
            if first - second > near:
                clear += 1
                assert reply["tokens"] == tokens[len(before) : len(before) + 1]
    assert clear > (24 if file_type == "q8_0" else 44)


def test_llama_cpp_stops_at_both_ends(tmp_path):
    config, weights, directory = model(tmp_path, "llama")
    write_gguf(tmp_path / "out.gguf", config, weights.items(), directory, EndIds(1, 0), "f16")
    server = llama_cpp.serve(tmp_path / "out.gguf")
    # <|im_start|> ends a turn here, which llama.cpp would not guess.
    for token, reason in ((1, "eos"), (0, "eos"), (50, "limit")):
        body = {"prompt": "a", "n_predict": 3, "logit_bias": [[token, 100.0]]}
        assert llama_cpp.post(server, "/completion", body)["stop_type"] == reason


def test_what_cannot_be_written_is_refused(tmp_path):
    config, weights, directory = model(tmp_path, "llama")
    check = gguf_llama_export.check
    check(config, directory, "q8_0")
    narrow = config | {"intermediate_size": 250}
    with pytest.raises(UserError, match=r"layers\.0\.mlp\.down_proj\.weight has rows of 250 numb"):
        check(narrow, directory, "q8_0")
    check(narrow, directory, "f16")
    with pytest.raises(UserError, match="a gemma2 cannot be written as one of llama, qwen2"):
        check(config | {"model_type": "gemma2"}, directory, "f16")
    yarn = config | {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}
    with pytest.raises(UserError, match="rotary scaling yarn cannot be written"):
        check(yarn, directory, "f16")
    train_tokenizer(["one two three"] * 3, 300).save(tmp_path / "own")
    with pytest.raises(UserError, match=r"llama\.cpp cannot split text as .*tokenizer\.json says"):
        check(config, tmp_path / "own", "f16")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = 1e5
    with pytest.raises(UserError, match=r"blk\.1\.ffn_up\.weight has numbers too large for f16"):
        write_gguf(tmp_path / "o.gguf", config, weights.items(), directory, ENDS, "f16")


def test_an_older_chat_template_is_kept(tmp_path):
    """Our own export puts it into tokenizer_config.json."""
    config, weights, directory = model(tmp_path, "llama")
    (directory / "chat_template.jinja").unlink()
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": "{{ 1 }}"}))
    write_gguf(tmp_path / "out.gguf", config, weights.items(), directory, ENDS, "f16")
    file = GGUFFile(tmp_path / "out.gguf")
    assert gguf_tokenizer.read_tokenizer(file).chat_template == "{{ 1 }}"
