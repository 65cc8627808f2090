"""What students are trained on: the objectives of a training step (`step.Objective`)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.training import loss, step


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """Cross entropy with the rows: the weighted mean of nats over the loss tokens.

    `batch["weights"]` (float32 [B, K], at least 0; 0 in unused slots) weights each loss token.
    1 gives the mean over tokens; 1 / (loss tokens of the row) gives the mean over rows.
    """

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """{"likelihood": the sum of the weights}."""
        return {"likelihood": jnp.sum(batch["weights"])}

    def sums(
        self,
        trainer: step.Trainer,
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """{"likelihood": weighted nats}."""
        del frozen  # it needs only the rows
        tokens = step.loss_tokens(trainer, params, batch, key)
        chunk, head = trainer.computation.loss_chunk, trainer.config.head(params)
        total: Any = loss.loss_sum(chunk, head, tokens, batch["weights"], trainer.allowed)
        return {"likelihood": total}
