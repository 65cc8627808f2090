"""The objective of learning from own samples by their advantage, and the log-probabilities that it
compares with.

Beside the arrays of `training/batches.py` a batch has, float32 [B, K] each, 0 in unused slots and
in rows of annotations:

    advantages   of each loss token: better or worse than the other samples of the problem
    old          its log-probability by the student that wrote it
    own_weights  1 / (loss tokens of the row), so that the mean is one over samples

`weights` is 1 in rows of annotations and 0 in own ones.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from distill_jax.model import sharding
from distill_jax.training import loss, step
from distill_jax.training.policy import clipped, policy_losses

OWN_ARRAYS = ("advantages", "old", "own_weights")


@dataclasses.dataclass(frozen=True)
class Policy:
    """The clipped policy loss of own samples (`training/policy.py`), a mean over samples of the
    mean over their tokens, and, unless its weight is 0, the likelihood of the annotations' rows.

    Beside the terms there are, over the tokens of own samples,

        clip_share  the share of tokens whose gradient is 0, because they have moved far enough
        kl          the mean of ratio - 1 - log ratio, which estimates KL(old || new) and is never
                    below 0 (http://joschu.net/blog/kl-approx.html)
    """

    policy: float  # weight, above 0
    likelihood: float  # weight
    clip: float

    @property
    def weights(self) -> Mapping[str, float]:
        """Two terms, or one."""
        terms = {"policy": self.policy, "likelihood": self.likelihood}
        return {name: weight for name, weight in terms.items() if weight}

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Own samples, their tokens, and tokens of annotations."""
        own = jnp.sum(batch["own_weights"] > 0, dtype=jnp.float32)
        counts = {"policy": jnp.sum(batch["own_weights"]), "clip_share": own, "kl": own}
        if self.likelihood:
            counts["likelihood"] = jnp.sum(batch["weights"])
        return counts

    def sums(
        self,
        trainer: step.Trainer,
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Everything that `counts` divides. Both terms come from the same log-probabilities."""
        del frozen  # it needs only the rows
        log_probs = _log_probs(trainer, params, batch, key)
        old, advantages, own = batch["old"], batch["advantages"], batch["own_weights"]
        losses = policy_losses(log_probs, old, advantages, self.clip)
        now = jax.lax.stop_gradient(log_probs)
        moved = jnp.where(own > 0, now - old, 0.0)
        stopped = clipped(now, old, advantages, self.clip) & (own > 0)
        sums = {
            "policy": jnp.sum(own * losses),
            "clip_share": jnp.sum(stopped, dtype=jnp.float32),
            "kl": jnp.sum(jnp.expm1(moved) - moved),
        }
        if self.likelihood:
            sums["likelihood"] = -jnp.sum(batch["weights"] * log_probs)
        return sums


def _log_probs(
    trainer: step.Trainer, params: Any, batch: dict[str, jax.Array], key: jax.Array | None
) -> jax.Array:
    tokens = step.loss_tokens(trainer, params, batch, key)
    chunk, head = trainer.computation.loss_chunk, trainer.config.head(params)
    return loss.token_log_probs(chunk, head, tokens, trainer.allowed)


def log_prob_step(params: Any, batch: dict[str, jax.Array], *, trainer: step.Trainer) -> jax.Array:
    """Log-probability of every loss token of a batch, without dropout: float32 [B, K], 0 in unused
    slots. `params` are those of the whole network."""
    return _log_probs(trainer, params, batch, None)


def make_log_prob_step(
    mesh: Mesh, trainer: step.Trainer
) -> Callable[[Any, dict[str, jax.Array]], jax.Array]:
    """`log_prob_step`, jitted, computed as a training step computes its forward pass; the result is
    on every device."""
    computation = dataclasses.replace(trainer.computation, remat=False)
    trainer = dataclasses.replace(trainer, computation=computation)
    nowhere = sharding.shardings(mesh, PartitionSpec())
    return jax.jit(functools.partial(log_prob_step, trainer=trainer), out_shardings=nowhere)
