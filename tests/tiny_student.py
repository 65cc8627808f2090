"""A student of a few thousand parameters, its rows and its optimizer, for the tests of training."""

import jax.numpy as jnp
import numpy as np

from distill_jax.model import gpt2, sharding
from distill_jax.text.rows import NO_LOSS, Row
from distill_jax.training import batches, optimizer, step
from distill_jax.training.objective import Likelihood

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
ALLOWED = np.arange(128)[None] < 50  # one role; ids from 50 on are padding


def ragged_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        length = int(rng.integers(3, 20))
        writers = rng.integers(NO_LOSS, 1, length)
        writers[-1], writers[0] = 0, NO_LOSS
        rows.append(Row(rng.integers(0, 50, length).tolist(), writers.tolist()))
    return rows


def student_rows(rows, max_tokens=32, max_dropped_share=0.0):
    return batches.StudentRows(rows, "s", max_tokens, max_dropped_share)


def make_batches(rows, packed=False, seq_len=0, batch_size=8, **more):
    source = rows if isinstance(rows, batches.StudentRows) else student_rows(rows)
    shape = batches.row_shape(source, seq_len, packed)
    return batches.Batches(source, shape, seed=0, batch_size=batch_size, **more)


def trainer(computation=None, model=MODEL, optimizer=OPTIMIZER, seed=0):
    computation = computation or step.Computation()
    return step.Trainer(model, optimizer, computation, jnp.asarray(ALLOWED), seed, Likelihood())


def make_mesh(shape=(1, 1, 1)):
    """The first devices of the eight fake ones."""
    import jax

    devices = jax.devices()[: shape[0] * shape[1] * shape[2]]
    types = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh(shape, sharding.AXES, axis_types=types, devices=devices)


def run_steps(shape=(1, 1, 1), computation=None, packed=False, steps=10, model=MODEL, state=None):
    """(loss and gradient norm of each step, last state) on a mesh of the fake devices."""
    import jax

    made = trainer(computation, model)
    data = make_batches(ragged_rows(64), packed, seq_len=48 if packed else 24)
    mesh = make_mesh(shape)
    values = []
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, model, OPTIMIZER)
        if state is None:
            state = step.random_state(abstract, model, OPTIMIZER, jax.random.key(0))
        function = step.lower_step(mesh, abstract, data[0], {}, made).compile()
        for number in range(int(state.step), int(state.step) + steps):
            state, metrics = function(state, sharding.put_batch(mesh, data[number]), {})
            values.append((float(metrics["loss"]), float(metrics["grad_norm"])))
    return np.array(values), state
