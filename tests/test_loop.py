"""The training loop: which hook is called when, what stops it, and what is never saved."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax.errors import UserError
from distill_jax.training import hooks, loop
from distill_jax.training.loop import Hook

MESH = jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"), devices=jax.devices()[:1])


class Rows:
    """Batches of which each knows its number; those after `known` are not there yet."""

    def __init__(self, known=math.inf):
        self.known, self.read = known, []

    def __getitem__(self, step):
        assert step <= self.known
        self.read.append(step)
        return {"length": np.array([step + 1], np.int32)}

    def reaches(self, step):
        return step <= self.known

    def tokens(self, step):
        return step + 1


def step_function(state, batch):
    """The sum of all batches so far: what it is fed with shows."""
    total = state["total"] + batch["length"].sum()
    return {"total": total}, {"loss": total.astype(jnp.float32)}


def trained(rows, hook_list, until=7, first=0):
    moment = loop.Moment(first, {"total": jnp.int32(0)}, until, 0, loop.Stopwatch())
    loop.train(step_function, moment, rows, MESH, hook_list)
    return moment


def test_hooks_are_called_in_order_when_they_are_due_and_at_the_end():
    called = []
    hook_list = [
        Hook(2, lambda moment: called.append(("a", moment.step, moment.tokens))),
        Hook(3, lambda moment: called.append(("b", moment.step, moment.tokens))),
    ]
    moment = trained(Rows(), hook_list)
    tokens = [sum(range(1, step + 1)) for step in range(8)]
    due = [("a", 0), ("b", 0), ("a", 2), ("b", 3), ("a", 4), ("a", 6), ("b", 6), ("a", 7), ("b", 7)]
    assert called == [(name, step, tokens[step]) for name, step in due]
    assert (moment.step, int(moment.state["total"]), moment.tokens) == (7, 28, 28)


def test_a_hook_that_stops_is_followed_by_the_others_only():
    called = []

    def stop(moment):
        moment.stop = moment.step == 4

    hook_list = [
        Hook(1, lambda moment: called.append(("before", moment.step))),
        Hook(4, stop),
        Hook(3, lambda moment: called.append(("after", moment.step))),
    ]
    assert trained(Rows(), hook_list, first=2).step == 4
    assert called == [("before", 2), ("before", 3), ("after", 3), ("before", 4), ("after", 4)]


def test_a_round_is_read_only_after_a_hook_has_made_it():
    """Rows that the students write themselves: three steps a round."""
    rows = Rows(known=-1)

    def next_round(moment):
        if not moment.stop:
            assert rows.read == list(range(moment.step))
            rows.known = moment.step + 2

    assert trained(rows, [Hook(3, next_round)]).step == 7
    assert rows.read == list(range(7))


def test_the_stopwatch_stands_still_in_a_pause(monkeypatch):
    now = iter([0.0, 5.0, 15.0, 20.0])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(now))
    stopwatch = loop.Stopwatch()
    with stopwatch.pause(()):
        pass
    assert (stopwatch.paused_seconds, stopwatch.seconds()) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([20], r"its last checkpoint is kept\): lower .*learning_rate, in a new --workdir$"),
        ([], r"it has no checkpoint yet\): lower .*, in a new --workdir if another student is"),
    ],
)
def test_a_loss_that_is_not_finite_comes_with_a_remedy_that_works(steps, said):
    waited = []
    kept = types.SimpleNamespace(wait=lambda: waited.append(1), steps=lambda: steps)
    hooks.refuse_not_finite("solver", 30, "loss", 2.5, kept)
    with pytest.raises(UserError, match=rf"loss of student 'solver' is nan at step 30 \({said}"):
        hooks.refuse_not_finite("solver", 30, "loss", math.nan, kept)
    assert waited  # a save that is not complete yet counts


@pytest.mark.parametrize(
    ("params", "moment_of_adam", "values"),
    [
        ([1.0, math.inf], 0.0, {"loss": 2.0, "grad_norm": 1.0}),
        ([1.0, 1.5e38], 0.0, {"loss": 2.0, "grad_norm": 1.0}),  # the next step's sums overflow
        ([1.0, 2.0], math.nan, {"loss": 2.0, "grad_norm": 1.0}),
        ([1.0, 2.0], 0.0, {"loss": 2.0, "grad_norm": math.inf}),
        ([1.0, 2.0], 0.0, {"loss": math.nan, "grad_norm": 1.0}),
    ],
    ids=["infinite", "too large", "optimizer", "gradient", "loss"],
)
def test_what_is_not_finite_is_not_saved(params, moment_of_adam, values):
    saved = []
    kept = types.SimpleNamespace(
        wait=lambda: None, steps=lambda: [], save=lambda step, *state: saved.append(step)
    )
    logging = types.SimpleNamespace(flush=lambda: None)
    state = types.SimpleNamespace(
        step=jnp.int32(5),
        params={"w": jnp.array(params)},
        opt_state=(jnp.int32(3), jnp.array(moment_of_adam)),
        best_step=jnp.int32(-1),
    )
    moment = loop.Moment(5, state, 7, 0, loop.Stopwatch(), values)
    saving = hooks.Saving("solver", 5, kept, logging)
    with pytest.raises(UserError, match=r"of student 'solver' is (nan|inf) at step 5"):
        saving(moment)
    state.params, state.opt_state = {"w": jnp.ones(2)}, ()
    moment.values = {"loss": 2.0, "grad_norm": 1.0}
    saving(moment)
    assert saved == [5]
