"""GGUF files in: quantisations by slow loops, permuted rows, sizes, damage, transformers."""

import pathlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
import tiny_gguf  # noqa: E402

from distill_jax.errors import UserError  # noqa: E402
from distill_jax.gguf_file import GGUFFile  # noqa: E402
from distill_jax.model import gguf_import  # noqa: E402

Kind = gguf.GGMLQuantizationType
DOWN = "blk.1.ffn_down.weight"
DOWN_HERE = "model.layers.1.mlp.down_proj.weight"


def read(path):
    """(config, {name: array}) of a file."""
    file = GGUFFile(path)
    config = gguf_import.read_config(file)
    return config, dict(gguf_import.read_weights(file, config))


def half(block, at):
    return float(np.frombuffer(bytes(block[at : at + 2]), np.float16)[0])


def signed(byte):
    return byte - 256 if byte > 127 else byte


def slow_bf16(block):
    bits = int(block[0]) | int(block[1]) << 8
    sign, exponent, fraction = bits >> 15, bits >> 7 & 255, bits & 127
    return [(-1) ** sign * 2.0 ** (exponent - 127) * (1 + fraction / 128)]


def slow_q8_0(block):
    return [half(block, 0) * signed(byte) for byte in block[2:]]


def slow_q4_0(block):
    low, high = [byte & 15 for byte in block[2:]], [byte >> 4 for byte in block[2:]]
    return [half(block, 0) * (nibble - 8) for nibble in low + high]


def slow_q4_1(block):
    low, high = [byte & 15 for byte in block[4:]], [byte >> 4 for byte in block[4:]]
    return [half(block, 0) * nibble + half(block, 2) for nibble in low + high]


def slow_q4_k(block):
    """8 groups of 32; scales and minima of 6 bits in 12 bytes (get_scale_min_k4 of ggml)."""
    scales, nibbles = block[4:16], block[16:]
    values = []
    for group in range(8):
        if group < 4:
            scale, least = scales[group] & 63, scales[group + 4] & 63
        else:
            scale = scales[group + 4] & 15 | scales[group - 4] >> 6 << 4
            least = scales[group + 4] >> 4 | scales[group] >> 6 << 4
        for byte in nibbles[group // 2 * 32 :][:32]:
            nibble = byte >> 4 if group % 2 else byte & 15
            values.append(half(block, 0) * scale * nibble - half(block, 2) * least)
    return values


def slow_q6_k(block):
    """16 groups of 16; 4 low bits in `low`, 2 high bits in `high`, a signed scale per group."""
    low, high, scales = block[:128], block[128:192], block[192:208]
    values = []
    for number in range(256):
        part, place = divmod(number, 128)
        quarter, column = divmod(place, 32)
        byte = low[part * 64 + quarter % 2 * 32 + column]
        bits = byte >> 4 if quarter >= 2 else byte & 15
        bits |= (high[part * 32 + column] >> 2 * quarter & 3) << 4
        values.append(half(block, 208) * signed(scales[number // 16]) * (bits - 32))
    return values


SLOW = {
    "BF16": (2, slow_bf16),
    "Q8_0": (34, slow_q8_0),
    "Q4_0": (18, slow_q4_0),
    "Q4_1": (20, slow_q4_1),
    "Q4_K": (144, slow_q4_k),
    "Q6_K": (210, slow_q6_k),
}


def blocks_of(kind):
    """Bytes [WIDTH, bytes of a row] of a matrix of `kind`, the package's own if it quantises."""
    array = tiny_gguf.weights()[DOWN]
    if kind not in ("Q4_K", "Q6_K"):
        return gguf.quantize(array, Kind[kind])
    size = SLOW[kind][0]
    data = np.random.default_rng(1).integers(0, 256, (tiny_gguf.WIDTH, size), np.uint8)
    places = (0, 2) if kind == "Q4_K" else (208,)
    for row, scale in zip(data, np.linspace(0.01, 0.1, len(data)), strict=True):
        for place in places:
            row[place : place + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return data


@pytest.mark.parametrize("kind", gguf_import.QUANTISATIONS)
def test_every_quantisation(tmp_path, kind):
    data = blocks_of(kind)
    path = tiny_gguf.write(tmp_path / "m.gguf", blocks={DOWN: (data, Kind[kind])})
    array = read(path)[1][DOWN_HERE]
    assert array.dtype == np.float32 and array.shape == (tiny_gguf.WIDTH, tiny_gguf.HIDDEN)
    if kind in SLOW:
        size, slow = SLOW[kind]
        blocks = np.frombuffer(data.tobytes(), np.uint8).reshape(-1, size).tolist()
        expected = np.array([value for block in blocks for value in slow(block)], np.float32)
    else:
        expected = data.astype(np.float32).reshape(-1)
    np.testing.assert_allclose(array.reshape(-1), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("architecture", gguf_import.ARCHITECTURES)
def test_rows_of_q_and_k_are_put_back_for_llama_only(tmp_path, architecture):
    stored = tiny_gguf.weights(architecture)
    if architecture == "llama":
        stored |= {"blk.0.attn_q.bias": np.arange(32, dtype=np.float32)}
        stored |= {
            f"blk.{layer}.attn_{name}.bias": np.zeros(size, np.float32)
            for layer in range(2)
            for name, size in (("q", 32), ("k", 16), ("v", 16), ("output", 32))
            if (layer, name) != (0, "q")
        }
    path = tiny_gguf.write(tmp_path / "m.gguf", architecture, tensors=stored)
    config, weights = read(path)
    for name, heads in (("q", tiny_gguf.HEADS), ("k", tiny_gguf.KEY_HEADS)):
        theirs = stored[f"blk.0.attn_{name}.weight"]
        expected = theirs.copy()
        if architecture == "llama":
            for head in range(heads):
                start = head * tiny_gguf.DIM
                for pair in range(tiny_gguf.DIM // 2):
                    expected[start + pair] = theirs[start + 2 * pair]
                    expected[start + tiny_gguf.DIM // 2 + pair] = theirs[start + 2 * pair + 1]
        ours = weights[f"model.layers.0.self_attn.{name}_proj.weight"]
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(
        weights["model.layers.0.self_attn.v_proj.weight"], stored["blk.0.attn_v.weight"]
    )
    if architecture == "llama":
        assert config["attention_bias"]
        bias = weights["model.layers.0.self_attn.q_proj.bias"]
        assert bias[:8].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_sizes_and_keys(tmp_path):
    config, weights = read(tiny_gguf.write(tmp_path / "m.gguf"))
    assert config == {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": 400, "hidden_size": 32, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu",
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e4}, "rope_theta": 5e4,
        "rope_scaling": None, "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
    }  # fmt: skip
    assert {name: array.shape for name, array in weights.items()} == gguf_import.tensor_shapes(
        config
    )


@pytest.mark.parametrize("architecture", gguf_import.ARCHITECTURES)
@pytest.mark.parametrize("tied", [True, False])
def test_config_and_shapes_are_those_of_transformers(tmp_path, architecture, tied):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch", reason="no PyTorch")
    stored = tiny_gguf.weights(architecture)
    if not tied:
        stored["output.weight"] = stored["token_embd.weight"] + 1
    file = GGUFFile(tiny_gguf.write(tmp_path / "m.gguf", architecture, tensors=stored))
    config = gguf_import.read_config(file)
    theirs = transformers.AutoConfig.for_model(**config)
    assert theirs.head_dim == tiny_gguf.DIM and theirs.tie_word_embeddings == tied
    assert theirs.rope_parameters["rope_theta"] == 5e4
    assert type(theirs).__name__.lower().startswith(architecture)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(theirs)
    assert type(model).__name__ == config["architectures"][0]
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert gguf_import.tensor_shapes(config) == shapes


def test_rotary_factors_of_llama_3(tmp_path):
    torch = pytest.importorskip("torch", reason="no PyTorch")
    transformers = pytest.importorskip("transformers")
    rope = {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 5e5,
    }  # fmt: skip
    theirs = transformers.LlamaConfig(
        hidden_size=32, num_attention_heads=4, head_dim=8, rope_parameters=rope,
        max_position_embeddings=131072,
    )  # fmt: skip
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    stretched = ROPE_INIT_FUNCTIONS["llama3"](theirs, "cpu")[0]
    plain = 1 / 5e5 ** (torch.arange(0, 8, 2) / 8)
    factors = (plain / stretched).numpy()
    assert factors.min() == 1 and 1 < factors[2] < 32 and factors.max() == 32
    stored = tiny_gguf.weights() | {"rope_freqs.weight": factors}
    values = tiny_gguf.metadata() | {"llama.rope.freq_base": 5e5}
    config, weights = read(tiny_gguf.write(tmp_path / "m.gguf", values=values, tensors=stored))
    assert config["rope_parameters"] == rope
    assert config["rope_scaling"] == {k: v for k, v in rope.items() if k != "rope_theta"}
    assert weights.keys() == gguf_import.tensor_shapes(config).keys()
    stored["rope_freqs.weight"] = factors**0.5
    path = tiny_gguf.write(tmp_path / "other.gguf", values=values, tensors=stored)
    with pytest.raises(UserError, match="rotary factors are not those of Llama"):
        gguf_import.read_config(GGUFFile(path))


CHANGED = {
    "adapter": ({"general.type": "adapter"}, "is not a whole model, but of the type adapter"),
    "experts": ({"llama.expert_count": 8}, "a mixture of experts is not supported"),
    "window": ({"llama.attention.sliding_window": 4096}, "sliding-window attention is not"),
    "yarn": ({"llama.rope.scaling.type": "yarn"}, "rotary scaling of the type yarn is not"),
    "linear": ({"llama.rope.scaling.factor": 4.0}, "rotary scaling of the type linear is not"),
    "parts": ({"split.count": 3}, "one of 3 parts: join them"),
    "missing": ({"llama.block_count": None}, "has no llama.block_count"),
    "type": ({"llama.block_count": "two"}, "llama.block_count should be of type int"),
    "zero": ({"llama.embedding_length": 0}, "embedding_length is 0, not a positive number"),
    "more": ({"llama.block_count": 3}, "lacks the tensor model.layers.2.input_layernorm.weight"),
    "endless": ({"llama.block_count": 2**31}, "2147483648 layers, but only 20 tensors"),
    "fewer": ({"llama.block_count": 1}, "has a tensor that such a model does not have"),
    "heads": ({"llama.attention.head_count": 5}, "32 rows of q do not make 5 heads"),
    "wider": ({"llama.feed_forward_length": 512}, r"\[256, 32\], but its metadata make it \[512"),
    "partial": ({"llama.rope.dimension_count": 4}, "dimension_count is not 8, the size of a head"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_not_supported_is_refused(tmp_path, name):
    values, message = CHANGED[name]
    path = tiny_gguf.write(tmp_path / "m.gguf", values=tiny_gguf.metadata() | values)
    with pytest.raises(UserError, match=message):
        gguf_import.read_config(GGUFFile(path))


def test_other_architectures_and_quantisations_are_refused(tmp_path):
    path = tiny_gguf.write(tmp_path / "gemma.gguf", "gemma2")
    with pytest.raises(
        UserError, match=r"gemma2 is not supported: choose .* llama, qwen2 or qwen3"
    ):
        gguf_import.read_config(GGUFFile(path))
    data = gguf.quantize(tiny_gguf.weights()[DOWN], Kind.Q5_0)
    path = tiny_gguf.write(tmp_path / "q5.gguf", blocks={DOWN: (data, Kind.Q5_0)})
    with pytest.raises(UserError, match="the quantisation Q5_0 is not supported: choose a file"):
        gguf_import.read_config(GGUFFile(path))


def test_files_that_are_not_gguf(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        GGUFFile(tmp_path / "none.gguf")
    with pytest.raises(UserError, match="Is a directory"):
        GGUFFile(tmp_path)
    for content in (b"", b"GGU", b"PK\x03\x04" + bytes(100)):
        (tmp_path / "other.gguf").write_bytes(content)
        with pytest.raises(UserError, match="is not a GGUF file"):
            GGUFFile(tmp_path / "other.gguf")
    with pytest.raises(UserError, match="is truncated or damaged"):
        (tmp_path / "other.gguf").write_bytes(b"GGUF")
        GGUFFile(tmp_path / "other.gguf")


@pytest.mark.parametrize("length", [2**20, 2**40, 2**62])
def test_a_length_that_leads_out_of_the_file_costs_nothing(tmp_path, length):
    """gguf's reader would go on for so many items, and hold each."""
    content = bytearray(tiny_gguf.write(tmp_path / "m.gguf").read_bytes())
    key = content.index(b"tokenizer.ggml.tokens") + len("tokenizer.ggml.tokens")
    content[key + 8 : key + 16] = length.to_bytes(8, "little")  # after the types of list and item
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(UserError, match="is truncated or damaged"):
        GGUFFile(tmp_path / "m.gguf")


def test_weights_that_are_not_finite(tmp_path):
    stored = tiny_gguf.weights()
    stored[DOWN][3, 4] = np.nan
    file = GGUFFile(tiny_gguf.write(tmp_path / "m.gguf", tensors=stored))
    config = gguf_import.read_config(file)
    with pytest.raises(UserError, match=rf"tensor {DOWN} holds values that are not finite"):
        list(gguf_import.read_weights(file, config))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(directory, bytes of a file with short metadata, where its weights start)."""
    path = tmp_path_factory.mktemp("damage")
    short = {
        key: value[:4] if isinstance(value, list) else value
        for key, value in tiny_gguf.metadata().items()
    }
    written = tiny_gguf.write(path / "m.gguf", values=short)
    return path, written.read_bytes(), gguf.GGUFReader(written).data_offset


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_ends_in_one_line(small, data):
    directory, content, start = small
    path = pathlib.Path(directory / "damaged.gguf")
    if data.draw(st.booleans()):
        changed = content[: data.draw(st.integers(0, len(content) - 1))]
        # The last tensor ends up to 31 bytes before the file does.
        harmless = len(changed) >= len(content) - 31
    else:
        place = data.draw(st.integers(0, start - 1))
        changed = bytearray(content)
        changed[place] ^= data.draw(st.integers(1, 255))
        harmless = True
    path.unlink(missing_ok=True)  # an older memory map keeps its own file
    path.write_bytes(changed)
    try:
        read(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert harmless


def test_weights_are_those_of_transformers(tmp_path):
    """transformers dequantises and permutes by code of its own."""
    pytest.importorskip("torch", reason="no PyTorch")
    pytest.importorskip("accelerate", reason="no accelerate: the extra [peers] has it")
    import transformers

    stored = tiny_gguf.weights()
    kinds = [Kind.F16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.F32]
    matrices = [name for name in stored if stored[name].ndim == 2]
    blocks = {
        name: (gguf.quantize(stored[name], kinds[i % 5]), kinds[i % 5])
        for i, name in enumerate(matrices)
    }
    path = tiny_gguf.write(tmp_path / "m.gguf", blocks=blocks)
    config, weights = read(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf")
    theirs = {name: value.detach().numpy() for name, value in model.named_parameters()}
    assert theirs.keys() == weights.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    for key in ("vocab_size", "hidden_size", "num_key_value_heads", "rms_norm_eps", "head_dim"):
        assert getattr(model.config, key) == pytest.approx(config[key])
    assert model.config.rope_parameters == config["rope_parameters"]
