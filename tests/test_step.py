"""The loss, the training step on meshes, micro-batches, dropout, memory, attention kernels."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_gpt2 import logits as numpy_logits
from tiny_student import (
    ALLOWED,
    MODEL,
    OPTIMIZER,
    make_batches,
    make_mesh,
    ragged_rows,
    run_steps,
    trainer,
)

from distill_jax.errors import UserError
from distill_jax.model import attention, gpt2, network, sharding
from distill_jax.run.student_setup import check_mesh
from distill_jax.text.rows import NO_LOSS
from distill_jax.training import loss, step


def loss_of(params, batch, chunk, mesh=None, allowed=ALLOWED):
    """(loss sum, gradients) in chunks of `chunk` loss tokens."""
    made = trainer(step.Computation(loss_chunk=chunk))

    def total(params):
        tokens = step.loss_tokens(made, params, batch, None)
        weights, head = jnp.asarray(batch["weights"]), MODEL.head(params)
        return loss.loss_sum(chunk, head, tokens, weights, jnp.asarray(allowed))

    with jax.set_mesh(mesh or make_mesh()):
        return jax.jit(jax.value_and_grad(total))(params)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_loss_equals_an_obvious_loop(seed, packed):
    """Cross entropy by numpy, row by row without padding, only where a role wrote."""
    rows = ragged_rows(6, seed)
    data = make_batches(rows, packed, 48, batch_size=1)
    numbers = range(data.rows_per_epoch())
    made = [data.row(number) for number in numbers]
    batch = {key: np.stack([row[key] for row in made]) for key in made[0]}
    params = network.init_params(MODEL, jax.random.key(seed))
    total, _ = loss_of(params, batch, 7)
    expected = 0.0
    host = jax.device_get(params)
    for row in rows:
        for i in range(1, len(row.tokens)):
            if row.writers[i] != NO_LOSS:
                logits = numpy_logits(host, row.tokens[:i])[:50]
                expected += np.logaddexp.reduce(logits) - logits[row.tokens[i]]
    assert float(total) == pytest.approx(expected, rel=1e-4)


def at_loss_tokens(tokens):
    """[B, K, D]"""
    return jnp.take_along_axis(tokens.hidden, tokens.positions[..., None], axis=1)


def whole_loss(params, batch, allowed=ALLOWED):
    """The same loss with [B, T, V] logits, by plain autodiff."""
    made = trainer()

    def total(params):
        tokens = step.loss_tokens(made, params, batch, None)
        logits = network.logits(MODEL, params, at_loss_tokens(tokens))
        logits = jnp.where(jnp.asarray(allowed)[tokens.writers], logits, -1e30)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens.targets[..., None], -1)
        return -jnp.sum(chosen[..., 0], where=tokens.writers >= 0)

    with jax.set_mesh(make_mesh()):
        return jax.jit(jax.value_and_grad(total))(params)


@pytest.mark.parametrize("chunk", [1, 20, 10_000])
def test_chunks_do_not_change_loss_or_gradients(chunk):
    batch = make_batches(ragged_rows(64), True, 48)[0]
    params = network.init_params(MODEL, jax.random.key(0))
    expected, expected_grads = whole_loss(params, batch)
    for mesh in (make_mesh(), make_mesh((2, 2, 2))):
        value, grads = loss_of(params, batch, chunk, mesh)
        assert float(value) == pytest.approx(float(expected), rel=1e-6)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected_grads), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max() + 1e-3))


def test_each_role_is_given_only_what_it_may_write():
    allowed = np.stack([np.arange(128) < 50, np.arange(128) < 30])
    batch = make_batches(ragged_rows(8), batch_size=8)[0]
    batch["targets"] = batch["targets"] % 30
    params = network.init_params(MODEL, jax.random.key(0))
    for role in (0, 1):
        batch["writers"] = np.where(batch["writers"] >= 0, role, -1).astype(np.int32)
        value, _ = loss_of(params, batch, 64, allowed=allowed)
        expected, _ = whole_loss(params, batch, allowed=allowed[role : role + 1].repeat(2, 0))
        assert float(value) == pytest.approx(float(expected), rel=1e-6)


def test_the_dev_step_counts_loss_and_exact_rows():
    """Rows that repeat their first token: a student that copies is exact, unless told wrong."""
    rows = ragged_rows(8)
    data = make_batches(rows, batch_size=8)
    batch = data[0]
    mesh = make_mesh((2, 2, 1))
    params = network.init_params(MODEL, jax.random.key(0))
    with jax.set_mesh(mesh):
        made = trainer(step.Computation(loss_chunk=5))
        sums = step.make_dev_step(mesh, made)(params, sharding.put_batch(mesh, batch))
        said = jax.jit(lambda p, b: at_loss_tokens(step.loss_tokens(made, p, b, None)))
        hidden = said(params, batch)
    expected, _ = whole_loss(params, batch)
    assert float(sums["loss_sum"]) == pytest.approx(float(expected), rel=1e-6)
    assert int(sums["loss_tokens"]) == (batch["writers"] >= 0).sum() and int(sums["rows"]) == 8
    # Make what it finds most likely the target of some rows: exactly those are exact.
    best = np.asarray(jnp.argmax(network.logits(MODEL, params, hidden)[..., :50], axis=-1))
    batch["targets"][:3] = best[:3]
    batch["targets"][3] = (best[3] + 1) % 50
    with jax.set_mesh(mesh):
        sums = step.make_dev_step(mesh, made)(params, sharding.put_batch(mesh, batch))
    others = (best[4:] == batch["targets"][4:]) | (batch["writers"][4:] < 0)
    assert int(sums["exact"]) == 3 + others.all(axis=1).sum()


def test_loss_falls_and_steps_are_counted():
    values, state = run_steps()
    assert int(state.step) == 10
    assert values[-1, 0] < values[0, 0]


@pytest.fixture(scope="module")
def one_device():
    return {packed: run_steps(packed=packed)[0] for packed in (False, True)}


HEADS4 = gpt2.GPT2Config(vocab_size=128, context=32, layers=2, heads=4, width=16)


@pytest.mark.parametrize(
    ("shape", "packed"),
    [((8, 1, 1), False), ((1, 8, 1), False), ((2, 2, 2), False), ((2, 2, 2), True)],
)
def test_a_mesh_trains_as_one_device_does(shape, packed, one_device, capfd):
    values, state = run_steps(shape, packed=packed)
    np.testing.assert_allclose(values, one_device[packed], rtol=1e-5, atol=1e-5)
    assert "Involuntary full rematerialization" not in capfd.readouterr().err
    # Matrices and their moments are split over fsdp (and tensor), nothing else is as large.
    adam = state.opt_state[1][0]
    for tree in (state.params, adam.mu, adam.nu):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if path[-1].key in ("kernel", "embedding"):
                parts = shape[1] * (shape[2] if "wpe" not in str(path) else 1)
                assert leaf.addressable_shards[0].data.size * parts == leaf.size


def test_tensor_parallel_over_four_devices():
    np.testing.assert_allclose(
        run_steps((1, 1, 4), model=HEADS4)[0], run_steps(model=HEADS4)[0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((1, 1, 4), {}, "heads of student 's': 2 does not divide by 4 devices"),
        ((1, 8, 1), {"width": 12}, "width of student 's': 12 does not divide by 8"),
        ((1, 1, 8), {"heads": 8, "vocab_size": 100}, "padded vocabulary: 100 does not divide by 8"),
        (
            (8, 1, 1),
            {},
            "config.train.batch_size / accumulation 12 does not divide by 8 devices (config.mesh: "
            "data x fsdp): set config.train.batch_size to a multiple of 8 x",
        ),
    ],
)
def test_what_does_not_divide_is_named(shape, size, expected):
    model = gpt2.GPT2Config(
        **{**dict(vocab_size=128, context=8, layers=1, heads=2, width=16), **size}
    )
    with pytest.raises(UserError, match=re.escape(expected)):
        check_mesh(make_mesh(shape), "s", model, 12 if shape[0] == 8 else 8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1)])
def test_micro_batches_equal_the_big_batch(shape, one_device):
    """Although they hold different numbers of loss tokens."""
    values, _ = run_steps(shape, step.Computation(accumulation=2))
    np.testing.assert_allclose(values, one_device[False], rtol=1e-6, atol=1e-6)


def test_remat_changes_nothing(one_device):
    values, _ = run_steps(computation=step.Computation(remat=True))
    np.testing.assert_allclose(values, one_device[False], rtol=1e-6, atol=1e-6)


def test_bfloat16_keeps_parameters_moments_and_sums_between_devices_in_float32(one_device):
    values, state = run_steps((2, 2, 1), step.Computation(dtype="bfloat16"))
    np.testing.assert_allclose(values[:, 0], one_device[False][:, 0], rtol=2e-3)
    leaves = jax.tree.leaves((state.params, state.opt_state))
    assert {leaf.dtype for leaf in leaves} <= {np.dtype("float32"), np.dtype("int32")}
    mesh = make_mesh((4, 1, 1))
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, MODEL, OPTIMIZER)
        batch = make_batches(ragged_rows(64))[0]
        made = trainer(step.Computation(dtype="bfloat16"))
        text = step.lower_step(mesh, abstract, batch, {}, made).compile().as_text()
    sums = re.findall(r"= (.*?) all-reduce\(", text)
    assert sums and not any("bf16" in kind for kind in sums)


def dropping(**rates):
    return gpt2.GPT2Config(vocab_size=128, context=32, layers=2, heads=2, width=16, **rates)


def test_dropout_differs_by_step_and_is_the_same_after_a_resume_and_under_remat():
    model = dropping(embedding_dropout=0.2, attention_dropout=0.2, residual_dropout=0.2)
    whole, _ = run_steps(model=model, steps=6)
    first, state = run_steps(model=model, steps=3)
    rest, _ = run_steps(model=model, steps=3, state=state)
    assert (np.concatenate([first, rest]) == whole).all()
    remat, _ = run_steps(model=model, steps=6, computation=step.Computation(remat=True))
    np.testing.assert_allclose(remat, whole, rtol=1e-5, atol=1e-6)
    meshed, _ = run_steps((2, 2, 2), model=model, steps=6)
    np.testing.assert_allclose(meshed, whole, rtol=1e-4, atol=1e-5)

    # The same batch and parameters at two steps: only the numbers that drop differ.
    mesh = make_mesh()
    batch = make_batches(ragged_rows(64))[0]
    losses = []
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, model, OPTIMIZER)
        compiled = step.lower_step(mesh, abstract, batch, {}, trainer(model=model)).compile()
        for number in (0, 1, 1):
            state = step.random_state(abstract, model, OPTIMIZER, jax.random.key(0))
            at = jax.device_put(np.int32(number), state.step.sharding)
            _, values = compiled(state.replace(step=at), sharding.put_batch(mesh, batch), {})
            losses.append(float(values["loss"]))
    assert losses[0] != losses[1] and losses[1] == losses[2]


def test_every_parameter_has_a_rule_and_an_unknown_one_raises():
    shapes = step.abstract_state(make_mesh(), MODEL, OPTIMIZER)
    specs = sharding.match_rules(MODEL.partition_rules, shapes)
    moments = specs.opt_state[1][0].mu
    assert moments["h_0"]["mlp"]["c_fc"]["kernel"] == specs.params["h_0"]["mlp"]["c_fc"]["kernel"]
    with pytest.raises(ValueError, match="no partition rule matches head/kernel"):
        sharding.match_rules(MODEL.partition_rules, {"head": {"kernel": jnp.zeros((2, 2))}})


def test_mesh_mistakes_name_the_keys():
    with pytest.raises(UserError, match=r"data=3 fsdp=1 tensor=1 does not fit 8 device"):
        sharding.make_mesh(3, 1, 1)
    assert sharding.make_mesh(-1, 2, 1).shape == {"data": 4, "fsdp": 2, "tensor": 1}


def obvious_attention(q, k, v, segments):
    out = np.zeros_like(q)
    rows, length, heads, size = q.shape
    for b in range(rows):
        for n in range(heads):
            for t in range(length):
                seen = [s for s in range(t + 1) if segments[b, s] == segments[b, t]]
                scores = np.array([q[b, t, n] @ k[b, s, n] for s in seen]) / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                out[b, t, n] = (weights / weights.sum()) @ v[b, seen, n]
    return out


@pytest.mark.parametrize("length", [50, 128, 300])
def test_attention_equals_an_obvious_loop(length):
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 1, length, 2, 8)).astype(np.float32)
    segments = np.sort(rng.integers(0, 4, (1, length)), axis=1).astype(np.int32)
    expected = obvious_attention(q, k, v, segments)
    np.testing.assert_allclose(attention.attend("xla", q, k, v, segments), expected, atol=1e-5)
    whole = obvious_attention(q, k, v, np.zeros_like(segments))
    np.testing.assert_allclose(attention.attend("xla", q, k, v, None), whole, atol=1e-5)


def test_the_kernel_is_chosen_for_the_platform_and_says_why():
    usual = {"dtype": "bfloat16", "seq_len": 1024, "head_dim": 64, "dropout": 0.0}
    assert attention.choose_kernel("auto", "cpu", **usual)[0] == "xla"
    assert attention.choose_kernel("auto", "gpu", **usual)[0] == "cudnn"
    assert attention.choose_kernel("auto", "tpu", **usual)[0] == "splash"
    kernel, why = attention.choose_kernel("auto", "gpu", **{**usual, "dropout": 0.1})
    assert kernel == "xla" and "no dropout" in why
    kernel, why = attention.choose_kernel("auto", "tpu", **{**usual, "seq_len": 600})
    assert kernel == "xla" and "multiple of 128 tokens, not 600" in why
    with pytest.raises(UserError, match="attention=cudnn: it runs on gpu, not cpu"):
        attention.choose_kernel("cudnn", "cpu", **usual)
    with pytest.raises(UserError, match="takes bfloat16, not float32"):
        attention.choose_kernel("cudnn", "gpu", **{**usual, "dtype": "float32"})
    with pytest.raises(UserError, match="choose auto, xla"):
        attention.choose_kernel("flash", "gpu", **usual)
