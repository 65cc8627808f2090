"""Training rows: what each student reads of a transcript, and where its loss counts.

A role sees what it reads and what it wrote itself. Roles that share student and sight share a
*view*: one row, one cache, one forward pass. For the question `Q R`, two steps `a : A` and `b : B`
and end marks `/` (end of turn) and `.` (end of text), the rows of a socratic annotation are

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
end of text; the others, and enders between turns, write the end of turn.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, shorten
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.text.transcript import SCHEMES, Scheme, render
from distill_jax.tracking import progress

NO_LOSS = -1
_AT_ONCE = 1024  # annotations that are encoded together


@dataclasses.dataclass(frozen=True)
class View:
    """One way of looking at a transcript: a student and whose turns it sees."""

    student: str
    sees: frozenset[str]
    writes: tuple[int, ...]  # indices into scheme.roles of the roles that write in this view


@dataclasses.dataclass(frozen=True)
class Row:
    """One training row. `writers[i]` is the role index whose loss counts at token i, or NO_LOSS."""

    tokens: list[int]
    writers: list[int]
    # Which annotation it is of, for messages: its id and how its question begins.
    name: str = dataclasses.field(default="", compare=False)
    problem: str = dataclasses.field(default="", compare=False)  # its id
    origin: str = dataclasses.field(default="", compare=False)  # Annotation.origin


class Rows(Sequence[Row]):
    """All rows of a student: a sequence of `Row` that takes no more memory than their numbers.

    tokens    int32 [all tokens]  the rows one after the other
    writers   int8 [all tokens]
    offsets   int64 [rows + 1]    row i is tokens[offsets[i]:offsets[i + 1]]
    problems  of each row the id of its problem
    origins   of each row `Annotation.origin`
    """

    def __init__(
        self,
        arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
        problems: Sequence[str],
        origins: Sequence[str],
        name: Callable[[int], str],
    ):
        """`arrays` are tokens, writers and offsets; `name` says which annotation a row is of."""
        self.tokens, self.writers, self.offsets = arrays
        self.problems, self.origins, self.name = problems, origins, name

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Rows":
        """The same rows; they themselves if they are held so already."""
        if isinstance(rows, Rows):
            return rows
        tokens = np.array([token for row in rows for token in row.tokens], np.int32)
        writers = np.array([writer for row in rows for writer in row.writers], np.int8)
        offsets = _offsets([len(row.tokens) for row in rows])
        problems, origins = [row.problem for row in rows], [row.origin for row in rows]
        return cls((tokens, writers, offsets), problems, origins, lambda index: rows[index].name)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        part = slice(self.offsets[index], self.offsets[index + 1])
        tokens, writers = self.tokens[part].tolist(), self.writers[part].tolist()
        return Row(tokens, writers, self.name(index), self.problems[index], self.origins[index])


def _offsets(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def make_views(
    scheme: Scheme, students: Mapping[str, str], reads: Mapping[str, Sequence[str]]
) -> list[View]:
    """The views of a scheme, in the order of its roles; `students` and `reads` are keyed by role.

    Keys of roles that the scheme does not have are ignored, so that `--config.scheme` alone can be
    changed. Raises UserError for a role without student, and where a role that only opens the
    dialogue is read by nobody.
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
    """What every role sees before the first turn: the question and an end of turn."""
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
    return [prompt_tokens(question, tokenizer.end_of_turn) for question in encoded]


def encode_rows(
    annotations: Sequence[Annotation],
    scheme: Scheme,
    views: Sequence[View],
    tokenizer: Tokenizer,
) -> dict[str, Rows]:
    """The training rows of every student: one per annotation and view of this student.

    While one part of the annotations becomes rows, the tokenizer, which needs no Python, is at work
    on the next. Raises UserError, which names the row, for text that the tokenizer cannot hold.
    """
    own = {view.student: [v for v in views if v.student == view.student] for view in views}
    parts: dict[str, list[_Part]] = {student: [] for student in own}
    with contextlib.closing(_encoded(annotations, scheme, tokenizer)) as encoded:
        title, parts_of_all = "making training rows", -(-len(annotations) // _AT_ONCE)
        for pieces in progress.each(encoded, title, parts_of_all, of_each=_AT_ONCE):
            for student, some in own.items():
                parts[student].append(_interleaved([pieces.of_view(view, scheme) for view in some]))
    found = {}
    for student, some in own.items():
        of_row = annotations
        if len(some) > 1:
            of_row = [annotation for annotation in annotations for _ in some]
        found[student] = Rows(
            _joined(parts.pop(student)),
            [annotation.id for annotation in of_row],
            [annotation.origin for annotation in of_row],
            functools.partial(_name, of_row),
        )
    return found


_Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # tokens, writers, length of each row
_PROMPT = -1


class _Pieces(NamedTuple):
    """Dialogues as arrays: their pieces, a prompt or a turn each, one after the other.

    For the question `5 6`, a turn `7` of role 0 and a turn `8 9` of role 1, where role 0 may end
    the text, with end of turn 1 and end of text 0:

        tokens  5 6 1  7 1  8 9 1  0
        counts      3    2      3  1
        roles      -1    0      1  2    2 = the end of text, which has no turn
        first       0                   piece with which each dialogue begins
    """

    tokens: np.ndarray
    counts: np.ndarray
    roles: np.ndarray
    first: np.ndarray

    def of_view(self, view: View, scheme: Scheme) -> _Part:
        """What one view has of every dialogue.

        >>> from distill_jax.text.transcript import SCHEMES
        >>> pieces = _Pieces(*map(np.array, ([5, 6, 1, 7, 1, 8, 9, 1, 0], [3, 2, 3, 1],
        ...                                  [-1, 0, 1, 2], [0])))
        >>> both = frozenset(["decomposer", "solver"])
        >>> for writes in (0,), (1,):
        ...     part = pieces.of_view(View("s", both, writes), SCHEMES["socratic"])
        ...     print(*(array.tolist() for array in part))
        [5, 6, 1, 7, 1, 8, 9, 1, 0] [-1, -1, -1, 0, 0, -1, -1, -1, 0] [9]
        [5, 6, 1, 7, 1, 8, 9, 1] [-1, -1, -1, -1, -1, 1, 1, 1] [8]
        """
        # By role, then the end of text, then (at -1) the prompt.
        ender = scheme.roles.index(scheme.ender)
        ends = ender in view.writes
        seen = np.array([role in view.sees for role in scheme.roles] + [ends, True])
        roles = range(len(scheme.roles))
        learned = [role if role in view.writes else NO_LOSS for role in roles]
        writers = np.array([*learned, ender, NO_LOSS], np.int8)[self.roles]
        shown = seen[self.roles]
        counts = self.counts * shown
        tokens = self.tokens if shown.all() else self.tokens[np.repeat(shown, self.counts)]
        return tokens, np.repeat(writers, counts), np.add.reduceat(counts, self.first)


def _encoded(
    annotations: Sequence[Annotation], scheme: Scheme, tokenizer: Tokenizer
) -> Iterator[_Pieces]:
    """The annotations part by part; the next part is encoded while one is looked at."""
    parts = [annotations[i : i + _AT_ONCE] for i in range(0, len(annotations), _AT_ONCE)]
    with futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque[futures.Future[_Pieces]]()
        for part in parts:
            waiting.append(pool.submit(_encode_part, part, scheme, tokenizer))
            if len(waiting) == 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _encode_part(
    annotations: Sequence[Annotation], scheme: Scheme, tokenizer: Tokenizer
) -> _Pieces:
    form, number = scheme.text_format, {role: i for i, role in enumerate(scheme.roles)}
    texts: list[str] = []
    roles: list[int] = []  # of every piece
    first: list[int] = []
    of: list[int] = []  # every text's annotation
    for index, annotation in enumerate(annotations):
        turns = render(annotation, scheme)
        first.append(len(roles))
        texts.append(form.question(annotation.question))
        roles.append(_PROMPT)
        for writer, text in turns:
            texts.append(text)
            roles.append(number[writer])
        of += [index] * (len(turns) + 1)
        if turns[-1][0] != scheme.ender:
            texts.append("")
            roles.append(len(scheme.roles))
            of.append(index)

    def place(index: int) -> str:
        writer = "question" if roles[index] == _PROMPT else scheme.roles[roles[index]]
        return f"{annotations[of[index]].id}: {writer}"

    ids = tokenizer.encode(texts, place)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    role, starts = np.array(roles), np.array(first)
    marks = np.full(len(ids), tokenizer.end_of_turn, np.int32)
    ender = number[scheme.ender]
    last = np.append(starts[1:], len(ids)) - 1
    marks[last[(role[last] == ender) | (role[last] == len(scheme.roles))]] = tokenizer.end_of_text
    marked = np.full(len(ids), True)
    if not form.question_is_a_turn:
        marked[starts] = False
    counts = lengths + marked
    is_mark = np.full(counts.sum(), False)
    is_mark[(np.cumsum(counts) - 1)[marked]] = True
    tokens = np.empty(len(is_mark), np.int32)
    tokens[is_mark] = marks[marked]
    tokens[~is_mark] = np.fromiter(itertools.chain.from_iterable(ids), np.int32, lengths.sum())
    return _Pieces(tokens, counts, role, starts)


def _interleaved(views: list[_Part]) -> _Part:
    """The rows of several views of the same dialogues, those of a dialogue side by side."""
    if len(views) == 1:
        return views[0]
    split = [
        [np.split(array, np.cumsum(lengths)[:-1]) for array in (tokens, writers)]
        for tokens, writers, lengths in views
    ]
    tokens, writers = (
        np.concatenate([row for rows in zip(*arrays, strict=True) for row in rows])
        for arrays in zip(*split, strict=True)
    )
    return tokens, writers, np.stack([lengths for _, _, lengths in views], axis=1).ravel()


def _joined(parts: list[_Part]) -> _Part:
    """Tokens, writers and offsets of all; each part is freed before the next is copied."""
    offsets = _offsets(np.concatenate([lengths for _, _, lengths in parts]) if parts else [])
    tokens, writers = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int8)
    end = int(offsets[-1])
    while parts:
        some, theirs, _ = parts.pop()
        tokens[end - len(some) : end], writers[end - len(some) : end] = some, theirs
        end -= len(some)
    return tokens, writers, offsets


def _name(annotations: Sequence[Annotation], index: int) -> str:
    annotation = annotations[index]
    return f"{annotation.id} ({shorten(annotation.question)!r})"


def show_row(row: Row, tokenizer: Tokenizer, roles: Sequence[str]) -> str:
    """The row as text, what a role is trained to write between `[role>` and `]`."""
    parts = []
    writer = NO_LOSS
    for token, next_writer in zip(row.tokens, row.writers, strict=True):
        if next_writer != writer:
            closing = "]" if writer != NO_LOSS else ""
            parts.append(closing + (f"[{roles[next_writer]}>" if next_writer != NO_LOSS else ""))
            writer = next_writer
        parts.append(tokenizer.decode([token]))
    return "".join(parts) + ("]" if writer != NO_LOSS else "")
