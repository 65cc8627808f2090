"""The parts of a student's training that differ if it learns in rounds: batches, facts, a line."""

from typing import Any

import jax

from distill_jax.model.network import NetworkConfig
from distill_jax.run import rollout_settings
from distill_jax.run.rollout_pool import Pool
from distill_jax.training import round_batches
from distill_jax.training.batches import Batches, StudentRows
from distill_jax.training.round_batches import RoundBatches, RoundPlan


def make_batches(
    config: Any, annotated: StudentRows, model: NetworkConfig, pool: Pool
) -> RoundBatches:
    """Batches of own samples, which answer the problems of `pool`, and of the rows of annotations
    that stand beside them."""
    given, size, own = config.rollouts, config.train.batch_size, rollout_settings.own_rows(config)
    longest = min(model.context, pool.longest + given.max_tokens - 1)
    shape = round_batches.own_shape(annotated, longest, given.max_tokens)
    plan = RoundPlan(given.updates, own, size, config.loss.policy > 0, config.seed)
    # Without a row of annotations in a batch, none of these is ever asked for.
    others = Batches(annotated, shape, seed=config.seed, batch_size=max(1, size - own))
    return RoundBatches(plan, shape, others, jax.process_index(), jax.process_count())


def facts_of(
    config: Any, student: str, data: RoundBatches, of_annotations: dict[str, Any]
) -> dict[str, Any]:
    """The facts of a student's training, from those that it would have with its annotations alone.

    `tokens` is an estimate until training has ended, as if own rows were as long as the others.
    """
    facts, plan = dict(of_annotations), data.plan
    each = facts["tokens"] / (facts["steps"] * plan.batch_size)
    learns = rollout_settings.learns(config, student)
    steps = rollout_settings.steps(config) if learns else 0
    for name in ("loss_tokens", "useful_share"):
        del facts[name]
    return facts | {
        "steps": steps,
        "tokens": round(steps * plan.batch_size * each),
        "epochs": steps * (plan.batch_size - plan.own) / facts["rows"],  # of the annotations' rows
        "rounds": steps // plan.updates,
        "own_rows": steps * plan.own,
        "seq_len": data.shape.seq_len,
    }


def in_words(data: RoundBatches, rounds: int) -> str:
    """What is fed to a student that learns in rounds."""
    plan = data.plan
    return (
        f"{rounds:,} rounds of {plan.updates} steps of {plan.batch_size} rows of up to "
        f"{data.shape.seq_len} tokens, {plan.own} of {plan.batch_size} rows are own samples"
    )
