"""Own samples to learn from: what the sampler wrote, as ids, and the training rows of these ids.

Text is never encoded again: another split of the same text into tokens would be another sample,
with other probabilities.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

from distill_jax.records import Prediction
from distill_jax.sampling.dialogues import Dialogue
from distill_jax.sampling.turn_rules import TurnRules
from distill_jax.text.rows import NO_LOSS, Row, View


@dataclasses.dataclass(frozen=True)
class Rollout:
    """One dialogue of a round: a line of rollouts/STUDENT/ROUND.jsonl.

    id, sample   the problem, and which of its dialogues this is
    turns        (role, text) for people to read
    status       as in records.Prediction
    prediction, correct, reward   what it said, whether that is right, and what it is worth
    prompt       ids
    tokens       ids of all that was written after it, headers and end marks included
    writers      of each token, the number of its role
    given        places of tokens that nobody decided on: headers, values of the calculator
    log_probs    natural log, by the sampler, of each token that is not given
    old          the same of each token that the learning student wrote, by its training forward
                 pass before the round's first update; () if nothing needs them
    reference    the same by the student that it is not to leave
    """

    id: str
    sample: int
    turns: tuple[tuple[str, str], ...]
    status: str
    prediction: str | None
    correct: bool
    reward: float
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    writers: tuple[int, ...]
    given: tuple[int, ...]
    log_probs: tuple[float, ...]
    old: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()

    def learned(self, views: Sequence[View]) -> list[int]:
        """The places of the tokens that the student with these views wrote itself."""
        own, given = {role for view in views for role in view.writes}, set(self.given)
        return [
            place
            for place, writer in enumerate(self.writers)
            if writer in own and place not in given
        ]

    def row(self, view: View, roles: Sequence[str]) -> tuple[Row, list[int]]:
        """What a view has seen and written, as a training row; and the places, among all tokens, of
        those that have a loss, in the order of the row."""
        given = set(self.given)
        seen = [place for place, writer in enumerate(self.writers) if roles[writer] in view.sees]
        writers = [
            self.writers[place]
            if self.writers[place] in view.writes and place not in given
            else NO_LOSS
            for place in seen
        ]
        tokens = [*self.prompt, *(self.tokens[place] for place in seen)]
        row = Row(tokens, [*[NO_LOSS] * len(self.prompt), *writers], f"{self.id}", self.id, "own")
        return row, [p for p, writer in zip(seen, writers, strict=True) if writer != NO_LOSS]

    def to_json(self) -> str:
        """One line; `from_json` gives the same record back, bit for bit."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def from_json(line: str) -> Rollout:
    """Raises ValueError, KeyError or TypeError for a line that `to_json` did not write."""
    stored: dict[str, Any] = json.loads(line)
    turns = tuple((role, text) for role, text in stored.pop("turns"))
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return Rollout(turns=turns, **fields)


def make_rollout(
    rules: TurnRules,
    prompt: Sequence[int],
    dialogue: Dialogue,
    graded: Prediction,
    sample: int,
) -> Rollout:
    """A dialogue that nothing was given of but the calculator's values; its reward is still 0.

    >>> from distill_jax.sampling.dialogues import to_dialogue
    >>> from distill_jax.sampling.token_statistics import TokenStatistics
    >>> import numpy as np
    >>> rules = TurnRules((), (0, 1), (1, 0), (True,) * 2, (True, False), 10, 11, 12, 9, 9, 9)
    >>> written = np.array([5, 10, 7, 8, 10, 11]), np.array([0, 0, 1, 1, 1, 0])
    >>> sure = TokenStatistics(np.zeros(6), np.zeros(6), np.ones(6))
    >>> dialogue = to_dialogue(rules, *written, sure, status=1)
    >>> graded = Prediction("p/1", "Q", "3", "", (), "3", True, {}, "finished")
    >>> rollout = make_rollout(rules, [1, 2], dialogue, graded, sample=0)
    >>> rollout.tokens, rollout.writers
    ((5, 10, 7, 8, 10, 11), (0, 0, 1, 1, 1, 0))
    """
    tokens: list[int] = []
    writers: list[int] = []
    given = set(dialogue.given)
    for number, turn in enumerate(dialogue.turns):
        opening = list(rules.opening(turn.role)[: turn.opening])
        given.update(range(len(tokens), len(tokens) + len(opening)))
        last = number == len(dialogue.turns) - 1
        ends = last and dialogue.status == "finished"
        mark = [rules.end_of_text if ends else rules.end_of_turn] if turn.ended else []
        tokens += [*opening, *turn.tokens, *mark]
        writers += [turn.role] * turn.written
    each = itertools.chain.from_iterable(
        [*[0.0] * turn.opening, *turn.log_probs] for turn in dialogue.turns
    )
    return Rollout(
        id=graded.id,
        sample=sample,
        turns=tuple((turn.role, turn.text) for turn in graded.turns),
        status=graded.status,
        prediction=graded.prediction,
        correct=graded.correct,
        reward=0.0,
        prompt=tuple(prompt),
        tokens=tuple(tokens),
        writers=tuple(writers),
        given=tuple(sorted(given)),
        log_probs=tuple(value for place, value in enumerate(each) if place not in given),
    )
