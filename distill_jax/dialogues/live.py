"""Dialogues while they are being written, token by token."""

import dataclasses

from distill_jax.dialogues.sampler import Sampler
from distill_jax.sampling.dialogues import Dialogue, WrittenTurn
from distill_jax.text.tokenizer import Tokenizer

NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"


@dataclasses.dataclass(frozen=True)
class Piece:
    """A token as text; several tokens if they make characters only together."""

    text: str  # "" = the end of the turn or of the dialogue
    log_probability: float  # natural log
    tokens: int = 1


@dataclasses.dataclass(frozen=True)
class LiveTurn:
    """The text of a role so far, made of the pieces."""

    role: str
    pieces: tuple[Piece, ...]
    ended: bool

    @property
    def text(self) -> str:
        """As in records.Turn."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def log_probability(self) -> float:
        """Natural log, summed over the tokens, including the end mark."""
        return sum(piece.log_probability for piece in self.pieces)


def live_turns(dialogue: Dialogue, sampler: Sampler) -> tuple[LiveTurn, ...]:
    """The turns so far; the last one may not have ended."""
    turns = []
    for turn in dialogue.turns:
        ended = turn.ended
        whole = ended or dialogue.status != "running"
        pieces = _pieces(turn, sampler.tokenizer, whole)
        if ended:
            pieces.append(Piece("", turn.log_probs[-1]))
        turns.append(LiveTurn(sampler.scheme.roles[turn.role], tuple(pieces), ended))
    return tuple(turns)


def _pieces(turn: WrittenTurn, tokenizer: Tokenizer, whole: bool) -> list[Piece]:
    """A character of several bytes may be split over tokens; these form one piece. If the turn is
    not `whole`, half a character at its end is left out."""
    pieces, waiting, log_probability = [], [], 0.0
    for token, log_prob in zip(turn.tokens, turn.log_probs, strict=False):
        waiting.append(token)
        log_probability += log_prob
        text = tokenizer.decode(waiting)
        if not text.endswith(NO_CHARACTER):
            pieces.append(Piece(text, log_probability, len(waiting)))
            waiting, log_probability = [], 0.0
    if waiting and whole:
        pieces.append(Piece(tokenizer.decode(waiting), log_probability, len(waiting)))
    return pieces
