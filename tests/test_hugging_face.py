"""Weights in Hugging Face format; the other side is transformers itself, with PyTorch."""

import json
import pathlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from distill_jax.errors import UserError
from distill_jax.export import hugging_face_export
from distill_jax.model import gpt2, hugging_face, network

torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)

KEY = "config.model.solver.init_from"
SIZE = {"vocab_size": 70, "n_positions": 24, "n_embd": 12, "n_layer": 2, "n_head": 3}
SIZES = {"context": 24, "layers": 2, "heads": 3, "width": 12}  # the same in our words
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def made_by_transformers(directory, dtype="float32", *, headless=False, shards=None, **changes):
    """A random GPT-2 saved by transformers; every parameter random, biases and LayerNorms too."""
    torch.manual_seed(0)
    kind = transformers.GPT2Model if headless else transformers.GPT2LMHeadModel
    config = transformers.GPT2Config(**{**SIZE, "bos_token_id": 0, "eos_token_id": 0, **changes})
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.1)
    size = {"max_shard_size": shards} if shards else {}
    model.to(getattr(torch, dtype)).save_pretrained(directory, **size)
    return model


def tensors(directory):
    """{name: array} of all safetensors files of a directory."""
    found = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        found |= load_file(path)
    return found


def message(name):
    """The one line in which `find` refuses a directory."""
    with pytest.raises(UserError) as caught:
        hugging_face.find(str(name), KEY)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{KEY}=")
    return str(caught.value)


def network_logits(config, params, tokens):
    """float32 [B, T, V] of our network for int ids [B, T]."""
    tokens = jnp.asarray(tokens)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hidden, _ = config.module().apply({"params": params}, tokens, positions, segments=None)
    return network.logits(config, params, hidden)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shards", [None, "5KB"])
@pytest.mark.parametrize("headless", [False, True])
def test_in_and_out_again_changes_no_byte(tmp_path, dtype, shards, headless):
    made_by_transformers(tmp_path / "in", dtype, headless=headless, shards=shards)
    assert len(list((tmp_path / "in").glob("*.safetensors"))) == 1 or shards
    source = hugging_face.find(str(tmp_path / "in"), KEY)
    model = gpt2.GPT2Config(vocab_size=70, **SIZES)
    assert source == hugging_face.Source(tmp_path / "in", model, dtype)
    params = hugging_face.load_params(source, 128)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "model.safetensors"
    hugging_face_export.save_params(out, params, model, dtype)
    before, after = tensors(tmp_path / "in"), tensors(tmp_path / "out")
    if headless:
        before = {f"transformer.{name}": value for name, value in before.items()}
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype == DTYPES[dtype]
        assert value.shape == after[name].shape and value.tobytes() == after[name].tobytes(), name
    with safe_open(out, "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_tree_is_that_of_init_params_and_fresh_rows_are_the_mean(tmp_path):
    made_by_transformers(tmp_path)
    params = hugging_face.load_params(hugging_face.find(str(tmp_path), KEY), 128)
    config = gpt2.GPT2Config(vocab_size=128, **SIZES)
    wanted = jax.eval_shape(lambda: network.init_params(config, jax.random.key(0)))
    assert jax.tree.structure(params) == jax.tree.structure(wanted)
    jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)),
                 params, wanted)  # fmt: skip
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))
    rows = params["wte"]["embedding"]
    np.testing.assert_allclose(rows[70:], np.tile(rows[:70].mean(0), (58, 1)), atol=1e-7)


def test_logits_are_those_of_transformers(tmp_path):
    model = made_by_transformers(tmp_path)
    params = hugging_face.load_params(hugging_face.find(str(tmp_path), KEY), 128)
    tokens = np.random.default_rng(0).integers(0, 70, (3, 24))
    ours = network_logits(gpt2.GPT2Config(vocab_size=128, **SIZES), params, tokens)
    with torch.no_grad():
        theirs = model(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(ours[..., :70], theirs, atol=1e-4)
    # A fresh token has the mean of the logits.
    np.testing.assert_allclose(ours[..., 70], theirs.mean(-1), atol=1e-4)


def test_masks_and_a_tied_head_are_ignored_and_another_head_is_refused(tmp_path):
    made_by_transformers(tmp_path)
    path = tmp_path / "model.safetensors"
    plain = hugging_face.load_params(hugging_face.find(str(tmp_path), KEY), 128)
    stored = load_file(path)
    stored["transformer.h.0.attn.bias"] = np.tril(np.ones((1, 1, 24, 24), bool))
    stored["transformer.h.1.attn.masked_bias"] = np.full((), -1e4, np.float32)
    stored["lm_head.weight"] = stored["transformer.wte.weight"]
    save_file(stored, path)
    again = hugging_face.load_params(hugging_face.find(str(tmp_path), KEY), 128)
    jax.tree.map(np.testing.assert_array_equal, plain, again)
    save_file({**stored, "lm_head.weight": stored["lm_head.weight"] + 1}, path)
    with pytest.raises(UserError, match=r"model.safetensors: lm_head.weight differs"):
        hugging_face.load_params(hugging_face.find(str(tmp_path), KEY), 128)


def test_missing_directories_and_hub_ids(tmp_path, monkeypatch):
    import huggingface_hub

    for name in ("./nowhere", "~/nowhere-at-all", str(tmp_path / "nowhere")):
        assert message(name) == f"{KEY}={name}: no such directory"
    assert "Hub" in message("a/b/c")  # no id at all: nothing is asked
    calls = []

    def download(name, allow_patterns):
        calls.append((name, allow_patterns))
        if name == "some/model":
            return str(tmp_path / "cached")
        raise huggingface_hub.errors.LocalEntryNotFoundError("Cannot find it\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    text = message("openai-community/gpt2")
    assert text.startswith(f"{KEY}=openai-community/gpt2: ") and "(Cannot find it)" in text
    made_by_transformers(tmp_path / "cached")
    assert hugging_face.find("some/model", KEY).directory == tmp_path / "cached"
    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
    assert calls[-1] == ("some/model", wanted)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "gpt_neo"},
        {"activation_function": "relu"},
        {"layer_norm_epsilon": 1e-6},
        {"n_inner": 24},
        {"tie_word_embeddings": False},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"add_cross_attention": True},
        {"n_layer": 0},
        {"n_head": "3"},
        {"n_head": 5},
    ],
)
def test_configs_that_are_no_plain_gpt2_are_refused(tmp_path, changes):
    made_by_transformers(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    text = message(tmp_path)
    ((key, value),) = changes.items()
    assert text.startswith(f"{KEY}={tmp_path}: {path} has ")
    assert key in text and repr(value) in text


def test_what_does_not_change_the_function_is_accepted(tmp_path):
    made_by_transformers(tmp_path, reorder_and_upcast_attn=True, n_inner=48)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["activation_function"], content["tie_word_embeddings"]  # as in old files
    path.write_text(json.dumps(content))
    assert hugging_face.find(str(tmp_path), KEY).model.layers == 2


@pytest.mark.parametrize("content", [None, "{", "[1]", b"\xff\xfe"])
def test_a_missing_or_broken_config_is_named(tmp_path, content):
    made_by_transformers(tmp_path)
    path = tmp_path / "config.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert str(path) in message(tmp_path)


def test_pickle_files_are_refused_with_the_way_out(tmp_path):
    model = made_by_transformers(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    text = message(tmp_path)
    assert "can run code when loaded" in text
    assert "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT)" in text


def test_broken_shards_are_named(tmp_path):
    made_by_transformers(tmp_path, shards="5KB")
    index = tmp_path / "model.safetensors.index.json"
    shard = sorted(tmp_path.glob("model-*.safetensors"))[-1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-8])
    assert str(shard) in message(tmp_path) and "cut short" in message(tmp_path)
    shard.write_bytes(whole[:4])
    assert "cut short" in message(tmp_path)
    shard.unlink()
    assert shard.name in message(tmp_path) and "not there" in message(tmp_path)
    good = index.read_text()
    for bad in ("{}", '{"weight_map": {}}', good.replace(shard.name, "../other.safetensors")):
        index.write_text(bad)
        assert str(index) in message(tmp_path)


def test_tensors_that_are_missing_unexpected_or_of_another_shape_are_named(tmp_path):
    made_by_transformers(tmp_path)
    path = tmp_path / "model.safetensors"
    good = load_file(path)
    name = "transformer.h.1.mlp.c_fc.weight"

    def refused(change):
        save_file({key: value for key, value in (good | change).items() if value is not None}, path)
        text = message(tmp_path)
        assert str(path) in text
        return text

    assert "h.1.mlp.c_fc.weight is missing" in refused({name: None})
    assert "(48, 12), not (12, 48)" in refused({name: np.zeros((48, 12), np.float32)})
    assert "unexpected tensor transformer.h.2.ln_1.bias" in refused(
        {"transformer.h.2.ln_1.bias": np.zeros(12, np.float32)}
    )
    assert f"{name} is F64" in refused({name: np.zeros((12, 48))})
    assert "is there twice" in refused({"ln_f.bias": np.zeros(12, np.float32)})
    assert "wte.weight" in refused({"transformer.wte.weight": np.zeros((71, 12), np.float32)})


def test_more_rows_than_the_tokenizer_has_ids_are_refused(tmp_path):
    made_by_transformers(tmp_path, vocab_size=200)
    source = hugging_face.find(str(tmp_path), KEY)
    with pytest.raises(UserError, match=r"config\.tokenizer\.name"):
        hugging_face.load_params(source, 128)
