"""Learning from pairs of a better and a worse text: direct preference optimisation (DPO)."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.model import sharding
from distill_jax.training import batches, loss, step
from distill_jax.training.batches import Part, RowShape
from distill_jax.training.pairs import PairRows


def preference_losses(
    log_probs: jax.Array, reference: jax.Array, signs: jax.Array, beta: float
) -> jax.Array:
    """-log sigmoid(beta (chosen - rejected)) of each row: float32 [B]
    (https://arxiv.org/abs/2305.18290, equation 7).

    log_probs  float32 [B, K] of the loss tokens, from the student that learns
    reference  float32 [B, K] the same, from the student before training
    signs      float32 [B, K] +1 = a token of the chosen text, -1 = of the rejected one, 0 = unused

    A pair is one row, whose two texts are segments that do not see each other. `chosen` is the sum
    of log_probs - reference over the tokens of the chosen text. One token each: -10 and -12, from
    -11 and -11.5, are 1 and -0.5; the margin at beta = 0.1 is 0.15 and the loss 0.620957. Before
    the first update it is log 2, also in a row without a pair.
    """
    return jax.nn.softplus(-preference_margins(log_probs, reference, signs, beta))


def preference_margins(
    log_probs: jax.Array, reference: jax.Array, signs: jax.Array, beta: float
) -> jax.Array:
    """beta (chosen - rejected): float32 [B], above 0 if the chosen text gained more than the other.
    Arguments as in `preference_losses`."""
    return beta * jnp.sum(signs * (log_probs - reference), axis=-1)


@dataclasses.dataclass(frozen=True)
class Preference:
    """The mean of `preference_losses` over pairs and, unless its weight is 0, the likelihood of the
    chosen texts: the mean of nats over their tokens. Batches are those of `pairs.PairRows`.

    Beside its terms it measures, as means over pairs,

        margin       preference_margins
        preferred    the share whose margin is above 0
        chosen_gain  nats by which the chosen text has become more likely; below 0: less likely
    """

    preference: float  # weight, above 0
    beta: float
    likelihood: float = 0.0  # weight

    @property
    def weights(self) -> Mapping[str, float]:
        """One term, or two."""
        terms = {"preference": self.preference, "likelihood": self.likelihood}
        return {name: weight for name, weight in terms.items() if weight}

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The number of pairs; of the likelihood the sum of the weights of tokens."""
        of_pairs = ("preference", "margin", "preferred", "chosen_gain")
        pairs = jnp.sum(_pairs(batch))
        found: dict[str, jax.Array] = {name: pairs for name in of_pairs}
        if self.likelihood:
            found["likelihood"] = jnp.sum(batch["weights"])
        return found

    def sums(
        self,
        trainer: step.Trainer,
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Over pairs, and over the tokens of chosen texts."""
        del frozen  # the reference is in the batch
        tokens = step.loss_tokens(trainer, params, batch, key)
        chunk, head = trainer.computation.loss_chunk, trainer.config.head(params)
        log_probs: Any = loss.token_log_probs(chunk, head, tokens, trainer.allowed)
        reference, signs, pairs = batch["reference"], batch["signs"], _pairs(batch)
        losses = preference_losses(log_probs, reference, signs, self.beta)
        margins = preference_margins(log_probs, reference, signs, self.beta)
        found = {
            "preference": jnp.sum(pairs * losses),
            "margin": jnp.sum(margins),
            "preferred": jnp.sum(margins > 0, dtype=jnp.float32),
            "chosen_gain": jnp.sum(log_probs - reference, where=signs > 0),
        }
        if self.likelihood:
            found["likelihood"] = -jnp.sum(batch["weights"] * log_probs)
        return found


def _pairs(batch: dict[str, jax.Array]) -> jax.Array:
    """float32 [B]: 1 for a row that is a pair, 0 for an empty one."""
    return jnp.any(batch["signs"] != 0, axis=-1).astype(jnp.float32)


def references(
    mesh: jax.sharding.Mesh,
    trainer: step.Trainer,
    params: Any,
    rows: PairRows,
    shape: RowShape,
    batch_size: int,
) -> np.ndarray:
    """Log-probabilities of all loss tokens of `rows`, row after row: float32 [loss tokens].

    They are computed as in training, without dropout, `batch_size` pairs at a time, and are the
    same in every process; all must call this, under `jax.set_mesh(mesh)`.
    """
    nowhere = sharding.shardings(mesh, jax.sharding.PartitionSpec())
    compiled = jax.jit(functools.partial(_log_probs, trainer=trainer), out_shardings=nowhere)
    found = []
    for batch in batches.in_order(rows, shape, batch_size, Part.of_this_process()):
        log_probs, used = compiled(params, sharding.put_batch(mesh, batch))
        found.append(np.asarray(log_probs)[np.asarray(used)])
    return np.concatenate(found)


def _log_probs(
    params: Any, batch: dict[str, jax.Array], *, trainer: step.Trainer
) -> tuple[jax.Array, jax.Array]:
    tokens = step.loss_tokens(trainer, params, batch, None)
    chunk, head = trainer.computation.loss_chunk, trainer.config.head(params)
    log_probs: Any = loss.token_log_probs(chunk, head, tokens, trainer.allowed)
    return log_probs, tokens.writers >= 0
