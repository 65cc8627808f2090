"""What students are trained on: the objectives of a training step (`step.Objective`)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.model.network import NetworkConfig
from distill_jax.settings import ranges
from distill_jax.training import divergence, loss, step
from distill_jax.training.divergence import Divergence, Reading

TEACHER = "teacher"  # the frozen student that another one learns from


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """Cross entropy with the rows: the weighted mean of nats over the loss tokens.

    `batch["weights"]` (float32 [B, K], at least 0; 0 in unused slots) weights each loss token.
    1 gives the mean over tokens; 1 / (loss tokens of the row) gives the mean over rows.
    """

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"likelihood": 1.0}

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


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The divergence between a frozen student's next-token probabilities and the student's own,
    and, unless its weight is 0, the likelihood (`Likelihood`): knowledge distillation.

    Both terms are means over the same loss tokens, with the weights of the batch. What a role may
    not write has no probability for either student.
    """

    likelihood: float  # weight
    divergence: float  # weight, above 0
    kind: Divergence
    teacher: NetworkConfig
    kernel: str  # of its attention, model/attention.py

    @property
    def weights(self) -> Mapping[str, float]:
        """Two terms, or one."""
        terms = {"divergence": self.divergence, "likelihood": self.likelihood}
        return {name: weight for name, weight in terms.items() if weight}

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The sum of the weights of tokens, for each term."""
        return dict.fromkeys(self.weights, jnp.sum(batch["weights"]))

    def sums(
        self,
        trainer: step.Trainer,
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Nats times the weights of tokens."""
        computation = dataclasses.replace(trainer.computation, kernel=self.kernel, remat=False)
        teacher = dataclasses.replace(trainer, config=self.teacher, computation=computation)
        chunk, allowed, weights = trainer.computation.loss_chunk, trainer.allowed, batch["weights"]
        tokens = step.loss_tokens(trainer, params, batch, key)
        read = jax.lax.stop_gradient(step.loss_tokens(teacher, frozen[TEACHER], batch, None))
        mine = Reading(trainer.config.head(params), tokens)
        other = Reading(self.teacher.head(frozen[TEACHER]), read)
        total: Any = divergence.divergence_sum(chunk, self.kind, mine, other, weights, allowed)
        sums = {"divergence": total}
        if self.likelihood:
            sums["likelihood"] = loss.loss_sum(chunk, mine.embedding, tokens, weights, allowed)
        return sums


def mistakes(settings: Any) -> list[str]:
    """What is wrong with config.loss."""
    found = ranges.mistakes(
        "loss",
        dict(settings),
        least={
            "likelihood": 0.0,
            "divergence": 0.0,
            "beta": 0.0,
            "temperature": 1e-3,
            "policy": 0.0,
            "clip": 0.0,
        },
        below={"clip": 1.0},
    )
    if settings.beta > 1:
        found.append(f"config.loss.beta={settings.beta}: must be at most 1")
    others = settings.divergence or settings.policy
    if settings.likelihood not in (0.0, 1.0) and not others:
        found.append(
            f"config.loss.likelihood={settings.likelihood}: there is no other term "
            "to weigh it against: set it to 1"
        )
    if not settings.likelihood and not others:
        found.append("config.loss: every weight is 0, so there is nothing to learn from")
    if settings.divergence and not settings.teacher:
        found.append(
            "config.loss.divergence needs config.loss.teacher: the directory of a finished run, "
            "whose students teach those of the same name"
        )
    if settings.teacher and not settings.divergence:
        found.append(
            "config.loss.teacher is set, but not config.loss.divergence: give it a weight above 0"
        )
    return found
