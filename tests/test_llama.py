"""The Llama family against transformers (torch, float32), on meshes, in the sampler."""

import dataclasses
import functools
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers
from dialogue_rules import BOTH, LLAMA, SMALL, make_rules, ragged_requests
from test_decode import answer, check
from tiny_student import make_mesh, run_steps

from distill_jax.dialogues.sampler import cast_params
from distill_jax.errors import UserError
from distill_jax.model import cache_attention, families, hugging_face, network, presets, rope
from distill_jax.model.llama import LlamaConfig, RMSNorm
from distill_jax.run.student_setup import check_mesh
from distill_jax.sampling import pick
from distill_jax.sampling.turn_rules import ViewRules
from distill_jax.text.rows import Row
from distill_jax.training import batches, objective, step

torch = pytest.importorskip("torch", reason="pip install torch==2.13.0 (to compare with)")

VOCABULARY, PADDED = 120, 128
SIZE = {
    "vocab_size": VOCABULARY, "max_position_embeddings": 96, "num_hidden_layers": 2,
    "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip


def rotary(theta):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


FAMILIES = {
    "smollm2": (transformers.LlamaConfig, {"tie_word_embeddings": True, **rotary(100.0)}),
    "llama3": (transformers.LlamaConfig, {"rms_norm_eps": 1e-5, "rope_parameters": LLAMA3}),
    "mistral": (transformers.MistralConfig, {"sliding_window": None, **rotary(1e4)}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True, **rotary(1e6)}),
    # Longer than one block of queries in model/attention.py; heads x head_dim is not the width.
    "qwen3": (
        transformers.Qwen3Config,
        {"head_dim": 16, "max_position_embeddings": 300, **rotary(1e3)},
    ),
}


def made_by_transformers(name, **changes):
    """A random model of a family; every parameter random, biases and norms too."""
    kind, own = FAMILIES[name]
    torch.manual_seed(0)
    config = kind(**{**SIZE, "bos_token_id": 0, "eos_token_id": 0, **own, **changes})
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@functools.cache
def pair(name):
    """(transformers' model, our config, our parameters) of the same random weights."""
    theirs = made_by_transformers(name)
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        source = hugging_face.find(directory, "key")
        params = hugging_face.load_params(source, PADDED)
    return theirs, network_of(source), params


def network_of(source):
    return families.from_json(network.to_json(source.model) | {"vocab_size": PADDED})


@functools.cache
def jitted(config):
    @jax.jit
    def run(params, tokens, positions, segments):
        hidden, _ = config.module().apply({"params": params}, tokens, positions, segments)
        return network.logits(config, params, hidden)[..., :VOCABULARY]

    return run


def their_logits(name, tokens, mask=None, positions=None):
    arguments = {"input_ids": torch.tensor(tokens)}
    if mask is not None:
        arguments |= {"attention_mask": torch.tensor(mask), "position_ids": torch.tensor(positions)}
    with torch.no_grad():
        return pair(name)[0](**arguments).logits.numpy()


def random_tokens(rows, length):
    return np.random.default_rng(1).integers(0, VOCABULARY, (rows, length)).astype(np.int32)


def test_worked_numbers():
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    norm = RMSNorm(1e-5, jnp.float32).apply({"params": {"scale": jnp.ones(4)}}, x)
    np.testing.assert_allclose(norm, [0.365148, 0.730296, 1.095444, 1.460593], atol=1e-6)

    def turned(vector, position):
        at = rope.angles(jnp.array([[position]]), rope.inverse_frequencies(4, 1e4))
        return np.asarray(rope.rotate(vector[None, None, None], at))[0, 0, 0]

    expected = {
        1: [-1.984111, 1.959901, 2.462378, 4.019800],
        3: [-1.413353, 1.879118, -2.828857, 4.058191],
    }
    for position, numbers in expected.items():
        np.testing.assert_allclose(turned(x, position), numbers, atol=1e-5)
    for first, second in ((5, 2), (13, 10)):  # only the distance counts
        assert turned(x, first) @ turned(x[::-1], second) == pytest.approx(-1.615580, abs=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_with_padding_on_either_side(name):
    length = min(pair(name)[1].context, 200)
    tokens = random_tokens(4, length)
    real = np.ones((4, length), np.int64)
    real[1, length - 3 :] = real[2, length // 2 :] = 0
    real[3, :5] = 0
    positions = np.maximum(real.cumsum(1) - 1, 0)
    expected = their_logits(name, tokens, real, positions)
    _, config, params = pair(name)
    got = jitted(config)(params, tokens, positions.astype(np.int32), real.astype(np.int32))
    assert np.abs((got - expected)[real == 1]).max() <= 2e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_rows_do_not_see_each_other(name):
    tokens, expected = random_tokens(1, 24), []
    segments, positions = np.zeros((1, 24), np.int32), np.zeros((1, 24), np.int32)
    for number, (start, length) in enumerate(((0, 7), (7, 11), (18, 6)), start=1):
        segments[0, start : start + length] = number
        positions[0, start : start + length] = np.arange(length)
        expected.append(their_logits(name, tokens[:, start : start + length])[0])
    _, config, params = pair(name)
    got = jitted(config)(params, tokens, positions, segments)[0]
    assert np.abs(got - np.concatenate(expected)).max() <= 2e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_decoding_with_a_cache_of_key_value_heads_only(name):
    _, config, params = pair(name)
    tokens = random_tokens(3, 20)
    expected = their_logits(name, tokens)
    start = 8
    positions = np.broadcast_to(np.arange(start), (3, start))
    _, filled = config.module(keep_cache=True).apply(
        {"params": params}, tokens[:, :start], positions
    )
    cache = jax.tree.map(
        lambda empty, full: empty.at[:, :, :start].set(full),
        network.empty_cache(config, 3, 24, jnp.float32),
        filled,
    )
    assert cache[0]["k"].shape == (3, 2, 24, config.head_dim)
    assert network.cache_bytes(config, 24, "float32") * 3 == sum(
        leaf.nbytes for leaf in jax.tree.leaves(cache)
    )

    @jax.jit
    def next_logits(token, position, cache):
        hidden, cache = config.module().apply(
            {"params": params}, token[:, None], position[:, None], cache=cache
        )
        return network.logits(config, params, hidden[:, 0])[:, :VOCABULARY], cache

    for place in range(start, 20):
        logits, cache = next_logits(tokens[:, place], jnp.full(3, place), cache)
        assert np.abs(logits - expected[:, place]).max() <= 2e-4


def training_rows():
    """Ragged rows of random tokens with random loss marks."""
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(5):
        length = int(rng.integers(8, 60))
        writers = rng.integers(-1, 1, length)
        writers[0], writers[-1] = -1, 0
        rows.append(Row(rng.integers(0, VOCABULARY, length).tolist(), writers.tolist()))
    return rows


def their_gradients(name, rows):
    """Of the loss summed over all loss tokens, row by row, in our tree's shapes."""
    theirs, config, _ = pair(name)
    theirs.zero_grad()
    total = 0.0
    for row in rows:
        logits = theirs(input_ids=torch.tensor([row.tokens[:-1]])).logits[0]
        wanted = [t if w >= 0 else -100 for t, w in zip(row.tokens, row.writers, strict=True)][1:]
        value = torch.nn.functional.cross_entropy(logits, torch.tensor(wanted), reduction="sum")
        value.backward()
        total += value.item()
    named = dict(theirs.named_parameters())
    file_size = families.from_json(network.to_json(config) | {"vocab_size": VOCABULARY})
    return total, {
        "/".join(tensor.path): tensor.from_file(
            named[key if key.startswith("lm_head") else f"model.{key}"].grad.numpy()
        )
        for key, tensor in file_size.hugging_face_layout().items()
    }


@pytest.mark.parametrize(
    ("name", "packed"), [*((name, False) for name in FAMILIES), ("llama3", True), ("qwen3", True)]
)
def test_loss_and_gradients(name, packed):
    rows = training_rows()
    expected_loss, expected = their_gradients(name, rows)
    _, config, params = pair(name)
    source = batches.StudentRows(rows, "s", config.context, 0.0)
    shape = batches.row_shape(source, 64 if packed else 0, packed)
    data = batches.Batches(source, shape, seed=0, batch_size=1)
    numbers = [data.row(number) for number in range(data.rows_per_epoch())]
    batch = {key: np.stack([row[key] for row in numbers]) for key in numbers[0]}
    allowed = jnp.arange(PADDED)[None] < VOCABULARY
    made = step.Trainer(
        config, None, step.Computation(loss_chunk=64), allowed, 0, objective.Likelihood()
    )

    def total_loss(params):
        return made.objective.sums(made, params, {}, batch, None)["likelihood"]

    with jax.set_mesh(make_mesh()):
        value, grads = jax.jit(jax.value_and_grad(total_loss))(params)
    assert float(value) == pytest.approx(expected_loss, rel=1e-5)
    got = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
    }
    assert got.keys() == expected.keys()
    for key, grad in got.items():
        if ("embed" in key and config.tied) or "lm_head" in key:
            assert np.abs(grad[VOCABULARY:]).max() == 0.0  # padding is never trained
        grad = grad[: expected[key].shape[0]]
        difference = np.linalg.norm(grad - expected[key])
        # The keys' bias moves all scores of a query alike: its gradient is zero but for rounding.
        size = np.linalg.norm(expected[key]) if "k_proj/bias" not in key else 1.0
        assert difference <= 1e-4 * size, key


MESH = LlamaConfig(
    128, 32, 2, 8, 64, key_value_heads=4, head_dim=8, hidden=96, rope_theta=1e4, norm_epsilon=1e-5,
    tied=False, qkv_bias=True, qk_norm=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def one_device():
    return {packed: run_steps(model=MESH, packed=packed)[0] for packed in (False, True)}


@pytest.mark.parametrize(
    ("shape", "packed"),
    [
        ((8, 1, 1), False),
        ((1, 8, 1), False),
        ((2, 2, 2), False),
        ((2, 2, 2), True),
        ((1, 1, 4), False),
    ],
)
def test_a_mesh_trains_as_one_device_does(shape, packed, one_device, capfd):
    values, state = run_steps(shape, packed=packed, model=MESH)
    np.testing.assert_allclose(values, one_device[packed], rtol=1e-5, atol=1e-5)
    assert values[-1, 0] < values[0, 0]
    assert "Involuntary full rematerialization" not in capfd.readouterr().err
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        if path[-1].key in ("kernel", "embedding"):
            assert leaf.addressable_shards[0].data.size * shape[1] * shape[2] == leaf.size


@pytest.mark.parametrize(
    "computation", [step.Computation(remat=True), step.Computation(accumulation=2)]
)
def test_remat_and_micro_batches_change_nothing(computation, one_device):
    values, _ = run_steps(computation=computation, model=MESH)
    np.testing.assert_allclose(values, one_device[False], rtol=1e-6, atol=1e-6)


def test_bfloat16_keeps_norms_and_gradients_in_float32(one_device):
    values, state = run_steps((2, 2, 1), step.Computation(dtype="bfloat16"), model=MESH)
    np.testing.assert_allclose(values[:, 0], one_device[False][:, 0], rtol=2e-3)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
    cast = cast_params(MESH, jax.device_get(state.params), "bfloat16")
    for path, leaf in jax.tree_util.tree_leaves_with_path(cast):
        assert leaf.dtype == ("float32" if path[-1].key == "scale" else "bfloat16")


def test_dropout_acts_at_every_site():
    plain, _ = run_steps(model=LLAMA, steps=1)
    for site in ("embedding", "attention", "residual"):
        dropping = families.from_json(network.to_json(LLAMA) | {f"{site}_dropout": 0.5})
        values, _ = run_steps(model=dropping, steps=1)
        assert abs(values[0, 0] - plain[0, 0]) > 1e-4


def test_what_does_not_divide_is_named():
    smollm2 = presets.preset_size("smollm2-135m", "key")
    check_mesh(make_mesh((1, 1, 1)), "s", smollm2, 8)
    with pytest.raises(
        UserError,
        match=r"heads and key-value heads of student 's': 9 and 3 do not divide by 2 devices "
        r"\(config.mesh: tensor\): lower config.mesh.tensor to a divisor of 3",
    ):
        check_mesh(make_mesh((4, 1, 2)), "s", smollm2, 8)


COUNTS = {
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "llama-3.2-1b": 1_235_814_400,
}


@pytest.mark.parametrize("name", COUNTS)
def test_presets_have_the_published_numbers_of_parameters(name):
    size = presets.preset_size(name, "key")
    assert network.parameter_count(size) == COUNTS[name]
    assert families.from_json(network.to_json(size)) == size


def test_a_small_one_has_about_as_many_parameters_as_a_small_gpt2():
    numbers = {"layers": 3, "heads": 4, "width": 192, "context": 256}
    llama, gpt2 = (
        dataclasses.replace(presets.own_size(family=family, **numbers), vocab_size=512)
        for family in ("llama", "gpt2")
    )
    assert families.from_json(network.to_json(llama)) == llama and llama.context == gpt2.context
    positions = 256 * 192
    ours, theirs = network.parameter_count(llama), network.parameter_count(gpt2) - positions
    assert ours == pytest.approx(theirs, rel=0.01)


PLANS = {
    "two_students": make_rules(
        (ViewRules("asker", LLAMA, BOTH), ViewRules("answerer", SMALL, BOTH)), (0, 1), (True, False)
    ),
    "one_student_two_views": make_rules(
        (ViewRules("asker", LLAMA, (True, False)), ViewRules("asker", LLAMA, BOTH)),
        (0, 1),
        (True, False),
    ),
}


@pytest.mark.parametrize(
    ("name", "temperature", "slots"),
    [
        ("two_students", 0.0, 7),
        ("two_students", 1.3, 7),
        ("two_students", 1.3, 1),
        ("one_student_two_views", 1.3, 7),
    ],
)
def test_the_sampler_equals_the_obvious_loop(name, temperature, slots):
    requests = ragged_requests(9)
    with jax.set_mesh(make_mesh()):
        dialogues, _ = answer(PLANS[name], requests, pick.draw(temperature), slots)
        check(PLANS[name], requests, dialogues, temperature)


def test_a_mesh_samples_the_tokens_of_one_device():
    rules, requests, drawn = PLANS["two_students"], ragged_requests(10), []
    for mesh in (make_mesh(), make_mesh((2, 2, 2))):
        with jax.set_mesh(mesh):
            dialogues, _ = answer(rules, requests, pick.draw(1.3), 8)
        drawn.append([[turn.tokens for turn in dialogue.turns] for [dialogue] in dialogues])
    assert drawn[0] == drawn[1]


def test_the_kernel_that_reads_what_is_filled_groups_queries():
    rng = np.random.default_rng(0)
    q = jnp.asarray(rng.normal(size=(3, 6, 16)), jnp.bfloat16)
    k, v = (jnp.asarray(rng.normal(size=(3, 2, 128, 16)), jnp.bfloat16) for _ in "kv")
    position = np.array([0, 70, 127], np.int32)
    got = cache_attention.attend_filled_slots(q, k, v, position, interpret=True)
    repeated = [jnp.repeat(x, 3, axis=1) for x in (k, v)]
    expected = cache_attention.attend_filled_slots(q, *repeated, position, interpret=True)
    np.testing.assert_allclose(np.float32(got), np.float32(expected), atol=0.01)
