"""The problems that students answer in rounds of own samples."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem
from distill_jax.run import rollout_settings
from distill_jax.run.run import Run
from distill_jax.text.rows import encode_prompts
from distill_jax.text.tokenizer import Tokenizer


class Pool(NamedTuple):
    """Training problems and their prompts, in one order."""

    problems: list[Problem]
    prompts: list[list[int]]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.prompts))

    def of_round(self, number: int, count: int, seed: int) -> list[int]:
        """The places of the problems of a round (from 0): `count` different ones.

        Rounds share the problems out in a random order, then again in another one; those that are
        too few for another round are left out each time.
        """
        again, place = divmod(number, len(self.problems) // count)
        order = np.random.default_rng([seed, again]).permutation(len(self.problems))
        return order[place * count : (place + 1) * count].tolist()


def make(run: Run, annotations: Sequence[Annotation], tokenizer: Tokenizer) -> Pool | None:
    """The problems that the training annotations are of, each once; None without rounds.

    None of them is a question of the evaluation or of dev, because no annotation is. Raises
    UserError if there are fewer than a round needs.
    """
    if not rollout_settings.is_on(run.config):
        return None
    unique = {a.id: a for a in annotations}.values()
    problems = [Problem(a.id, a.question, a.answer, run.config.data.train_split) for a in unique]
    needed = run.config.rollouts.problems
    if len(problems) < needed:
        raise UserError(
            f"config.rollouts.problems={needed}: there are {len(problems)} training problems: "
            "lower it"
        )
    return Pool(problems, encode_prompts(problems, run.scheme, tokenizer))


def round_seed(seed: int, student: str, number: int) -> int:
    """What the samples of a round are drawn with: another one for each student and round."""
    text = f"{seed}/{student}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
