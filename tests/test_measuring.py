"""What a measurement on dev decides: the best checkpoint, and when to stop."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax.training.hooks import Measuring
from distill_jax.training.loop import Moment, Stopwatch


@flax.struct.dataclass
class State:
    """The part of a train state that is looked at."""

    step: jax.Array
    measured_step: jax.Array
    best_step: jax.Array
    best_value: jax.Array
    params: None = None


class Nowhere:
    def write(self, *_):
        pass


@pytest.mark.parametrize("value", [-n / 500 for n in range(0, 501, 7)] + [0.7, 0.1])
def test_an_equal_value_is_no_better_one(value):
    """However it is rounded when it is kept: of accuracies such as 0.7 half were better than
    themselves."""
    number = jnp.int32(0)
    state = State(number, jnp.int32(0), jnp.int32(-1), jnp.float32(np.inf))
    measuring = Measuring("solver", lambda *_: (value, {}), 400, Nowhere(), lambda _: None)
    moment = Moment(0, state, 10_000, 0, Stopwatch())
    saved = []
    while not moment.stop:
        moment.step, moment.save = moment.step + 200, False
        measuring(moment)
        saved += [moment.step] * moment.save
    assert (moment.step, saved, int(moment.state.best_step)) == (600, [200], 200)
