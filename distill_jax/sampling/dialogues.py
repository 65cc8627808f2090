"""What goes into the sampler and what comes out, as plain Python values."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from distill_jax.sampling import turn_rules as turn_rules
from distill_jax.sampling.token_statistics import TokenStatistics
from distill_jax.sampling.turn_rules import TurnRules

PROMPT_TOO_LONG = "prompt_too_long"


@dataclasses.dataclass(frozen=True)
class Request:
    """A prompt, and which dialogues of it are wanted.

    id       names the problem: with the seed and the sample it decides what is drawn
    samples  numbers of the dialogues that are wanted
    script   the given part of them (turn_rules.py); () = nothing
    """

    id: str
    prompt: Sequence[int]
    samples: tuple[int, ...] = (0,)
    script: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class WrittenTurn:
    """One turn as ids. `tokens` is without header and end mark, `log_probs` has the mark, and
    `written` counts both; `opening`: tokens of the header, as far as it is written.

    Log-probability, entropy and margin are sums over `tokens` and the mark (token_statistics.py).
    """

    role: int
    tokens: list[int]
    written: int
    log_probability: float
    log_probs: tuple[float, ...] = ()  # of each token; their sum is the one above
    opening: int = 0
    entropy: float = 0.0
    margin: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it has its end mark."""
        return self.written > self.opening + len(self.tokens)


@dataclasses.dataclass(frozen=True)
class Dialogue:
    """What was written for one prompt, and why it stopped (a status of records.Prediction), or
    "running"."""

    turns: list[WrittenTurn]
    status: str
    filled_in: int = 0  # values that the calculator filled in
    given: tuple[int, ...] = ()  # places of their tokens among all that were written


def name_hash(name: str) -> int:
    """uint32 of a problem's id, for `decode.dialogue_key`."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def to_dialogue(
    rules: TurnRules,
    tokens: np.ndarray,
    writers: np.ndarray,
    statistics: TokenStatistics,
    status: int,
    filled_in: int = 0,
) -> Dialogue:
    """What a row has written as turns; all arrays are [n].

    >>> rules = TurnRules((), (0, 1), (1, 0), (True,) * 2, (True, False), 10, 11, 12, 9, 9, 9)
    >>> row = np.array([5, 10, 7, 8, 10, 11])
    >>> sure = TokenStatistics(np.zeros(6), np.zeros(6), np.ones(6))
    >>> dialogue = to_dialogue(rules, row, np.array([0, 0, 1, 1, 1, 0]), sure, 1)
    >>> [(turn.role, turn.tokens, turn.written, turn.margin) for turn in dialogue.turns]
    [(0, [5], 2, 2.0), (1, [7, 8], 3, 3.0), (0, [], 1, 1.0)]
    """
    turns, start = [], 0
    for i, token in enumerate(tokens):
        is_mark = token in (rules.end_of_turn, rules.end_of_text)
        if is_mark or i == len(tokens) - 1:
            written = i + 1 - start
            opening = min(written, len(rules.opening(int(writers[i]))))
            text = tokens[start + opening : i if is_mark else i + 1].tolist()
            of_turn = slice(start + opening, i + 1)
            log_probability, *sums = (float(part[of_turn].sum()) for part in statistics)
            each = tuple(statistics.log_probs[of_turn].tolist())
            turns.append(
                WrittenTurn(int(writers[i]), text, written, log_probability, each, opening, *sums)
            )
            start = i + 1
    return Dialogue(turns, turn_rules.STATUS_NAMES.get(status, "running"), filled_in)
