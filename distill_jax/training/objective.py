"""What students are trained on: the objectives of a training step (`step.Objective`)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax.model.layers import Mix
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

    Unless its weight is 0, `uniform` is the mean divergence of what the student may write from the
    uniform distribution, over `batch["hard_weights"]` (`soft_rows.SoftRows`).
    """

    weight: float = 1.0
    uniform: float = 0.0  # weight

    @property
    def weights(self) -> Mapping[str, float]:
        """One term, or two."""
        return {"likelihood": self.weight} | _uniform_weights(self.uniform)

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """{"likelihood": the sum of the weights}, and so for uniform."""
        return {"likelihood": jnp.sum(batch["weights"])} | _uniform_counts(self.uniform, batch)

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
        return {"likelihood": total} | uniform_sums(
            self.uniform, trainer, Reading(head, tokens), batch
        )


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The divergence between a frozen student's next-token probabilities and the student's own,
    and, unless its weight is 0, the likelihood (`Likelihood`): knowledge distillation.

    Both terms are means over the same loss tokens, with the weights of the batch. What a role may
    not write has no probability for either student. The frozen student reads the same rows, or its
    own (`taught_rows.TaughtRows`).
    """

    likelihood: float  # weight
    divergence: float  # weight, above 0
    kind: Divergence
    teacher: NetworkConfig
    kernel: str  # of its attention, model/attention.py
    uniform: float = 0.0  # weight of the term of that name, as in `Likelihood`

    @property
    def weights(self) -> Mapping[str, float]:
        """One to three terms."""
        terms = {"divergence": self.divergence, "likelihood": self.likelihood}
        return {k: weight for k, weight in terms.items() if weight} | _uniform_weights(self.uniform)

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The sum of the weights of tokens, for each term."""
        own = dict.fromkeys(self.weights, jnp.sum(batch["weights"]))
        return own | _uniform_counts(self.uniform, batch)

    def sums(
        self,
        trainer: step.Trainer,
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Nats times the weights of tokens."""
        chunk, allowed, weights = trainer.computation.loss_chunk, trainer.allowed, batch["weights"]
        tokens = step.loss_tokens(trainer, params, batch, key)
        mine = Reading(trainer.config.head(params), tokens)
        own_row = batch
        if "teacher_inputs" in batch:
            own_row = batch | {
                "inputs": batch["teacher_inputs"],
                "loss_positions": batch["teacher_loss_positions"],
            }
        teacher = seen_by(trainer, self.teacher, self.kernel)
        other = read_by_teacher(teacher, frozen[TEACHER], own_row)
        total: Any = divergence.divergence_sum(chunk, self.kind, mine, other, weights, allowed)
        sums = {"divergence": total}
        if self.likelihood:
            sums["likelihood"] = loss.loss_sum(chunk, mine.embedding, tokens, weights, allowed)
        return sums | uniform_sums(self.uniform, trainer, mine, batch)


def _uniform_weights(uniform: float) -> dict[str, float]:
    return {"uniform": uniform} if uniform else {}


def _uniform_counts(uniform: float, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {"uniform": jnp.sum(batch["hard_weights"])} if uniform else {}


def uniform_sums(
    uniform: float, trainer: step.Trainer, mine: Reading, batch: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    """Divergences (nats) from the uniform distribution, summed over the tokens of hard problems."""
    if not uniform:
        return {}
    # All logits of a student whose hidden states are 0 are the same.
    hidden = jnp.zeros_like(mine.tokens.hidden)
    nobody = Reading(mine.embedding, mine.tokens._replace(hidden=hidden))
    chunk, weights = trainer.computation.loss_chunk, batch["hard_weights"]
    kind = Divergence(beta=0.0)
    total: Any = divergence.divergence_sum(chunk, kind, mine, nobody, weights, trainer.allowed)
    return {"uniform": total}


def seen_by(trainer: step.Trainer, teacher: NetworkConfig, kernel: str) -> step.Trainer:
    """`trainer` as it would train a teacher student, which is only read."""
    computation = dataclasses.replace(trainer.computation, kernel=kernel, remat=False)
    return dataclasses.replace(trainer, config=teacher, computation=computation)


def read_by_teacher(
    teacher: step.Trainer, params: Any, batch: dict[str, jax.Array], mix: Mix | None = None
) -> Reading:
    """The outputs of a teacher student, `seen_by` a trainer, without dropout and gradient."""
    tokens = step.loss_tokens(teacher, params, batch, None, mix)
    return Reading(teacher.config.head(params), jax.lax.stop_gradient(tokens))


def mistakes(settings: Any) -> list[str]:
    """What is wrong with config.loss."""
    terms = ("divergence", "policy", "preference", "mixed_likelihood", "mixed_divergence")
    least = {"beta": 0.0, "temperature": 1e-3, "preference_beta": 1e-6, "mixup": 0.0}
    least |= {"uniform": 1e-6, "clip": 0.0} | dict.fromkeys(("likelihood", *terms), 0.0)
    values = {key: settings[key] for key in least}
    found = ranges.mistakes("loss", values, least=least, below={"clip": 1.0})
    if settings.beta > 1:
        found.append(f"config.loss.beta={settings.beta}: must be at most 1")
    others = any(settings[key] for key in terms)
    if settings.likelihood not in (0.0, 1.0) and not others:
        found.append(
            f"config.loss.likelihood={settings.likelihood}: there is no other term "
            "to weigh it against: set it to 1"
        )
    if not settings.likelihood and not others:
        found.append("config.loss: every weight is 0, so there is nothing to learn from")
    return [*found, *_teacher_mistakes(settings), *_row_mistakes(settings)]


def _teacher_mistakes(settings: Any) -> list[str]:
    """What is wrong with the keys that need a teacher student."""
    found, teaching = [], ("divergence", "mixed_divergence")
    wanted = [f"config.loss.{key}" for key in teaching if settings[key]]
    if wanted and not settings.teacher:
        found.append(
            f"{' and '.join(wanted)} needs config.loss.teacher: the directory of a finished run, "
            "whose students teach those of the same name"
        )
    if settings.teacher and not wanted:
        found.append(
            "config.loss.teacher is set, but not config.loss.divergence: give it a weight above 0"
        )
    if settings.teacher_reads and not settings.divergence:
        found.append(
            "config.loss.teacher_reads is set, but not config.loss.divergence: there is no teacher "
            "to read"
        )
    return found


def _row_mistakes(settings: Any) -> list[str]:
    """Terms that learn from different rows."""
    mixed = settings.mixed_likelihood or settings.mixed_divergence
    found = []
    if bool(mixed) != bool(settings.mixup):
        found.append(
            "config.loss.mixup, the a of Beta(a, a), goes with config.loss.mixed_likelihood or "
            "config.loss.mixed_divergence: set both above 0, or neither"
        )
    rows = {
        "config.loss.preference": settings.preference,
        "config.loss.mixup": settings.mixup,
        "config.loss.teacher_reads": bool(settings.teacher_reads),
    }
    together = [key for key, used in rows.items() if used]
    if settings.preference and settings.divergence:
        together.insert(0, "config.loss.divergence")
    if len(together) > 1:
        found.append(f"{' and '.join(together)} learn from different rows: leave one of them out")
    return found
