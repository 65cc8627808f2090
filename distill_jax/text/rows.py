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
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, shorten
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.text.transcript import SCHEMES, Scheme, render
from distill_jax.tracking import progress

NO_LOSS = -1
_AT_ONCE = 2048  # annotations that are encoded together


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
        made = _Growing()
        for row in rows:
            made.tokens += row.tokens
            made.writers += row.writers
            made.counts += [1] * len(row.tokens)
            made.lengths.append(len(row.tokens))
        made.close()
        problems, origins = [row.problem for row in rows], [row.origin for row in rows]
        return cls(made.arrays(), problems, origins, lambda index: rows[index].name)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        part = slice(self.offsets[index], self.offsets[index + 1])
        tokens, writers = self.tokens[part].tolist(), self.writers[part].tolist()
        return Row(tokens, writers, self.name(index), self.problems[index], self.origins[index])


class _Growing:
    """Rows of a student while they are made. Lists hold what is not in arrays yet: the tokens, the
    length of each row, and who writes how many tokens in a row."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.writers: list[int] = []
        self.counts: list[int] = []
        self.lengths: list[int] = []
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def close(self) -> None:
        """What was added becomes arrays."""
        counts = np.array(self.counts, np.int64)
        writers = np.repeat(np.array(self.writers, np.int8), counts)
        self._parts.append((np.array(self.tokens, np.int32), writers))
        for part in (self.tokens, self.writers, self.counts):
            part.clear()

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, writers, offsets of all that was closed; nothing is left here."""
        offsets = np.zeros(len(self.lengths) + 1, np.int64)
        np.cumsum(self.lengths, out=offsets[1:])
        tokens, writers = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int8)
        place = 0
        self._parts.reverse()
        while self._parts:  # each is freed before the next is copied
            some, theirs = self._parts.pop()
            tokens[place : place + len(some)] = some
            writers[place : place + len(some)] = theirs
            place += len(some)
        return tokens, writers, offsets


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


def build_row(
    prompt: list[int],
    turns: Sequence[tuple[str, list[int]]],
    view: View,
    scheme: Scheme,
    end_of_turn: int,
    end_of_text: int,
) -> Row:
    """The row of one view, behind its prompt.

    `turns` holds (writer, ids of the text) in order. With end of turn 1 and end of text 0:

    >>> from distill_jax.text.transcript import SCHEMES
    >>> socratic = SCHEMES["socratic"]
    >>> turns = [("decomposer", [7]), ("solver", [8, 9])]
    >>> both = frozenset(["decomposer", "solver"])
    >>> row = build_row([5, 6, 1], turns, View("asker", both, (0,)), socratic, 1, 0)
    >>> row.tokens
    [5, 6, 1, 7, 1, 8, 9, 1, 0]
    >>> row.writers
    [-1, -1, -1, 0, 0, -1, -1, -1, 0]
    >>> row = build_row([5, 6, 1], turns, View("answerer", both, (1,)), socratic, 1, 0)
    >>> row.tokens
    [5, 6, 1, 7, 1, 8, 9, 1]
    >>> row.writers
    [-1, -1, -1, -1, -1, 1, 1, 1]
    >>> chain = SCHEMES["chain"]
    >>> alone = View("s", frozenset(["solver"]), (0,))
    >>> row = build_row([5, 6, 1], [("solver", [8, 9])], alone, chain, 1, 0)
    >>> row.tokens, row.writers
    ([5, 6, 1, 8, 9, 0], [-1, -1, -1, 0, 0, 0])
    """
    tokens = list(prompt)
    writers, counts = [NO_LOSS], [len(prompt)]
    _add_turns((tokens, writers, counts), turns, view, scheme, (end_of_turn, end_of_text))
    by_token = [writer for writer, count in zip(writers, counts, strict=True) for _ in range(count)]
    return Row(tokens, by_token)


def _add_turns(
    row: tuple[list[int], list[int], list[int]],
    turns: Sequence[tuple[str, list[int]]],
    view: View,
    scheme: Scheme,
    marks: tuple[int, int],
) -> None:
    """Append to a row (its tokens, who writes, how many of them) what follows its prompt."""
    tokens, writers, counts = row
    end_of_turn, end_of_text = marks
    ender_spoke_last = bool(turns) and turns[-1][0] == scheme.ender
    last = len(turns) - 1 if ender_spoke_last else -1
    for index, (writer, text) in enumerate(turns):
        if writer not in view.sees:
            continue
        role = scheme.roles.index(writer)
        tokens += text
        tokens.append(end_of_text if index == last else end_of_turn)
        writers.append(role if role in view.writes else NO_LOSS)
        counts.append(len(text) + 1)
    ender = scheme.roles.index(scheme.ender)
    if not ender_spoke_last and ender in view.writes:
        tokens.append(end_of_text)
        writers.append(ender)
        counts.append(1)


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
    of = list(dict.fromkeys(view.student for view in views))
    seen_as = {student: [view for view in views if view.student == student] for student in of}
    made = {student: _Growing() for student in of}
    marks = tokenizer.end_of_turn, tokenizer.end_of_text
    encoded = _encoded(annotations, scheme, tokenizer)
    for count, (prompt, turns) in enumerate(
        progress.each(encoded, "making training rows", len(annotations)), start=1
    ):
        for student, own_views in seen_as.items():
            rows = made[student]
            for view in own_views:
                before = len(rows.tokens)
                rows.tokens += prompt
                rows.writers.append(NO_LOSS)
                rows.counts.append(len(prompt))
                row = rows.tokens, rows.writers, rows.counts
                _add_turns(row, turns, view, scheme, marks)
                rows.lengths.append(len(rows.tokens) - before)
        if count % _AT_ONCE == 0:
            for rows in made.values():
                rows.close()
    found = {}
    for student, rows in made.items():
        rows.close()
        each = len(seen_as[student])  # rows of one annotation
        of_row = annotations if each == 1 else [a for a in annotations for _ in range(each)]
        found[student] = Rows(
            rows.arrays(),
            [annotation.id for annotation in of_row],
            [annotation.origin for annotation in of_row],
            functools.partial(_name, of_row),
        )
    return found


_Encoded = tuple[list[int], list[tuple[str, list[int]]]]  # (prompt, [(writer, text)])


def _encoded(
    annotations: Sequence[Annotation], scheme: Scheme, tokenizer: Tokenizer
) -> Iterator[_Encoded]:
    """Prompt and turns of every annotation as ids, one part of them ahead of what is asked for."""
    parts = [annotations[i : i + _AT_ONCE] for i in range(0, len(annotations), _AT_ONCE)]
    with futures.ThreadPoolExecutor(1) as pool:
        waiting = collections.deque[futures.Future[list[_Encoded]]]()
        for part in parts:
            waiting.append(pool.submit(_encode_part, part, scheme, tokenizer))
            if len(waiting) == 2:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _encode_part(
    annotations: Sequence[Annotation], scheme: Scheme, tokenizer: Tokenizer
) -> list[_Encoded]:
    prompts = encode_prompts(annotations, scheme, tokenizer)
    transcripts = [render(annotation, scheme) for annotation in annotations]

    def place(index: int) -> str:
        both = zip(annotations, transcripts, strict=True)
        return [f"{row.id}: {writer}" for row, turns in both for writer, _ in turns][index]

    said = [text for turns in transcripts for _, text in turns]
    texts = iter(tokenizer.encode(said, place))
    return [
        (prompt, [(writer, next(texts)) for writer, _ in turns])
        for prompt, turns in zip(prompts, transcripts, strict=True)
    ]


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
