"""The Llama family in Hugging Face format, in and out; the other side is transformers."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import transformers
from experiment_runs import TINY, run
from test_hugging_face import DTYPES, KEY, message, network_logits, tensors
from test_llama import LLAMA3, VOCABULARY, made_by_transformers

from distill_jax.configs.base import get_config
from distill_jax.errors import UserError
from distill_jax.export import hugging_face_export
from distill_jax.model import families, hugging_face, network, rope
from distill_jax.model.llama import LlamaConfig
from distill_jax.run import student_source
from distill_jax.text.tokenizer import train_tokenizer

torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)


def changed(directory, changes):
    """config.json with other values; None takes a key out."""
    path = directory / "config.json"
    content = json.loads(path.read_text()) | changes
    for key, value in changes.items():
        if value is None:
            del content[key]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "dtype", "shards", "headless"),
    [
        ("smollm2", "bfloat16", None, False),
        ("smollm2", "float32", None, True),
        ("llama3", "float16", "5KB", False),
        ("mistral", "float32", None, False),
        ("qwen2", "bfloat16", "5KB", False),
        ("qwen3", "float32", None, False),
    ],
)
def test_in_and_out_again_changes_no_byte(tmp_path, name, dtype, shards, headless):
    model = made_by_transformers(name).to(getattr(torch, dtype))
    size = {"max_shard_size": shards} if shards else {}
    (model.model if headless else model).save_pretrained(tmp_path / "in", **size)
    source = hugging_face.find(str(tmp_path / "in"), KEY)
    assert source.dtype == dtype and source.model.vocab_size == VOCABULARY
    params = hugging_face.load_params(source, 128)
    padded = dataclasses.replace(source.model, vocab_size=128)
    wanted = jax.eval_shape(lambda: network.init_params(padded, jax.random.key(0)))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, wanted)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "model.safetensors"
    hugging_face_export.save_params(out, params, source.model, dtype)
    before, after = tensors(tmp_path / "in"), tensors(tmp_path / "out")
    if headless:
        before = {f"model.{key}": value for key, value in before.items()}
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype == DTYPES[dtype]
        assert value.shape == after[key].shape and value.tobytes() == after[key].tobytes(), key


@pytest.mark.parametrize("name", ["llama3", "mistral", "qwen2", "qwen3"])
def test_transformers_loads_an_export_as_it_is(tmp_path, name):
    made_by_transformers(name).save_pretrained(tmp_path / "in")
    source = hugging_face.find(str(tmp_path / "in"), KEY)
    tokenizer = train_tokenizer(["1 2 3 a b c"], 300)
    tokenizer.save(tmp_path / "tokenizer")
    config = dataclasses.replace(source.model, vocab_size=tokenizer.padded_size)
    params = hugging_face.load_params(source, config.vocab_size)
    directory = hugging_face_export.export_student(
        tmp_path / "out",
        hugging_face_export.Exported("solver", params, config, tmp_path / "tokenizer"),
        "float32",
        "card",
    )
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, output_loading_info=True
    )
    assert not any(info.values()), info
    tokens = np.random.default_rng(0).integers(0, tokenizer.size, (2, 40))
    with torch.no_grad():
        theirs = model(torch.tensor(tokens)).logits.numpy()
    ours = network_logits(config, params, tokens)[..., : tokenizer.size]
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    again = hugging_face.find(str(directory), KEY)
    assert again.model == dataclasses.replace(source.model, vocab_size=tokenizer.size)
    # Also with the keys that older versions know only.
    changed(directory, {"rope_parameters": None})
    assert hugging_face.find(str(directory), KEY) == again


def test_the_older_keys_of_rope(tmp_path):
    made_by_transformers("llama3").save_pretrained(tmp_path)
    new = hugging_face.find(str(tmp_path), KEY).model
    assert isinstance(new, LlamaConfig)
    assert new.rope_theta == 500.0 and new.rope_scaling == rope.Llama3Scaling(4.0, 1.0, 4.0, 32)
    assert families.from_json(json.loads(json.dumps(network.to_json(new)))) == new
    old = {key: value for key, value in LLAMA3.items() if key not in ("rope_theta", "rope_type")}
    changed(
        tmp_path,
        {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "llama3", **old}},
    )
    assert hugging_face.find(str(tmp_path), KEY).model == new
    changed(tmp_path, {"rope_theta": None, "rope_scaling": None})
    plain = hugging_face.find(str(tmp_path), KEY).model
    assert plain == dataclasses.replace(new, rope_theta=10_000.0, rope_scaling=None)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("smollm2", {"model_type": "gemma2"}),
        ("smollm2", {"model_type": "mixtral"}),
        ("smollm2", {"hidden_act": "gelu"}),
        ("smollm2", {"attention_bias": True}),
        ("smollm2", {"mlp_bias": True}),
        ("smollm2", {"num_key_value_heads": 3}),
        ("smollm2", {"head_dim": 7}),
        ("smollm2", {"hidden_size": "32"}),
        ("smollm2", {"rms_norm_eps": 0}),
        ("smollm2", {"quantization_config": {"quant_method": "gptq"}}),
        ("smollm2", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}),
        ("smollm2", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}),
        ("mistral", {"sliding_window": 4096}),
        ("qwen2", {"use_sliding_window": True}),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}),
    ],
)
def test_what_is_not_computed_is_refused(tmp_path, name, changes):
    made_by_transformers(name).save_pretrained(tmp_path)
    changed(tmp_path, changes)
    text = message(tmp_path)
    ((key, value),) = changes.items()
    assert key in text and (repr(value) in text or isinstance(value, list))
    assert "above 0" in text or "SmolLM2" in text  # what is supported


def test_a_head_of_its_own_must_be_there_and_a_tied_one_must_be_the_embedding(tmp_path):
    made_by_transformers("mistral").save_pretrained(tmp_path / "untied")
    changed(tmp_path / "untied", {"tie_word_embeddings": True})
    source = hugging_face.find(str(tmp_path / "untied"), KEY)
    with pytest.raises(UserError, match=r"lm_head\.weight differs from the embedding"):
        hugging_face.load_params(source, 128)
    made_by_transformers("smollm2").save_pretrained(tmp_path / "tied")
    changed(tmp_path / "tied", {"tie_word_embeddings": False})
    assert "lm_head.weight is missing" in message(tmp_path / "tied")


def test_a_student_starts_from_such_weights_with_spare_rows(tmp_path):
    tokenizer = train_tokenizer([" ".join(map(str, range(300)))], 300)
    rows = tokenizer.size + 1 + 128  # more than the tokenizer has ids, as Qwen's
    model = made_by_transformers("qwen2", vocab_size=rows)
    model.save_pretrained(tmp_path)
    section = get_config().model.solver
    section.update({"init_from": str(tmp_path)})
    with pytest.raises(UserError, match=r"set config.tokenizer.name to the one of these weights"):
        student_source.model_config(section, "solver", tokenizer)
    rows = tokenizer.size + 1
    made_by_transformers("qwen2", vocab_size=rows).save_pretrained(tmp_path)
    config = student_source.model_config(section, "solver", tokenizer)
    assert config.vocab_size % 128 == 0 and config.vocab_size >= rows
    params, dtype = student_source.given_params(str(tmp_path), "the key", config)
    assert params["embed_tokens"]["embedding"].shape == (config.vocab_size, 32)
    assert dtype == "float32" and config.model_type == "qwen2"


@pytest.mark.slow
def test_a_run_from_such_weights_is_trained_evaluated_and_exported(tmp_path):
    tokenizer = train_tokenizer([" ".join(map(str, range(300))) + " has cups. How many?"], 300)
    tokenizer.save(tmp_path / "qwen2")
    size = {"vocab_size": tokenizer.size, "max_position_embeddings": 512}
    made_by_transformers("qwen2", **size).save_pretrained(tmp_path / "qwen2")
    done = run(
        "main", *TINY, "--config.train.steps=3", "--workdir", tmp_path / "w",
        "--config.model.decomposer.context=512",
        f"--config.model.solver.init_from={tmp_path / 'qwen2'}",
        f"--config.tokenizer.name={tmp_path / 'qwen2'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "w" / "training_data.json").read_text())
    families_of = {student: facts[student]["model"]["model_type"] for student in facts}
    assert families_of == {"decomposer": "gpt2", "solver": "qwen2"}
    done = run("export", "--workdir", tmp_path / "w", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out" / "solver", output_loading_info=True
    )
    assert not any(info.values()) and model.config.architectures == ["Qwen2ForCausalLM"]


def test_the_context_of_published_models_does_not_decide_the_size_of_caches():
    size = LlamaConfig(
        128, 131_072, 1, 2, 8, key_value_heads=1, head_dim=4, hidden=8, rope_theta=1e4,
        norm_epsilon=1e-5, tied=True,
    )  # fmt: skip
    assert size.context == 4096
    assert size.hugging_face_config()["max_position_embeddings"] == 131_072
