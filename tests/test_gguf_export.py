"""The file for llama.cpp, read back, and by llama.cpp itself where xllamacpp is installed."""

import jax
import llama_cpp
import numpy as np
import pytest
import transformers
from test_hugging_face_export import gpt2_tokenizer

from distill_jax.errors import UserError
from distill_jax.export import gguf_export, hugging_face_export
from distill_jax.model import gpt2, network
from distill_jax.text.gguf_tokenizer_export import EndIds
from distill_jax.text.tokenizer import END_OF_TURN, train_tokenizer

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)
ENDS = ("eos", "eot")
QUESTIONS = ["Ann has 15 apples, Anna's 27...\n\nHow many?", "3 12, 345.5 Wie groß? 日本", "banana"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """An exported student with GPT-2's splitting of text, and weights that make answers vary."""
    path = tmp_path_factory.mktemp("gguf")
    tokenizer = gpt2_tokenizer(path / "gpt2")
    tokenizer.save(path / "tokenizer")
    config = gpt2.GPT2Config(tokenizer.padded_size, 96, layers=2, heads=2, width=32)
    params = jax.tree.map(lambda leaf: leaf * 5, network.init_params(config, jax.random.key(0)))
    gguf_export.check(config, path / "tokenizer", "f32")
    return hugging_face_export.export_student(
        path / "out",
        hugging_face_export.Exported("solver", params, config, path / "tokenizer"),
        "bfloat16",
        "card",
        gguf="f32",
    )


def test_the_file_holds_the_same_numbers_and_tokens(directory):
    reader = gguf.GGUFReader(directory / "solver.gguf")
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    weights = transformers.AutoModelForCausalLM.from_pretrained(directory).float().state_dict()
    assert len(tensors) == 2 * 12 + 4
    np.testing.assert_array_equal(tensors["token_embd.weight"], weights["transformer.wte.weight"])
    np.testing.assert_array_equal(
        tensors["blk.1.ffn_down.weight"], weights["transformer.h.1.mlp.c_proj.weight"].T
    )
    np.testing.assert_array_equal(
        tensors["blk.0.attn_qkv.bias"], weights["transformer.h.0.attn.c_attn.bias"]
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    field = reader.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[index]).decode() for index in field.data]
    assert tokens == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == 3]
    assert control == [tokenizer.eos_token, END_OF_TURN]
    ids = {name: reader.fields[f"tokenizer.ggml.{name}_token_id"].contents() for name in ENDS}
    assert ids == {"eos": tokenizer.eos_token_id, "eot": tokens.index(END_OF_TURN)}


@pytest.mark.parametrize(("file_type", "error"), [("f16", 1e-3), ("q8_0", 1e-2)])
def test_matrices_in_fewer_bits(directory, file_type, error):
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    ends = EndIds(tokenizer.convert_tokens_to_ids(END_OF_TURN), tokenizer.eos_token_id)
    exact = {tensor.name: tensor for tensor in gguf.GGUFReader(directory / "solver.gguf").tensors}
    path = gguf_export.write_gguf(directory, file_type, ends, file_type)
    for tensor in gguf.GGUFReader(path).tensors:
        exactly = tensor.name == "position_embd.weight" or len(tensor.shape) == 1
        assert tensor.tensor_type.name == ("F32" if exactly else file_type.upper())
        value = gguf.dequantize(tensor.data, tensor.tensor_type)
        wanted = exact[tensor.name].data
        assert np.abs(value - wanted).max() <= (0 if exactly else error * np.abs(wanted).max())
    server = llama_cpp.serve(path, 96)
    assert llama_cpp.post(server, "/completion", {"prompt": "a", "n_predict": 4})["content"]


def test_rows_that_a_block_does_not_divide_are_refused(directory):
    config = gpt2.GPT2Config(384, 96, layers=2, heads=2, width=48)
    tokenizer = directory.parent.parent / "tokenizer"
    gguf_export.check(config, tokenizer, "f16")
    with pytest.raises(UserError, match=r"rows of 48 numbers are not divisible by 32"):
        gguf_export.check(config, tokenizer, "q8_0")


def _ascii(text):
    """Without what single bytes become that are no text by themselves."""
    return "".join(letter for letter in text if letter.isascii())


def test_llama_cpp_writes_what_transformers_writes(directory):
    server = llama_cpp.serve(directory / "solver.gguf", 96)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    # llama.cpp's ignore_eos forbids every end.
    ends, model.generation_config.eos_token_id = model.generation_config.eos_token_id, None
    compared = 0
    for question in QUESTIONS:
        prompt = question + END_OF_TURN  # text: llama.cpp has to find the mark in it
        ids = torch.tensor([tokenizer(prompt).input_ids])
        theirs = server.handle_completions(
            {"prompt": prompt, "n_predict": 24, "temperature": 0.0, "ignore_eos": True}
        )
        assert theirs["usage"]["prompt_tokens"] == ids.shape[1]
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, output_scores=True,
            suppress_tokens=ends, return_dict_in_generate=True,
        )  # fmt: skip
        best = [step[0].topk(2).values for step in output.scores]
        # llama.cpp looks GELU up in half precision: behind a near tie the texts may part.
        clear = next((i for i, two in enumerate(best) if two[0] - two[1] < 0.02), 24)
        ours = output.sequences[0, ids.shape[1] :][:clear]
        text = tokenizer.decode(ours, skip_special_tokens=True)
        assert _ascii(theirs["choices"][0]["text"]).startswith(_ascii(text))
        compared += clear
    assert compared > 24


def test_llama_cpp_stops_at_the_end_of_a_turn(directory):
    """A bias makes one token certain; an end of turn is an end, another token is not."""
    server = llama_cpp.serve(directory / "solver.gguf", 96)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    for token, reason in ((END_OF_TURN, "stop"), (tokenizer.eos_token, "stop"), ("an", "length")):
        bias = [[tokenizer.convert_tokens_to_ids(token), 100.0]]
        reply = server.handle_completions({"prompt": "a", "n_predict": 3, "logit_bias": bias})
        assert reply["choices"][0]["finish_reason"] == reason


def test_another_splitting_is_refused(tmp_path):
    config = gpt2.GPT2Config(384, 96, layers=2, heads=2, width=32)
    train_tokenizer(["one two three"] * 3, 300).save(tmp_path / "tokenizer")
    with pytest.raises(UserError, match=r"llama\.cpp cannot split text as .*tokenizer\.json says"):
        gguf_export.check(config, tmp_path / "tokenizer", "f16")
