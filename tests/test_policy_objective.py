"""The objective of own samples: gradients, what it measures, and the same numbers from TRL."""

import collections
import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_student import MODEL, make_batches, make_mesh, ragged_rows, trainer

from distill_jax.model import network
from distill_jax.training.advantages import grpo, rloo
from distill_jax.training.objective import Likelihood
from distill_jax.training.policy import policy_losses
from distill_jax.training.policy_objective import Policy, log_prob_step

STUDENT = dataclasses.replace(MODEL, layers=1)
POLICY = Policy(policy=1.0, likelihood=0.5, clip=0.2)


@pytest.fixture(scope="module")
def computed():
    """A batch of five own rows and three of annotations, and (log-probabilities; for a student that
    has moved by 0 and by 0.3 nats, the gradients of the policy term with all sums and counts; the
    gradients of weighted likelihood)."""
    made = trainer(model=STUDENT)
    batch = make_batches(ragged_rows(64))[0]
    used = batch["writers"] >= 0
    own = used & (np.arange(8) < 5)[:, None]
    shares = own / np.maximum(1, own.sum(axis=1, keepdims=True))
    batch["own_weights"] = shares.astype(np.float32)
    batch["weights"] = (used & ~own).astype(np.float32)
    drawn = np.random.default_rng(0).standard_normal(own.shape)
    batch["advantages"] = np.where(own, drawn, 0).astype(np.float32)
    params = network.init_params(STUDENT, jax.random.key(0))

    @jax.jit
    def compute(params, batch):
        old = log_prob_step(params, batch, trainer=made)

        def sums(params, move):
            moved = batch | {"old": jnp.where(batch["own_weights"] > 0, old - move, 0.0)}
            found = POLICY.sums(made, params, {}, moved, None)
            return found["policy"], (found, POLICY.counts(moved))

        def likelihood(params):
            weighted = batch | {"weights": batch["own_weights"] * batch["advantages"]}
            return Likelihood().sums(made, params, {}, weighted, None)["likelihood"]

        gradient = jax.grad(sums, has_aux=True)
        return old, [gradient(params, move) for move in (0.0, 0.3)], jax.grad(likelihood)(params)

    with jax.set_mesh(make_mesh((2, 2, 2))):
        return batch, jax.device_get(compute(params, batch))


def test_a_student_that_has_not_moved_is_pulled_as_by_weighted_likelihood_bit_for_bit(computed):
    _, (_, ((found, _), _), expected) = computed
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.any() and a.tobytes() == b.tobytes()


def test_what_is_measured(computed):
    """A mean over samples of the mean over their tokens; the divergence by its own formula."""
    batch, (old, ((_, (still, counts)), (_, (moved, _))), _) = computed
    own, advantages = batch["own_weights"] > 0, batch["advantages"]
    rows = np.arange(8) < 5
    means = [advantages[row][own[row]].mean() for row in np.flatnonzero(rows)]
    assert counts["policy"] == pytest.approx(5)
    assert still["policy"] == pytest.approx(-np.sum(means), rel=1e-5)
    assert (still["clip_share"], still["kl"]) == (0, pytest.approx(0, abs=1e-4))
    assert counts["kl"] == counts["clip_share"] == own.sum()
    assert moved["clip_share"] == (advantages[own] > 0).sum()
    assert moved["kl"] == pytest.approx(own.sum() * (np.expm1(0.3) - 0.3), rel=1e-4)
    assert still["likelihood"] == pytest.approx(-np.sum(batch["weights"] * old), rel=1e-5)
    assert counts["likelihood"] == batch["weights"].sum()


def test_a_term_without_weight_is_not_there():
    assert POLICY.weights == {"policy": 1.0, "likelihood": 0.5}
    assert dataclasses.replace(POLICY, likelihood=0.0).weights == {"policy": 1.0}


def test_trl_gives_the_same_loss_gradients_and_advantages():
    """GRPO's loss with token-level ratios and without a reference; TRL's RLOO has ratios of whole
    sequences, another loss, of which only the advantages are compared."""
    trl = pytest.importorskip("trl", reason="no TRL: it is in the extra [trl]")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (EXTRAS=peers)")
    rng = np.random.default_rng(3)
    shape = (6, 9)
    mask = (np.arange(9) < rng.integers(2, 10, 6)[:, None]).astype(np.float32)
    old = -rng.random(shape).astype(np.float32)
    log_probs = old + 0.3 * rng.standard_normal(shape).astype(np.float32)
    rewards = rng.random(6)
    advantages = rloo(rewards).astype(np.float32)
    weights = mask / mask.sum(axis=1, keepdims=True) / len(mask)

    def ours(log_probs):
        losses = policy_losses(log_probs, old, jnp.asarray(advantages)[:, None], 0.2)
        return jnp.sum(weights * losses)

    value, slopes = jax.value_and_grad(ours)(jnp.asarray(log_probs))
    theirs = torch.tensor(log_probs, requires_grad=True)
    loss = trl.GRPOTrainer._compute_loss(
        _trainer(torch, theirs),
        types.SimpleNamespace(training=False),
        {
            **{name: torch.zeros(6, 1) for name in ("prompt_ids", "prompt_mask")},
            "completion_ids": torch.zeros(shape),
            "completion_mask": torch.tensor(mask),
            "advantages": torch.tensor(advantages),
            "old_per_token_logps": torch.tensor(old),
        },
    )
    loss.backward()
    assert float(value) == pytest.approx(loss.item(), abs=1e-6)
    np.testing.assert_allclose(slopes, theirs.grad.numpy(), atol=1e-6)
    scaled = (rewards - rewards.mean()) / (torch.tensor(rewards).std().item() + 1e-4)
    np.testing.assert_allclose(grpo(rewards), scaled, atol=1e-12)


def _trainer(torch, log_probs):
    """What GRPO's loss asks its trainer for: log-probabilities, and settings for the plain loss."""
    shape = log_probs.shape
    plain = {
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "beta": 0.0,
        "loss_type": "grpo",
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "use_vllm": False,
        "aux_loss_enabled": False,
        "_entropy_bonus_enabled": False,
        "current_gradient_accumulation_steps": 1,
    }
    return types.SimpleNamespace(
        **plain,
        args=types.SimpleNamespace(delta=None),
        model=types.SimpleNamespace(training=False),
        accelerator=types.SimpleNamespace(reduce=lambda x, reduction: x, gather=lambda x: x),
        _metrics={"eval": collections.defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *a, **k: (log_probs, torch.zeros(shape), None),
    )
