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
end of text; the others, and enders between turns, write the end of turn. Where turns have
headers: messages.py.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, shorten
from distill_jax.text import messages
from distill_jax.text.formats import FORMATS
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.text.transcript import SCHEMES, Scheme, before_answer, render

NO_LOSS = -1


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
    # Which tokens may be taken away while it is trained on (training/removal.py); [] = none.
    removable: list[bool] = dataclasses.field(default_factory=list)


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
    before, after = messages.around_question(scheme, tokenizer)
    mark = tokenizer.end_of_turn
    return [[*before, *prompt_tokens(question, mark), *after] for question in encoded]


def build_row(
    prompt: list[int],
    turns: Sequence[tuple[str, list[int]]],
    view: View,
    scheme: Scheme,
    marks: tuple[int, int],
    openings: Sequence[Sequence[int]] = (),
) -> Row:
    """The row of one view, behind its prompt.

    `turns` holds (writer, ids of the text) in order, `marks` are end of turn and end of text, and
    `openings`, if there are any, what stands before the turns of each role. With the marks 1 and 0:

    >>> from distill_jax.text.transcript import SCHEMES
    >>> socratic = SCHEMES["socratic"]
    >>> turns = [("decomposer", [7]), ("solver", [8, 9])]
    >>> both = frozenset(["decomposer", "solver"])
    >>> row = build_row([5, 6, 1], turns, View("asker", both, (0,)), socratic, (1, 0))
    >>> row.tokens
    [5, 6, 1, 7, 1, 8, 9, 1, 0]
    >>> row.writers
    [-1, -1, -1, 0, 0, -1, -1, -1, 0]
    >>> row = build_row([5, 6, 1], turns, View("answerer", both, (1,)), socratic, (1, 0))
    >>> row.tokens
    [5, 6, 1, 7, 1, 8, 9, 1]
    >>> row.writers
    [-1, -1, -1, -1, -1, 1, 1, 1]
    >>> asker = View("asker", both, (0,))
    >>> row = build_row([4, 2, 5, 6, 1], turns, asker, socratic, (1, 0), [[3, 4, 2], [3, 4, 22]])
    >>> row.tokens
    [4, 2, 5, 6, 1, 3, 4, 2, 7, 1, 3, 4, 22, 8, 9, 1, 3, 4, 2, 0]
    >>> row.writers
    [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0]
    >>> chain = SCHEMES["chain"]
    >>> alone = View("s", frozenset(["solver"]), (0,))
    >>> row = build_row([5, 6, 1], [("solver", [8, 9])], alone, chain, (1, 0))
    >>> row.tokens, row.writers
    ([5, 6, 1, 8, 9, 0], [-1, -1, -1, 0, 0, 0])
    """
    end_of_turn, end_of_text = marks
    tokens = list(prompt)
    writers = [NO_LOSS] * len(tokens)
    ender_spoke_last = bool(turns) and turns[-1][0] == scheme.ender
    said = [(scheme.roles.index(writer), [*text, end_of_turn]) for writer, text in turns]
    ender = scheme.roles.index(scheme.ender)
    if ender_spoke_last:
        said[-1][1][-1] = end_of_text
    elif ender in view.writes:
        said.append((ender, [end_of_text]))
    for role, written in said:
        if scheme.roles[role] in view.sees:
            opening = openings[role] if openings else ()
            tokens += [*opening, *written]
            writers += [NO_LOSS] * len(opening)
            writers += [role if role in view.writes else NO_LOSS] * len(written)
    return Row(tokens, writers)


def encode_rows(
    annotations: Sequence[Annotation],
    scheme: Scheme,
    views: Sequence[View],
    tokenizer: Tokenizer,
    removed_role: str = "",
) -> dict[str, list[Row]]:
    """The training rows of every student: one per annotation and view of this student.

    The words of `removed_role` are removable, but for end marks and the answer with its mark.
    Raises UserError, which names the row, for text that the tokenizer cannot hold.
    """
    prompts = encode_prompts(annotations, scheme, tokenizer)
    transcripts = [render(annotation, scheme) for annotation in annotations]

    def place(index: int) -> str:
        both = zip(annotations, transcripts, strict=True)
        return [f"{row.id}: {writer}" for row, turns in both for writer, _ in turns][index]

    said = [text for turns in transcripts for _, text in turns]
    texts = iter(tokenizer.encode(said, place))
    rows: dict[str, list[Row]] = {view.student: [] for view in views}
    marks = messages.end_marks(scheme, tokenizer)
    openings = messages.openings(scheme, tokenizer)
    for annotation, prompt, turns in zip(annotations, prompts, transcripts, strict=True):
        name = f"{annotation.id} ({shorten(annotation.question)!r})"
        encoded = [(writer, next(texts)) for writer, _ in turns]
        parts = [
            (
                writer,
                len(openings[scheme.roles.index(writer)]) if openings else 0,
                _words(text, ids, tokenizer) if writer == removed_role else 0,
                len(ids),
            )
            for (writer, text), (_, ids) in zip(turns, encoded, strict=True)
        ]
        for view in views:
            row = build_row(prompt, encoded, view, scheme, marks, openings)
            of: dict = {"name": name, "problem": annotation.id, "origin": annotation.origin}
            if removed_role:
                seen = [part for writer, *part in parts if writer in view.sees]
                of["removable"] = _removable(len(prompt), seen, len(row.tokens))
            rows[view.student].append(dataclasses.replace(row, **of))
    return rows


def _words(text: str, ids: list[int], tokenizer: Tokenizer) -> int:
    """How many of the tokens of a turn are not its answer with the mark."""
    if not (reasoning := before_answer(text)):
        return 0 if any(form.before_answer in text for form in FORMATS.values()) else len(ids)
    count = len(ids)
    while len(tokenizer.decode(ids[:count])) > len(reasoning):
        count -= 1
    return count


def _removable(prompt: int, turns: Sequence[Sequence[int]], length: int) -> list[bool]:
    """`Row.removable` of a row of so many tokens. Of each turn that it holds: the tokens of its
    opening, its words that may go, and all of its words.

    >>> "".join("-x"[flag] for flag in _removable(2, [(0, 2, 2), (1, 0, 3)], 11))
    '--xx-------'
    """
    flags = [False] * prompt
    for opening, words, written in turns:
        flags += [False] * opening + [place < words for place in range(written + 1)]
    return flags + [False] * (length - len(flags))


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
