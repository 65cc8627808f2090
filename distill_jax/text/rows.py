"""Training rows: the parts of a transcript that each student reads, and the tokens with a loss.

A role sees the turns that it reads and its own. Roles of one student that see the same turns share
a *view*: one row, one cache, one forward pass. For the question `Q R`, two steps `a : A` and `b :
B` and end marks `/` (end of turn) and `.` (end of text), the rows of a socratic annotation are

    decomposer reads solver, solver reads decomposer, two students:
        decomposer  Q R / a / A / b / B / .
        its loss          ^ ^     ^ ^     ^
        solver      Q R / a / A / b / B /
        its loss              ^ ^     ^ ^
    decomposer reads nothing:
        decomposer  Q R / a / b / .
        its loss          ^ ^ ^ ^ ^
    guidance, the plan `p`, decomposer reads planner and solver, solver reads decomposer:
        planner     Q R / p /
        its loss          ^ ^
        decomposer  Q R / p / a / A / b / B / .
        its loss              ^ ^     ^ ^     ^

The prompt of sampling, `Q R /`, is a prefix of every row. Only the ender of a scheme writes the
end of text; the others, and enders between turns, write the end of turn. For turns with headers see
messages.py.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, shorten
from distill_jax.text import messages
from distill_jax.text.formats import FORMATS
from distill_jax.text.row_arrays import NO_LOSS, GrowingRows, Row, RowArrays, Rows, interleaved
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.text.transcript import SCHEMES, Scheme, Transcript, Turns, before_answer, render
from distill_jax.tracking import progress

__all__ = [
    "NO_LOSS",
    "Row",
    "Rows",
    "View",
    "encode_prompts",
    "encode_rows",
    "encode_transcripts",
    "make_views",
]

_AT_ONCE = 1024  # annotations that are encoded together
_PROMPT = -1


@dataclasses.dataclass(frozen=True)
class View:
    """A student, and the roles whose turns it sees."""

    student: str
    sees: frozenset[str]
    writes: tuple[int, ...]  # indices into scheme.roles of the roles that write in this view


def make_views(
    scheme: Scheme, students: Mapping[str, str], reads: Mapping[str, Sequence[str]]
) -> list[View]:
    """The views of a scheme, in the order of its roles; `students` and `reads` are keyed by role.

    Keys of roles that the scheme does not have are ignored, so that `--config.scheme` alone can be
    changed. Raises UserError for a role without student, and if nobody reads a role that only opens
    the dialogue.
    """
    writes: dict[tuple[str, frozenset[str]], list[int]] = {}
    for index, role in enumerate(scheme.roles):
        if role not in students or role not in reads:
            raise UserError(f"config.students and config.reads need a line for role {role!r}")
        sees = frozenset(reads[role]) & frozenset(scheme.roles) | {role}
        writes.setdefault((students[role], sees), []).append(index)
    for role in scheme.speak_once:
        if not any(role in reads[other] for other in scheme.roles):
            raise UserError(
                f"config.scheme={scheme.name!r}: nobody reads the {role}: add it to "
                f"config.reads.{scheme.ender}"
            )
    return [View(student, sees, tuple(roles)) for (student, sees), roles in writes.items()]


def seeing_more(views: Sequence[View], roles: Sequence[str]) -> list[View]:
    """Views in which the turns of `roles` are seen as well; row by row they have the same turns to
    learn."""
    return [dataclasses.replace(view, sees=view.sees | frozenset(roles)) for view in views]


def mistakes(reads: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with config.reads: a role that no scheme has."""
    known = sorted({role for scheme in SCHEMES.values() for role in scheme.roles})
    return [
        f"config.reads.{role} names {other!r}: choose from {', '.join(known)}"
        for role, others in reads.items()
        for other in others
        if other not in known
    ]


def prompt_tokens(question: list[int], end_of_turn: int) -> list[int]:
    """The ids that every role sees before the first turn: the question and an end of turn."""
    return [*question, end_of_turn]


def encode_prompts(
    asked: Sequence[Annotation] | Sequence[Problem], scheme: Scheme, tokenizer: Tokenizer
) -> list[list[int]]:
    """The prompt of every question, in the format of the scheme.

    Raises UserError, which names the row, for text that the tokenizer cannot hold.
    """
    form = scheme.text_format
    questions = [form.question(row.question) for row in asked]
    encoded = tokenizer.encode(questions, lambda index: f"{asked[index].id}: question")
    if not form.question_is_a_turn:
        return encoded
    before, after = messages.around_question(scheme, tokenizer)
    mark = tokenizer.end_of_turn
    return [[*before, *prompt_tokens(question, mark), *after] for question in encoded]


def encode_rows(
    annotations: Sequence[Annotation],
    scheme: Scheme,
    views: Sequence[View],
    tokenizer: Tokenizer,
    removed_role: str = "",
) -> dict[str, Rows]:
    """The training rows of every student: one per annotation and view of this student.

    The words of `removed_role` are removable, but for end marks and the answer with its mark. While
    one part of the annotations becomes rows, the tokenizer, which needs no Python, is at work on
    the next. Raises UserError, which names the row, for text that the tokenizer cannot hold.
    """

    def transcripts(some: Sequence[Annotation]) -> list[Transcript]:
        return [Transcript(each.id, each.question, render(each, scheme)) for each in some]

    encoder = functools.partial(
        _encode_part, scheme=scheme, tokenizer=tokenizer, removed_role=removed_role
    )
    return _encoded(annotations, lambda some: encoder(transcripts(some)), scheme, views)


def encode_transcripts(
    transcripts: Sequence[Transcript],
    scheme: Scheme,
    views: Sequence[View],
    tokenizer: Tokenizer,
) -> dict[str, Rows]:
    """The rows of every student, as `encode_rows` makes them, of dialogues whose turns are given.

    The empty turn with which the sampler ends a dialogue may be there or not. One that is not
    finished, such as `a : A` where a limit stopped the solver, ends without a mark:

        solver      Q R / a / A
        its loss              ^
    """
    end = scheme.ender, ""
    without_end = [
        each._replace(turns=each.turns[:-1])
        if each.finished and each.turns[-1:] == [end] and each.turns[1:]
        else each
        for each in transcripts
    ]
    encoder = functools.partial(_encode_part, scheme=scheme, tokenizer=tokenizer, removed_role="")
    return _encoded(without_end, encoder, scheme, views)


def _encoded(
    dialogues: Sequence[Annotation] | Sequence[Transcript],
    encoder: Callable[[Any], "_Pieces"],
    scheme: Scheme,
    views: Sequence[View],
) -> dict[str, Rows]:
    own = {view.student: [v for v in views if v.student == view.student] for view in views}
    found = {student: GrowingRows() for student in own}
    with contextlib.closing(_ahead(encoder, dialogues)) as encoded:
        title, parts = "making training rows", -(-len(dialogues) // _AT_ONCE)
        for pieces in progress.each(encoded, title, parts, of_each=_AT_ONCE):
            for student, some in own.items():
                found[student].add(interleaved([pieces.of_view(v, scheme) for v in some]))
    rows = {}
    for student, some in own.items():
        of_row: Sequence[Any] = dialogues
        if len(some) > 1:
            of_row = [each for each in dialogues for _ in some]
        rows[student] = Rows(
            found[student].arrays(),
            [each.id for each in of_row],
            [each.origin for each in of_row],
            functools.partial(_name, of_row),
        )
    return rows


class _Pieces(NamedTuple):
    """Dialogues as arrays, piece by piece: a prompt, the opening of a turn, a turn with its mark.

    For the question `5 6`, a turn `7` of role 0 and a turn `8 9` of role 1, where role 0 may end
    the text, with end of turn 1 and end of text 0, and no openings:

        tokens  5 6 1  7 1  8 9 1  0
        counts      3    2      3  1
        kinds      -1    0      1  2
        first       0

    kinds      -1 = of a prompt; with R roles: role r's turn is r, and the end of a text that nobody
               spoke before is R; the openings of these are R + 1 more
    first      the piece with which each dialogue begins
    removable  of every token; empty if none is
    """

    tokens: np.ndarray
    counts: np.ndarray
    kinds: np.ndarray
    first: np.ndarray
    removable: np.ndarray

    def of_view(self, view: View, scheme: Scheme) -> RowArrays:
        """The rows of one view.

        >>> from distill_jax.text.transcript import SCHEMES
        >>> numbers = [5, 6, 1, 7, 1, 8, 9, 1, 0], [3, 2, 3, 1], [-1, 0, 1, 2], [0], []
        >>> pieces = _Pieces(*map(np.array, numbers))
        >>> both = frozenset(["decomposer", "solver"])
        >>> for writes in (0,), (1,):
        ...     rows = pieces.of_view(View("s", both, writes), SCHEMES["socratic"])
        ...     print(rows.tokens.tolist(), rows.writers.tolist(), rows.lengths.tolist())
        [5, 6, 1, 7, 1, 8, 9, 1, 0] [-1, -1, -1, 0, 0, -1, -1, -1, 0] [9]
        [5, 6, 1, 7, 1, 8, 9, 1] [-1, -1, -1, -1, -1, 1, 1, 1] [8]
        """
        ender = scheme.roles.index(scheme.ender)
        sees = [*(role in view.sees for role in scheme.roles), ender in view.writes]
        learns = [i if i in view.writes else NO_LOSS for i in range(len(scheme.roles))]
        # By kind; that of prompts, -1, is the last one.
        shown = np.array([*sees, *sees, True])[self.kinds]
        writers = np.array([*learns, ender, *[NO_LOSS] * (len(sees) + 1)], np.int8)[self.kinds]
        counts = self.counts * shown
        tokens, removable = self.tokens, self.removable
        if not shown.all():
            by_token = np.repeat(shown, self.counts)
            tokens = tokens[by_token]
            removable = removable[by_token] if len(removable) else removable
        lengths = np.add.reduceat(counts, self.first)
        return RowArrays(tokens, np.repeat(writers, counts), removable, lengths)


def _ahead(
    encode: Callable[[Any], _Pieces], dialogues: Sequence[Any]
) -> Generator[_Pieces, None, None]:
    """`encode` of the dialogues, part by part, one part ahead of what is asked for."""
    with futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque[futures.Future[_Pieces]]()
        for start in range(0, len(dialogues), _AT_ONCE):
            waiting.append(pool.submit(encode, dialogues[start : start + _AT_ONCE]))
            if len(waiting) == 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_Piece = tuple[int, Sequence[int] | int, int]  # kind, tokens or number of the text, mark or NO_MARK
_NO_MARK = -1


def _encode_part(
    transcripts: Sequence[Transcript], *, scheme: Scheme, tokenizer: Tokenizer, removed_role: str
) -> _Pieces:
    pieces: list[_Piece] = []
    texts: list[str] = []
    writers: list[str] = []  # of each text; "question" for a question
    of: list[int] = []  # each text's dialogue
    first: list[int] = []
    layout = _Layout(scheme, tokenizer)
    for index, (_, question, turns, finished, _) in enumerate(transcripts):
        first.append(len(pieces))
        pieces += layout.prompt(len(texts))
        pieces += layout.turns(len(texts) + 1, turns, finished)
        texts.append(scheme.text_format.question(question))
        texts += [text for _, text in turns]
        writers.append("question")
        writers += [writer for writer, _ in turns]
        of += [index] * (len(turns) + 1)
    encoded = tokenizer.encode(texts, lambda text: f"{transcripts[of[text]].id}: {writers[text]}")
    ids = [encoded[given] if isinstance(given, int) else given for _, given, _ in pieces]
    kinds = np.array([kind for kind, _, _ in pieces])
    marks = np.array([mark for _, _, mark in pieces], np.int32)
    marked = marks != _NO_MARK
    counts = np.fromiter(map(len, ids), np.int64, len(ids)) + marked
    is_mark = np.full(counts.sum(), False)
    is_mark[(np.cumsum(counts) - 1)[marked]] = True
    tokens = np.empty(len(is_mark), np.int32)
    tokens[is_mark] = marks[marked]
    tokens[~is_mark] = np.fromiter(itertools.chain.from_iterable(ids), np.int32)
    removable = np.zeros(0, bool)
    if removed_role:
        words = [
            _words(texts[given], encoded[given], tokenizer)
            if isinstance(given, int) and writers[given] == removed_role
            else 0
            for _, given, _ in pieces
        ]
        place = np.arange(len(tokens)) - np.repeat(np.cumsum(counts) - counts, counts)
        removable = place < np.repeat(words, counts)
    return _Pieces(tokens, counts, kinds, np.array(first), removable)


class _Layout:
    """Which pieces prompts and turns have in a scheme and its text format."""

    def __init__(self, scheme: Scheme, tokenizer: Tokenizer):
        self._numbers = {role: number for number, role in enumerate(scheme.roles)}
        self._ender = scheme.ender
        self._before: Sequence[int] = ()
        self._after: Sequence[int] = ()
        self._question_mark = _NO_MARK
        if scheme.text_format.question_is_a_turn:
            self._before, self._after = messages.around_question(scheme, tokenizer)
            self._question_mark = tokenizer.end_of_turn
        self._openings = messages.openings(scheme, tokenizer)
        self._end_of_turn, self._end_of_text = messages.end_marks(scheme, tokenizer)

    def prompt(self, text: int) -> list[_Piece]:
        """That of the question with this number."""
        question: _Piece = (_PROMPT, text, self._question_mark)
        if not self._before and not self._after:
            return [question]
        before, after = (_PROMPT, self._before, _NO_MARK), (_PROMPT, self._after, _NO_MARK)
        return [before, question, after]

    def turns(self, text: int, turns: Turns, finished: bool) -> list[_Piece]:
        """Those whose texts have numbers from `text` on; the last one ends the text, if its writer
        may, and else a piece of its own does. Nothing ends one that is not `finished`."""
        pieces: list[_Piece] = [
            (self._numbers[writer], number, self._end_of_turn)
            for number, (writer, _) in enumerate(turns, start=text)
        ]
        if not finished:
            kind, number, _ = pieces[-1]
            pieces[-1] = kind, number, _NO_MARK
        elif turns[-1][0] == self._ender:
            kind, number, _ = pieces[-1]
            pieces[-1] = kind, number, self._end_of_text
        else:
            pieces.append((len(self._numbers), (), self._end_of_text))
        return self._opened(pieces) if self._openings else pieces

    def _opened(self, pieces: list[_Piece]) -> list[_Piece]:
        roles = len(self._numbers)
        openings = [*self._openings, self._openings[self._numbers[self._ender]]]
        return [
            each
            for piece in pieces
            for each in ((roles + 1 + piece[0], openings[piece[0]], _NO_MARK), piece)
        ]


def _name(dialogues: Sequence[Annotation] | Sequence[Transcript], index: int) -> str:
    each = dialogues[index]
    return f"{each.id} ({shorten(each.question)!r})"


def _words(text: str, ids: list[int], tokenizer: Tokenizer) -> int:
    """How many of the tokens of a turn are not its answer with the mark."""
    if not (reasoning := before_answer(text)):
        return 0 if any(form.before_answer in text for form in FORMATS.values()) else len(ids)
    count = len(ids)
    while len(tokenizer.decode(ids[:count])) > len(reasoning):
        count -= 1
    return count


def show_row(row: Row, tokenizer: Tokenizer, roles: Sequence[str]) -> str:
    """The row as text; the text between `[role>` and `]` is learned."""
    parts = []
    writer = NO_LOSS
    for token, next_writer in zip(row.tokens, row.writers, strict=True):
        if next_writer != writer:
            closing = "]" if writer != NO_LOSS else ""
            parts.append(closing + (f"[{roles[next_writer]}>" if next_writer != NO_LOSS else ""))
            writer = next_writer
        parts.append(tokenizer.decode([token]))
    return "".join(parts) + ("]" if writer != NO_LOSS else "")
