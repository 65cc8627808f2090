"""From the samples of a round to training rows and to the values of the round.

Pure functions of what rollouts/STUDENT/ROUND.jsonl holds, so a resumed run gets the same rows.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill_jax.dialogues.rollouts import Rollout
from distill_jax.records import ENDED
from distill_jax.text.rows import View
from distill_jax.training.advantages import ADVANTAGES, less_divergence, whitened
from distill_jax.training.round_batches import OwnRow

_NOTHING = np.zeros(0, np.float32)


def token_advantages(
    rollouts: Sequence[Rollout], views: Sequence[View], settings: Any
) -> list[np.ndarray]:
    """Of each sample the advantages of the tokens that a student with these views wrote, in the
    order of `Rollout.learned`; `settings` is config.rollouts.

    The samples of a problem follow one another.
    """
    of_samples: list[float] = []
    for _, some in itertools.groupby(rollouts, key=lambda each: each.id):
        rewards = [each.reward for each in some]
        of_samples += ADVANTAGES[settings.advantage](rewards).tolist()
    found = []
    for rollout, advantage in zip(rollouts, of_samples, strict=True):
        if settings.reference_kl:
            old, reference = np.array(rollout.old), np.array(rollout.reference)
            found.append(less_divergence(advantage, old, reference, settings.reference_kl))
        else:
            found.append(np.full(len(rollout.learned(views)), advantage))
    # If no sample is better than another, whitening would make a lesson of rounding alone.
    return whitened(found) if settings.whiten and any(of_samples) else found


def unweighed(
    rollouts: Sequence[Rollout], views: Sequence[View], roles: Sequence[str]
) -> list[tuple[int, OwnRow, list[int]]]:
    """(number of the sample, its row in a view, the places of its loss tokens): all rows that have
    one, without advantages."""
    found = []
    for number, rollout in enumerate(rollouts):
        for view in views:
            row, places = rollout.row(view, roles)
            if places:
                found.append((number, OwnRow(row, _NOTHING, _NOTHING), places))
    return found


def own_rows(
    rollouts: Sequence[Rollout], views: Sequence[View], roles: Sequence[str], config: Any
) -> list[OwnRow]:
    """The rows that a student with these views learns from."""
    rows = unweighed(rollouts, views, roles)
    if not config.loss.policy:
        return [row for _, row, _ in rows]
    advantages = token_advantages(rollouts, views, config.rollouts)
    found = []
    for number, own, places in rows:
        learned = {place: i for i, place in enumerate(rollouts[number].learned(views))}
        which = [learned[place] for place in places]
        old = np.array(rollouts[number].old, np.float32)[which]
        found.append(OwnRow(own.row, old, advantages[number][which].astype(np.float32)))
    return found


def sampler_distances(rollouts: Sequence[Rollout], views: Sequence[View]) -> np.ndarray:
    """By how much the sampler and the training forward pass differ in the log-probability of each
    learned token: float64 [tokens]."""
    found = [_NOTHING]
    for rollout in rollouts:
        given = set(rollout.given)
        by_place = dict(
            zip(
                (place for place in range(len(rollout.tokens)) if place not in given),
                rollout.log_probs,
                strict=True,
            )
        )
        sampled = [by_place[place] for place in rollout.learned(views)]
        found.append(np.abs(np.array(sampled) - np.array(rollout.old)))
    return np.concatenate(found)


def values(rollouts: Sequence[Rollout], views: Sequence[View]) -> dict[str, float]:
    """What metrics.jsonl says of a round.

    reward              mean over samples
    right               share of samples that are right and not cut off
    cut_off             share of samples that reached a limit
    tokens              mean number of tokens of a sample, end marks included
    tokens_of_right     the same of right samples, if there is one
    all_right           share of problems whose samples are all right
    all_wrong           share of problems whose samples are all wrong
    sampler_distance    the largest of `sampler_distances`, if there are any
    reference_kl        nats per learned token away from the student at the beginning, if measured
    """
    right = [each.correct and each.status == "finished" for each in rollouts]
    problems = [
        [ok for _, ok in some]
        for _, some in itertools.groupby(
            zip(rollouts, right, strict=True), key=lambda pair: pair[0].id
        )
    ]
    lengths = [len(each.tokens) for each in rollouts]
    of_right = [length for length, ok in zip(lengths, right, strict=True) if ok]
    found = {
        "reward": float(np.mean([each.reward for each in rollouts])),
        "right": float(np.mean(right)),
        "cut_off": float(np.mean([each.status not in ENDED for each in rollouts])),
        "tokens": float(np.mean(lengths)),
        "all_right": float(np.mean([all(some) for some in problems])),
        "all_wrong": float(np.mean([not any(some) for some in problems])),
    }
    if of_right:
        found["tokens_of_right"] = float(np.mean(of_right))
    measured = [each for each in rollouts if each.old]
    if measured:
        found["sampler_distance"] = float(sampler_distances(measured, views).max())
    away = [np.array(r.old) - np.array(r.reference) for r in rollouts if r.reference]
    if away:
        found["reference_kl"] = float(np.mean(np.concatenate(away)))
    return found


def shown(rollout: Rollout, question: str) -> str:
    """A sample as lines of text."""
    lines = [f"reward {rollout.reward:.3f} ({rollout.status})", f"problem: {question}"]
    return "\n".join([*lines, *(f"{role}: {text.strip()}" for role, text in rollout.turns)])
