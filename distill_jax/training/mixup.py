"""Learning from mixtures of two rows, which nobody has labelled but a teacher student.

MixKD (Liang et al. 2021, https://arxiv.org/abs/2011.00593): the embeddings of two rows i and j are
mixed, x' = s x_i + (1 - s) x_j with s drawn from Beta(a, a), by each student with its own table of
embeddings. With y_i and y_j the tokens of the rows,

    mixed likelihood (SM)      s CE(x', y_i) + (1 - s) CE(x', y_j)
    mixed divergence (TMKD)    of the teacher's probabilities after x' from the student's

where the divergence is taken at the loss tokens of both rows, weighted by s and 1 - s as well. So s
= 1 gives what the row alone would give.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.model.layers import Mix
from distill_jax.model.network import NetworkConfig
from distill_jax.text.rows import Row
from distill_jax.training import batches, divergence, loss, step
from distill_jax.training.batches import RowShape, StudentRows
from distill_jax.training.chunks import LossTokens
from distill_jax.training.divergence import Divergence, Reading
from distill_jax.training.objective import (
    TEACHER,
    Distillation,
    Likelihood,
    read_by_teacher,
    seen_by,
)

_SLOTS = ("loss_positions", "targets", "writers", "weights")


class Draw(NamedTuple):
    """How partners and shares are drawn: `concentration` is a of Beta(a, a)."""

    concentration: float
    seed: int


class MixedRows(StudentRows):
    """Rows of which each is mixed with another one, whose first loss token is at the same place: so
    one question is mixed with the other, and an answer with an answer.

    Beside its own arrays a batch has those of the other row, as other_inputs, other_loss_positions,
    other_targets, other_writers and other_weights, and `share`, a float32 []: that of the row
    itself. Which row it is and the share depend on the seed and on the number of the batch row
    alone. A row that nothing goes with is mixed with itself.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        student: str,
        max_tokens: int,
        max_dropped_share: float,
        limit_key: str,
        draw: Draw,
    ):
        """Raises UserError as StudentRows does."""
        super().__init__(rows, student, max_tokens, max_dropped_share, limit_key)
        self._draw = draw
        starts = [int(self.losses(index)[0][0]) for index in range(len(self))]
        alike: dict[int, list[int]] = collections.defaultdict(list)
        for index, start in enumerate(starts):
            alike[start].append(index)
        self._alike = [alike[start] for start in starts]

    def beside(self, indices: Sequence[int], shape: RowShape, number: int) -> dict[str, Any]:
        random = np.random.default_rng([self._draw.seed, number])
        share = np.float32(random.beta(self._draw.concentration, self._draw.concentration))
        alike = (self._alike[index] for index in indices)  # of one row, or of none
        others = [some[int(random.integers(len(some)))] for some in alike]
        row = batches.arrays_of(self, others, shape)
        return {f"other_{name}": row[name] for name in ("inputs", *_SLOTS)} | {"share": share}


@dataclasses.dataclass(frozen=True)
class Mixup:
    """`plain` terms of the rows themselves, and terms of their mixtures; batches are those of
    `MixedRows`. The mixed terms are means over the loss tokens of both rows, by their shares."""

    plain: Likelihood | Distillation | None
    likelihood: float  # weight of the mixed likelihood
    divergence: float  # weight of the mixed divergence
    kind: Divergence
    teacher: NetworkConfig | None  # None: there is no mixed divergence
    kernel: str  # of its attention, model/attention.py

    @property
    def weights(self) -> Mapping[str, float]:
        """Those of `plain`, and mixed_likelihood and mixed_divergence."""
        mixed = {"mixed_likelihood": self.likelihood, "mixed_divergence": self.divergence}
        own = self.plain.weights if self.plain else {}
        return {**own, **{name: weight for name, weight in mixed.items() if weight}}

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The sum of the weights of tokens, for each term."""
        own = self.plain.counts(batch) if self.plain else {}
        share = batch["share"][:, None]
        mixed = jnp.sum(share * batch["weights"] + (1 - share) * batch["other_weights"])
        return {name: own.get(name, mixed) for name in self.weights}

    def sums(
        self,
        trainer: step.Trainer,
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Nats times the weights of tokens."""
        sums = dict(self.plain.sums(trainer, params, frozen, batch, key)) if self.plain else {}
        mix = Mix(batch["other_inputs"], batch["share"])
        other_key = None if key is None else jax.random.fold_in(key, 1)
        tokens = step.loss_tokens(trainer, params, batch, other_key, mix)
        mine, read = Reading(trainer.config.head(params), tokens), None
        if self.teacher is not None:
            teacher = seen_by(trainer, self.teacher, self.kernel)
            read = read_by_teacher(teacher, frozen[TEACHER], batch, mix)
        return sums | self.mixed_sums(trainer, mine, read, batch)

    def mixed_sums(
        self,
        trainer: step.Trainer,
        mine: Reading,
        read: Reading | None,
        batch: dict[str, jax.Array],
    ) -> dict[str, jax.Array]:
        """The mixed terms, of what the student and its teacher say after the mixtures.

        One row after the other, because the loss loop takes a place of a row once at most.
        """
        chunk, allowed, sums = trainer.computation.loss_chunk, trainer.allowed, {}
        share = batch["share"][:, None]
        for of, part in (("", share), ("other_", 1 - share)):
            slots = {name: batch[f"{of}{name}"] for name in _SLOTS}
            own, weights = _at(mine, slots), part * slots["weights"]
            if self.likelihood:
                nats: Any = loss.loss_sum(chunk, own.embedding, own.tokens, weights, allowed)
                sums["mixed_likelihood"] = sums.get("mixed_likelihood", 0.0) + nats
            if read is not None:
                other = _at(read, slots)
                nats = divergence.divergence_sum(chunk, self.kind, own, other, weights, allowed)
                sums["mixed_divergence"] = sums.get("mixed_divergence", 0.0) + nats
        return sums


def _at(reading: Reading, slots: dict[str, jax.Array]) -> Reading:
    """The same outputs at other loss tokens."""
    places = (slots[name] for name in ("loss_positions", "targets", "writers"))
    return Reading(reading.embedding, LossTokens(reading.tokens.hidden, *places))
