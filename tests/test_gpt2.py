"""The network against transformers' GPT-2 (torch, float32): logits, gradients, packing, dropout."""

import functools
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers
from tiny_student import make_mesh

from distill_jax.model import attention, gpt2, hugging_face, layers, network
from distill_jax.text.rows import Row
from distill_jax.training import batches, objective, optimizer, step

torch = pytest.importorskip("torch", reason="pip install torch==2.13.0 (to compare with)")

SHAPES = {
    "small": {"vocab_size": 120, "context": 40, "layers": 2, "heads": 2, "width": 16},
    "one head": {"vocab_size": 128, "context": 24, "layers": 1, "heads": 1, "width": 32},
    "deep": {"vocab_size": 300, "context": 64, "layers": 6, "heads": 4, "width": 32},
    # Longer than one block of queries in model/attention.py.
    "long": {"vocab_size": 200, "context": 300, "layers": 2, "heads": 3, "width": 48},
    "gpt2": {"vocab_size": 50257, "context": 1024, "layers": 12, "heads": 12, "width": 768},
}
QUICK = ["small", "one head", "deep", "long"]
ALL = [*QUICK, pytest.param("gpt2", marks=pytest.mark.slow)]


@functools.cache
def pair(name):
    """(transformers' model, our config, our parameters) of the same random weights."""
    shape = SHAPES[name]
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape["vocab_size"], n_positions=shape["context"], n_layer=shape["layers"],
        n_head=shape["heads"], n_embd=shape["width"], resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).float()
    with torch.no_grad():  # biases and LayerNorms off their initial 0 and 1, so that errors show
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    padded = -(-shape["vocab_size"] // 128) * 128
    ours = gpt2.GPT2Config(**{**shape, "vocab_size": padded})
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        params = hugging_face.load_params(hugging_face.find(directory, "key"), padded)
    return theirs, ours, params


def their_logits(name, tokens, mask=None, positions=None):
    theirs, _, _ = pair(name)
    arguments = {"input_ids": torch.tensor(tokens)}
    if mask is not None:
        arguments |= {"attention_mask": torch.tensor(mask), "position_ids": torch.tensor(positions)}
    with torch.no_grad():
        return theirs(**arguments).logits.numpy()


def our_logits(name, tokens, positions, segments=None):
    _, config, params = pair(name)

    @jax.jit
    def run(params, tokens, positions, segments):
        hidden, _ = gpt2.GPT2(config).apply({"params": params}, tokens, positions, segments)
        return network.logits(config, params, hidden)

    return np.asarray(run(params, tokens, positions, segments))[..., : SHAPES[name]["vocab_size"]]


def random_tokens(name, rows, length):
    rng = np.random.default_rng(1)
    return rng.integers(0, SHAPES[name]["vocab_size"], (rows, length)).astype(np.int32)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_with_padding_on_either_side(name, side):
    length = min(SHAPES[name]["context"], 200)
    tokens = random_tokens(name, 3, length)
    real = np.ones((3, length), np.int64)
    for row, padding in enumerate((0, 3, length // 2)):
        real[row, length - padding :] = 0
    if side == "left":
        real = real[:, ::-1].copy()
    positions = np.maximum(real.cumsum(1) - 1, 0)
    expected = their_logits(name, tokens, real, positions)
    got = our_logits(name, tokens, positions.astype(np.int32), real.astype(np.int32))
    assert np.abs((got - expected)[real == 1]).max() <= 2e-4


@pytest.mark.parametrize("name", QUICK)
def test_packed_rows_do_not_see_each_other(name):
    """Three rows in one: transformers gets each by itself."""
    lengths = (7, 11, 5)
    tokens = random_tokens(name, 1, 24)
    segments, positions = np.zeros((1, 24), np.int32), np.zeros((1, 24), np.int32)
    expected, start = [], 0
    for number, length in enumerate(lengths, start=1):
        segments[0, start : start + length] = number
        positions[0, start : start + length] = np.arange(length)
        expected.append(their_logits(name, tokens[:, start : start + length])[0])
        start += length
    got = our_logits(name, tokens, positions, segments)[0]
    assert np.abs(got[:start] - np.concatenate(expected)).max() <= 2e-4
    alone = [
        our_logits(name, tokens[:, a : a + n], np.arange(n, dtype=np.int32)[None])[0]
        for a, n in zip((0, 7, 18), lengths, strict=True)
    ]
    assert np.abs(got[:start] - np.concatenate(alone)).max() <= 1e-5


def training_rows(name):
    """Ragged rows of random tokens with random loss marks."""
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(5):
        length = int(rng.integers(8, min(SHAPES[name]["context"], 150)))
        writers = rng.integers(-1, 1, length)
        writers[0], writers[-1] = -1, 0
        tokens = rng.integers(0, SHAPES[name]["vocab_size"], length)
        rows.append(Row(tokens.tolist(), writers.tolist()))
    return rows


def their_gradients(name, rows):
    """Of the loss summed over all loss tokens, row by row without padding, in our tree's shapes."""
    theirs, _, _ = pair(name)
    theirs.zero_grad()
    total = 0.0
    for row in rows:
        logits = theirs(input_ids=torch.tensor([row.tokens[:-1]])).logits[0]
        targets = torch.tensor(
            [t if w >= 0 else -100 for t, w in zip(row.tokens, row.writers, strict=True)][1:]
        )
        value = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        value.backward()
        total += value.item()
    layout = gpt2.GPT2Config(**SHAPES[name]).hugging_face_layout()
    named = dict(theirs.transformer.named_parameters())
    grads = {
        "/".join(tensor.path): named[key.removeprefix("transformer.")].grad.numpy()
        for key, tensor in layout.items()
    }
    return total, grads


def our_gradients(name, rows, packed, computation=None):
    _, config, params = pair(name)
    source = batches.StudentRows(rows, "s", config.context, 0.0)
    seq_len = 256 if packed else 0
    shape = batches.row_shape(source, seq_len, packed)
    data = batches.Batches(source, shape, seed=0, batch_size=1 if packed else 5)
    # Packed: all bins of one epoch, one after the other in one batch.
    count = data.rows_per_epoch()
    numbers = [data.row(number) for number in range(count)]
    batch = {key: np.stack([row[key] for row in numbers]) for key in numbers[0]}
    allowed = np.arange(config.vocab_size)[None] < SHAPES[name]["vocab_size"]
    schedule = optimizer.learning_rate_schedule(
        steps=9, learning_rate=1.0, final_learning_rate=0.0, warmup_steps=1
    )
    computation = computation or step.Computation(loss_chunk=64)
    allowed = jnp.asarray(allowed)
    made = step.Trainer(config, schedule, computation, allowed, 0, objective.Likelihood())

    def total_loss(params, batch):
        return made.objective.sums(made, params, {}, batch, None)["likelihood"]

    with jax.set_mesh(make_mesh()):
        value, grads = jax.jit(jax.value_and_grad(total_loss))(params, batch)
    flat = jax.tree_util.tree_leaves_with_path(grads)
    return float(value), {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in flat
    }


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("packed", [False, True])
def test_loss_and_gradients(name, packed):
    rows = training_rows(name)
    expected_loss, expected = their_gradients(name, rows)
    value, got = our_gradients(name, rows, packed)
    assert value == pytest.approx(expected_loss, rel=1e-5)
    vocab = SHAPES[name]["vocab_size"]
    assert got.keys() == expected.keys()
    for key, grad in got.items():
        if key == "wte/embedding":
            assert np.abs(grad[vocab:]).max(initial=0.0) == 0.0  # padding is never trained
            grad = grad[:vocab]
        difference = np.linalg.norm(grad.reshape(expected[key].shape) - expected[key])
        assert difference <= 1e-4 * np.linalg.norm(expected[key]), key


def test_bfloat16_computes_close_by_and_sums_gradients_in_float32():
    rows = training_rows("deep")
    exact_loss, exact = our_gradients("deep", rows, False)
    value, got = our_gradients(
        "deep", rows, False, step.Computation(dtype="bfloat16", loss_chunk=64)
    )
    assert value == pytest.approx(exact_loss, rel=5e-3)
    for key, grad in got.items():
        assert grad.dtype == np.float32
        if key.endswith("c_attn/bias"):  # its key part is zero but for rounding
            continue
        assert np.linalg.norm(grad - exact[key]) <= 0.05 * np.linalg.norm(exact[key]), key


def apply(config, key, **how):
    params = network.init_params(config, jax.random.key(0))
    tokens = jnp.arange(64)[None] % 100
    rngs = {} if key is None else {"dropout": key}
    hidden, _ = gpt2.GPT2(config, **how).apply({"params": params}, tokens, tokens % 64, rngs=rngs)
    return np.asarray(hidden)


@pytest.mark.parametrize("site", ["embedding", "attention", "residual"])
def test_every_dropout_site_acts_with_a_key_and_only_then(site):
    config = gpt2.GPT2Config(128, 64, 2, 2, 16, **{f"{site}_dropout": 0.5})
    plain = apply(gpt2.GPT2Config(128, 64, 2, 2, 16), None)
    assert (apply(config, None) == plain).all()
    first = apply(config, jax.random.key(1))
    assert np.abs(first - plain).max() > 1e-3
    assert (apply(config, jax.random.key(1)) == first).all()
    assert (apply(config, jax.random.key(2)) != first).any()
    remat = apply(config, jax.random.key(1), remat=True)
    np.testing.assert_allclose(remat, first, atol=1e-6)


def test_dropout_rate_and_scale():
    """Of what is dropped a share of `rate` is 0, the rest grows so that the mean stays."""
    module = gpt2.GPT2(gpt2.GPT2Config(128, 64, 1, 1, 8, embedding_dropout=0.3))
    dropped = module.apply(
        {},
        rngs={"dropout": jax.random.key(0)},
        method=lambda m: layers.dropout(m, 0.3, jnp.ones((400, 400))),
    )
    assert float(jnp.mean(dropped == 0)) == pytest.approx(0.3, abs=0.005)
    assert set(np.unique(np.asarray(dropped))) == {np.float32(0), np.float32(1 / 0.7)}
    # Attention: with equal scores and one-hot values the output is the dropped weights.
    length = 64
    q = jnp.zeros((8, length, 2, length))
    v = jnp.broadcast_to(jnp.eye(length)[None, :, None], q.shape)
    out = attention.attend("xla", q, q, v, None, 0.3, jax.random.key(1))
    weights = np.asarray(out) * (np.arange(length)[None, :, None, None] + 1)
    seen = weights[:, np.tril(np.ones((length, length), bool))[:, None, :].repeat(2, 1)]
    assert np.mean(seen == 0) == pytest.approx(0.3, abs=0.01)
    assert np.unique(seen[seen > 0].round(4)).tolist() == pytest.approx([1 / 0.7], abs=1e-3)
