"""Chains cut into parts that restate and parts that infer, by a scorer's entropy (AS-ES learning).

Xi et al. 2024, AS-ES Learning (https://arxiv.org/abs/2403.01969), as in its code
(https://github.com/rootnx/AS-ES-learning): a chain is cut at sentence ends, lines and commas. A
piece is abstractive (new: hard to predict) if the summed entropy of its tokens is above `ratio`
times the mean over the pieces of its chain, else extractive (given: easy to predict). A run of
extractive pieces and the run of abstractive ones after it are a step, so that decomposer and
solver take turns with them.

There are two differences from that code, which cuts `1,000` in two and predicts single pieces
although its two models take turns: a comma between digits does not cut here, and neighbours of one
kind are one segment. Pieces keep their end marks, so nothing is lost unless short ones are dropped.
"""

import bisect
import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from distill_jax.records import Step
from distill_jax.text.written_equations import marks, plain_equations

# A full stop outside numbers, a line end, a comma outside numbers, and their repetitions.
_CUT = r"(?:(?<!\d)\.|\.(?![\d.])|\n|(?<!\d),|,(?!\d))"
_BORDER = re.compile(rf"{_CUT}(?:{_CUT}|\s)*+")


class Piece(NamedTuple):
    """The characters from `start` to `end` of a chain, with `words` words before its end mark."""

    start: int
    end: int
    words: int


class Segment(NamedTuple):
    """Neighbouring pieces of one kind, as in the chain."""

    text: str
    abstractive: bool


def pieces(chain: str) -> list[Piece]:
    """The chain cut into pieces that follow each other without gaps; none of an empty chain.

    A piece ends after its end mark and the white space there. End marks at the very beginning are
    part of the first piece.

    >>> text = "Kim has 1.5 books, or so.\\nThe answer is 1."
    >>> [text[piece.start : piece.end] for piece in pieces(text)]
    ['Kim has 1.5 books, ', 'or so.\\n', 'The answer is 1.']
    """
    found, start = [], 0
    for border in _BORDER.finditer(chain):
        words = len(chain[start : border.start()].split())
        if words:
            found.append(Piece(start, border.end(), words))
            start = border.end()
    if start < len(chain):
        found.append(Piece(start, len(chain), len(chain[start:].split())))
    return found


def piece_entropies(
    tokens: Sequence[str], entropies: Sequence[float], cut: Sequence[Piece]
) -> list[float]:
    """The sum, in nats, of the entropies of each piece's tokens.

    tokens     the text of each token; together they are the chain. A character of several tokens
               is the text of one of them, the others are ""
    entropies  float [T] nats: of the scorer's prediction of each token, teacher-forced
    cut        what `pieces` says of the chain

    A token belongs to the piece in which its first character stands that is not white space: that
    of ` Now` is `N`, though the space before it ends the piece before.

    Raises ValueError unless there is one entropy for each token.
    """
    ends = [piece.end for piece in cut]
    sums: list[list[float]] = [[] for _ in cut]
    offset = 0
    for token, entropy in zip(tokens, entropies, strict=True):
        first = offset + len(token) - len(token.lstrip())
        place = first if token.strip() else offset
        offset += len(token)
        if cut:
            sums[min(bisect.bisect_right(ends, place), len(cut) - 1)].append(entropy)
    return [math.fsum(each) for each in sums]


def abstractive(entropies: Sequence[float], ratio: float = 1.4) -> list[bool]:
    """Which pieces of a chain infer: those with more than `ratio` times the mean entropy.

    >>> abstractive([2.0, 1.0, 6.0, 3.0])  # the mean is 3, the threshold 4.2
    [False, False, True, False]
    """
    threshold = ratio * math.fsum(entropies) / max(1, len(entropies))
    return [entropy > threshold for entropy in entropies]


def segments(
    tokens: Sequence[str],
    entropies: Sequence[float],
    *,
    ratio: float = 1.4,
    least_words: int = 0,
    per_word: bool = False,
) -> list[Segment]:
    """The chain that the tokens make, cut where its kind changes.

    tokens       the text of each token, and
    entropies    float [T] nats, as `piece_entropies` wants them
    ratio        of the threshold to the mean
    least_words  pieces with fewer words are dropped before the mean is taken; 0 keeps all, so that
                 the segments make up the chain again; the paper's code has 4
    per_word     the entropy of a piece is divided by its words: the sum favours long pieces

    Raises ValueError unless there is one entropy for each token.
    """
    chain = "".join(tokens)
    cut = pieces(chain)
    sums = piece_entropies(tokens, entropies, cut)
    kept = [
        (piece, total / max(1, piece.words) if per_word else total)
        for piece, total in zip(cut, sums, strict=True)
        if piece.words >= least_words
    ]
    kinds = abstractive([entropy for _, entropy in kept], ratio)
    return merged([chain[piece.start : piece.end] for piece, _ in kept], kinds)


def by_equations(chain: str) -> list[Segment]:
    """The chain cut by what is known to infer: pieces that hold an equation."""
    texts = [chain[piece.start : piece.end] for piece in pieces(chain)]
    return merged(texts, list(map(holds_equation, texts)))


def holds_equation(text: str) -> bool:
    """Whether there is one, in a calculator mark or outside."""
    return bool(marks(text) or plain_equations(text))


def merged(texts: Sequence[str], kinds: Sequence[bool]) -> list[Segment]:
    """Neighbouring pieces of one kind as one segment.

    >>> merged(["a ", "b ", "c"], [False, False, True])
    [Segment(text='a b ', abstractive=False), Segment(text='c', abstractive=True)]
    """
    labelled = zip(texts, kinds, strict=True)
    return [
        Segment("".join(text for text, _ in run), kind)
        for kind, run in itertools.groupby(labelled, key=lambda each: each[1])
    ]


def rejoined(cut: Sequence[Segment]) -> str:
    """The chain of the kept parts; a student for comparison must be trained on it."""
    return "".join(segment.text for segment in cut).strip()


def steps_of(cut: Sequence[Segment]) -> tuple[Step, ...]:
    """Pairs of a part that restates and one that infers, as subquestions and solutions.

    An inference at the beginning has the subquestion "". A restating part at the end belongs to the
    last solution; a chain that only restates is one step, with the subquestion "". White space
    around each text is dropped.

    >>> steps_of([Segment("So 4. ", True), Segment("1 is lost, ", False), Segment("3 stay.", True)])
    (Step(subquestion='', solution='So 4.'), Step(subquestion='1 is lost,', solution='3 stay.'))
    """
    steps: list[Step] = []
    given = ""
    for segment in cut:
        if segment.abstractive:
            steps.append(Step(given.strip(), segment.text.strip()))
            given = ""
        else:
            given += segment.text
    if not given:
        return tuple(steps)
    *before, last = steps or [Step("", "")]
    return (*before, Step(last.subquestion, f"{last.solution} {given.strip()}".strip()))
