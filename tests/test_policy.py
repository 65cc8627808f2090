"""The clipped policy loss: worked numbers, and weighted likelihood at ratio 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import make_mesh
from token_rows import ALLOWED, ROWS, SLOTS, make_head, make_tokens

from distill_jax.training import loss
from distill_jax.training.policy import clipped, policy_losses

# (ratio, advantage): loss, derivative by the log-probability, whether it is clipped; clip is 0.2.
WORKED = {
    (1.3, 1.0): (-1.2, 0.0, True),
    (1.3, -1.0): (1.3, 1.3, False),
    (0.7, 1.0): (-0.7, -0.7, False),
    (0.7, -1.0): (0.8, 0.0, True),
    (1.0, 0.5): (-0.5, -0.5, False),
    (1.3, 0.0): (0.0, 0.0, False),
}


def test_worked_numbers():
    ratios, advantages = jnp.array(list(WORKED)).T
    old = jnp.full(ratios.shape, -2.0)
    log_probs = old + jnp.log(ratios)
    losses, pullback = jax.vjp(lambda x: policy_losses(x, old, advantages, 0.2), log_probs)
    (slopes,) = pullback(jnp.ones_like(losses))
    found = clipped(log_probs, old, advantages, 0.2)
    for number, (value, slope, stopped) in enumerate(WORKED.values()):
        assert float(losses[number]) == pytest.approx(value, abs=1e-6)
        assert float(slopes[number]) == pytest.approx(slope, abs=1e-6)
        assert bool(found[number]) == stopped


def test_where_nothing_has_been_learned_yet_it_pulls_as_weighted_likelihood_does_bit_for_bit():
    head, tokens, allowed = make_head(), make_tokens(), jnp.asarray(ALLOWED)
    advantages = np.random.default_rng(4).standard_normal((ROWS, SLOTS)).astype(np.float32)

    def policy(head, hidden):
        log_probs = loss.token_log_probs(3, head, tokens._replace(hidden=hidden), allowed)
        old = jax.lax.stop_gradient(log_probs)
        return jnp.sum(policy_losses(log_probs, old, advantages, 0.2))

    def likelihood(head, hidden):
        moved = tokens._replace(hidden=hidden)
        return loss.loss_sum(3, head, moved, jnp.asarray(advantages), allowed)

    @jax.jit
    def compute(*where):
        return [jax.grad(each, (0, 1))(*where) for each in (policy, likelihood)]

    with jax.set_mesh(make_mesh((2, 2, 2))):
        found, expected = compute(head, tokens.hidden)
    for a, b in zip(found, expected, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
