"""Batches, the loss, the step, sharding and checkpoints."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_gpt2 import logits as numpy_logits

from distill_jax import sharding
from distill_jax.errors import UserError
from distill_jax.model import gpt2
from distill_jax.text.rows import NO_LOSS, Row
from distill_jax.training import batches, checkpoint, optimizer, step

MODEL = gpt2.GPT2Config(vocab_size=128, context=32, layers=2, heads=2, width=16)
OPTIMIZER = optimizer.make_optimizer(
    optimizer.learning_rate_schedule(
        steps=20, learning_rate=3e-3, final_learning_rate=0.0, warmup_steps=2
    ),
    b1=0.9,
    b2=0.98,
    epsilon=1e-8,
    weight_decay=0.1,
    clip_norm=1.0,
)
ALLOWED = jnp.arange(128)[None] < 50  # one role; ids from 50 on are padding


def ragged_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        length = int(rng.integers(3, 20))
        writers = rng.integers(NO_LOSS, 1, length)
        writers[-1], writers[0] = 0, NO_LOSS
        rows.append(Row(rng.integers(0, 50, length).tolist(), writers.tolist()))
    return rows


def test_a_row_is_shifted_by_one_exactly_once():
    rows = batches.StudentRows([Row([5, 6, 1, 7, 0], [-1, -1, -1, 0, 0])], 0, "s")
    row = rows[0]
    assert row["inputs"].tolist() == [5, 6, 1, 7, 0, 0, 0, 0]
    assert row["loss_positions"].tolist() == [2, 3, 0, 0]
    assert row["targets"].tolist() == [7, 0, 0, 0]
    assert row["writers"].tolist() == [0, 0, -1, -1]
    assert (rows.tokens, rows.loss_tokens, int(row["length"])) == (4, 2, 4)


def test_rows_that_cannot_be_trained_on_are_refused():
    good = Row([1, 2, 3], [-1, 0, 0])
    with pytest.raises(UserError, match=r"1 of 2 rows .* longer than 2 tokens \(longest: 3\)"):
        batches.StudentRows([good, Row([1, 2, 3, 4], [-1, 0, 0, 0])], 2, "s")
    with pytest.raises(UserError, match="row 1 of student 's' has no token to learn"):
        batches.StudentRows([good, Row([1, 2], [-1, -1])], 0, "s")
    with pytest.raises(UserError, match="no training rows"):
        batches.StudentRows([], 0, "s")


def test_batches_are_a_pure_function_of_seed_and_step():
    rows = batches.StudentRows(ragged_rows(10), 0, "s")
    first, again = (batches.make_batches(rows, 3, 4) for _ in range(2))
    for number in (7, 0, 7, 123):
        for key in ("inputs", "targets"):
            assert (first[number][key] == again[number][key]).all()
    other = batches.make_batches(rows, 4, 4)
    assert any((first[i]["inputs"] != other[i]["inputs"]).any() for i in range(3))


@pytest.mark.parametrize("batch_size", [4, 5])
def test_every_epoch_has_every_row_once_in_an_order_of_its_own(batch_size):
    rows = batches.StudentRows(
        [Row([i, 1, 2], [-1, 0, 0]) for i in range(20)], 0, "s"
    )  # the first token names the row
    data = batches.make_batches(rows, 0, batch_size)
    per_epoch = 20 // batch_size
    epochs = [
        np.concatenate([data[e * per_epoch + i]["inputs"][:, 0] for i in range(per_epoch)]).tolist()
        for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_loss_equals_an_obvious_loop(seed):
    """Cross entropy by numpy, row by row without padding, only where a role wrote."""
    rows = ragged_rows(3, seed)
    held = batches.StudentRows(rows, 24, "s")
    batch = {key: np.stack([held[i][key] for i in range(3)]) for key in held[0]}
    params = gpt2.init_params(MODEL, jax.random.key(seed))
    total, count = jax.jit(functools.partial(step.loss_sums, MODEL))(params, batch, ALLOWED)
    expected, tokens = 0.0, 0
    host = jax.device_get(params)
    for row in rows:
        for i in range(1, len(row.tokens)):
            if row.writers[i] != NO_LOSS:
                logits = numpy_logits(host, row.tokens[:i])[:50]
                expected += np.logaddexp.reduce(logits) - logits[row.tokens[i]]
                tokens += 1
    assert int(count) == tokens
    assert float(total) == pytest.approx(expected, rel=1e-4)


def run_steps(shape, steps=10):
    """Loss and gradient norm of some steps on a mesh of eight fake devices, or on one."""
    rows = batches.StudentRows(ragged_rows(64), 24, "s")
    data = batches.make_batches(rows, 0, 8)
    devices = jax.devices()[: shape[0] * shape[1] * shape[2]]
    mesh = jax.make_mesh(
        shape, sharding.AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3, devices=devices
    )
    values = []
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, MODEL, OPTIMIZER)
        state = step.make_init(abstract, MODEL, OPTIMIZER)(jax.random.key(0))
        function = step.compile_step(mesh, abstract, data[0], MODEL, OPTIMIZER, ALLOWED)
        for number in range(steps):
            state, metrics = function(state, sharding.put_batch(mesh, data[number]))
            values.append((float(metrics["loss"]), float(metrics["grad_norm"])))
    return np.array(values), state


def test_loss_falls_and_steps_are_counted():
    values, state = run_steps((1, 1, 1))
    assert int(state.step) == 10
    assert values[-1, 0] < values[0, 0]


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_a_mesh_trains_as_one_device_does(shape):
    np.testing.assert_allclose(run_steps(shape)[0], run_steps((1, 1, 1))[0], rtol=1e-5, atol=1e-5)


def test_every_parameter_has_a_rule_and_an_unknown_one_raises():
    from distill_jax.model import partition

    shapes = jax.eval_shape(lambda key: step.init_state(MODEL, OPTIMIZER, key), jax.random.key(0))
    specs = sharding.match_rules(partition.RULES, shapes)
    moments = specs.opt_state[1][0].mu
    assert moments["h_0"]["mlp"]["c_fc"]["kernel"] == specs.params["h_0"]["mlp"]["c_fc"]["kernel"]
    with pytest.raises(ValueError, match="no partition rule matches head/kernel"):
        sharding.match_rules(partition.RULES, {"head": {"kernel": jnp.zeros((2, 2))}})


def test_weight_decay_spares_biases_and_layer_norms():
    params = gpt2.init_params(MODEL, jax.random.key(0))
    mask = optimizer.decay_mask(params)
    assert mask["wte"]["embedding"] and mask["h_1"]["attn"]["c_attn"]["kernel"]
    assert not mask["h_1"]["attn"]["c_attn"]["bias"] and not mask["ln_f"]["scale"]


def test_schedule_warms_up_and_decays():
    schedule = optimizer.learning_rate_schedule(
        steps=100, learning_rate=2.0, final_learning_rate=0.5, warmup_steps=10
    )
    assert [float(schedule(s)) for s in (0, 5, 10, 55, 100)] == pytest.approx(
        [0.0, 1.0, 2.0, 1.25, 0.5]
    )


def small_state(seed=0):
    params = gpt2.init_params(MODEL, jax.random.key(seed))
    return step.TrainState(jnp.int32(seed), params, OPTIMIZER.init(params))


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def assert_equal_states(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (np.asarray(left) == np.asarray(right)).all()


def test_checkpoints_come_back_bit_for_bit_and_old_ones_go(tmp_path):
    kept = checkpoint.Checkpoints(tmp_path / "s", keep=2)
    assert kept.restore_latest(abstract(small_state())) is None
    for number in (1, 2, 3):
        kept.save(number, small_state(number))
    assert kept.steps() == [2, 3]
    found, state = kept.restore_latest(abstract(small_state()))
    assert found == 3
    assert_equal_states(state, small_state(3))


def test_damaged_and_incomplete_checkpoints_are_passed_over(tmp_path, caplog):
    kept = checkpoint.Checkpoints(tmp_path / "s", keep=3)
    for number in (1, 2, 3):
        kept.save(number, small_state(number))
    (tmp_path / "s" / "3" / checkpoint.MANIFEST).unlink()
    assert kept.steps() == [1, 2]
    files = [p for p in (tmp_path / "s" / "2" / "state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    found, state = kept.restore_latest(abstract(small_state()))
    assert found == 1 and "2 is damaged" in caplog.text
    assert_equal_states(state, small_state(1))
    # The step that was left half-written can be saved again.
    kept.save(3, small_state(3))
    assert kept.steps() == [1, 2, 3]


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    kept = checkpoint.Checkpoints(tmp_path / "s", keep=1)
    kept.save(1, small_state())
    wider = gpt2.GPT2Config(vocab_size=128, context=32, layers=2, heads=2, width=32)
    params = gpt2.init_params(wider, jax.random.key(0))
    other = step.TrainState(jnp.int32(0), params, OPTIMIZER.init(params))
    with pytest.raises(UserError, match="does not fit this config"):
        kept.restore_latest(abstract(other))


def test_mesh_mistakes_name_the_keys():
    with pytest.raises(UserError, match=r"data=3 fsdp=1 tensor=1 does not fit 8 device"):
        sharding.make_mesh(3, 1, 1)
    assert sharding.make_mesh(-1, 2, 1).shape == {"data": 4, "fsdp": 2, "tensor": 1}


def test_metrics_file_forgets_what_a_resumed_run_writes_again(tmp_path):
    from distill_jax.metrics import MetricsFile

    file = MetricsFile(tmp_path / "metrics.jsonl")
    for number in (10, 20, 30):
        file.write(number, {"train/solver/loss": number / 10})
        file.write(number, {"train/decomposer/loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as torn:
        torn.write('{"step": 40, "train/sol')
    file.forget_after(20, "train/solver/")
    assert file.curve("train/solver/loss") == [(10, 1.0), (20, 2.0)]
    assert len(file.curve("train/decomposer/loss")) == 3
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_line_after_a_torn_one_is_not_lost(tmp_path):
    from distill_jax.metrics import MetricsFile

    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.forget_after(0, "train/solver/")  # no file yet
    file.write(10, {"train/solver/loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as torn:
        torn.write('{"step": 20, "train/sol')
    file.forget_after(10, "train/solver/")
    file.write(20, {"train/solver/loss": 2.0})
    assert file.curve("train/solver/loss") == [(10, 1.0), (20, 2.0)]


def test_clipping_scales_the_gradient_to_the_norm():
    params = gpt2.init_params(MODEL, jax.random.key(0))
    huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 100.0), params)
    clipped, _ = optax.clip_by_global_norm(1.0).update(huge, optax.EmptyState())
    ours = optimizer.make_optimizer(
        lambda step: 1.0, b1=0.0, b2=0.0, epsilon=1.0, weight_decay=0.0, clip_norm=1.0
    )
    updates, _ = ours.update(huge, ours.init(params), params)
    expected = jax.tree.map(lambda g: -g / (jnp.abs(g) + 1.0), clipped)
    for got, want in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
