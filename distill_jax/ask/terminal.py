"""A dialogue on the terminal, token by token and in colour; plain lines if stdout is a file.

What students write is untrusted: it is never markup, and no control character gets through.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from distill_jax.ask.question import Answering, check_question, credit, ending
from distill_jax.dialogues.answerer import Look
from distill_jax.dialogues.live import LiveTurn
from distill_jax.errors import Interrupted, UserError
from distill_jax.records import Turn
from distill_jax.run.cascade import Cascade
from distill_jax.run.solution import Asks, Solution
from distill_jax.tracking.terminal import printable

COLOURS = ("cyan", "green", "magenta", "yellow")
ANSWER, NOTE, UNSURE, BY = "answer", "note", "unsure", "by"


class Transcript:
    """Writes the turns of one dialogue as they come."""

    def __init__(self, console: Console, roles: Sequence[str]):
        """`roles`: who may speak, in turn order."""
        self._console = console
        self._styles = dict(zip(roles, COLOURS * len(roles), strict=False))
        self._width = max(map(len, (*roles, ANSWER)))
        self._turns = 0  # that are written to their end
        self._pieces: int | None = None  # of the turn after them; None = not begun

    def update(self, turns: Sequence[LiveTurn], whole: bool = False) -> None:
        """Write what is new. If nobody watches, only turns that have ended; `whole`: all."""
        for number, turn in enumerate(turns[self._turns :], start=self._turns + 1):
            if not (self._console.is_terminal or turn.ended or whole):
                return
            silent = self._pieces is None and turn.ended and not turn.text
            if silent and number == len(turns):
                return  # the decomposer ends the dialogue without text, or others will continue
            if self._pieces is None:
                self._label(turn.role, self._styles[turn.role])
            if silent:
                self._write("(nothing)", "dim")
                self._turns += 1
                continue
            new = "".join(piece.text for piece in turn.pieces[self._pieces or 0 :])
            self._write(self._indented(new), end="")
            self._pieces = len(turn.pieces)
            if turn.ended or whole:
                log_p = round(turn.log_probability, 2) + 0.0  # -0.0 + 0.0 is 0.0
                how_sure = f"   log p {log_p:.2f}" if self._console.is_terminal else ""
                self._write(how_sure, "dim")
                self._turns, self._pieces = self._turns + 1, None

    def asks(self, event: Asks) -> None:
        """A line that says that others are asked; what follows is their dialogue."""
        self._label(UNSURE, "yellow")
        self._write(self._indented(event.text), "yellow")
        self._turns, self._pieces = 0, None

    def tell(self, turns: Sequence[Turn]) -> None:
        """Turns that nobody saw being written: a teacher's, or of one dialogue out of several."""
        for turn in turns:
            self._label(turn.role, self._styles[turn.role])
            self._write(self._indented(turn.text))

    def end(self, solution: Solution, note: str, by: str = "") -> None:
        """The last lines: the answer, or why there is none, who gave it, and anything unusual."""
        self._label(ANSWER, "bold")
        if solution.answer is not None:
            self._write(self._indented(solution.answer), "bold", end="  " if note else "\n")
        if note:
            self._write(f"({note})", "yellow")
        if by:
            self._label(BY, "dim")
            self._write(self._indented(by), "dim")
        if solution.unfamiliar:
            self._label(NOTE, "dim")
            self._write(solution.unfamiliar, "dim")

    def _label(self, name: str, style: str) -> None:
        if self._console.is_terminal:
            self._write(f"{name:>{self._width}}", style, end="  ")
        else:
            self._write(f"{name}:", end=" ")

    def _indented(self, text: str) -> str:
        """The text with its lines indented, so that none begins in the column of role names."""
        return printable(text).replace("\n", "\n" + " " * (self._width + 2))

    def _write(self, text: str, style: str = "", end: str = "\n") -> None:
        self._console.print(Text(text, style), end=end, soft_wrap=True)


def answer(question: str, students: Answering, console: Console, samples: int = 1) -> Solution:
    """Let the students answer on the console; UserError if the question cannot be asked.

    Of several samples, which vote, only one that gives their answer is shown.
    """
    question = check_question(question, students)
    transcript = Transcript(console, students.roles)
    turns: tuple[LiveTurn, ...] = ()
    asked = False
    solution: Solution | None = None
    waiting = console.status("the students begin ...")
    if samples == 1:  # a cascade's rule may want several all the same
        events = students.answer([question], slots=1)
    else:
        events = students.answer([question], samples, look=False, slots=samples)
    with waiting, contextlib.closing(events):
        for event in events:
            if isinstance(event, Look) and not event.turns:
                continue  # a teacher is waited for
            waiting.stop()  # before a line is begun
            if isinstance(event, Solution):
                solution = event
            elif isinstance(event, Asks):
                transcript.update(turns, whole=True)
                if not turns:
                    transcript.tell(event.first.turns)
                transcript.asks(event)
                turns, asked = (), True
                waiting.start()
            else:
                turns = event.turns
                transcript.update(turns)
    assert solution is not None  # the iterator has come to its end
    transcript.update(turns, whole=True)
    if not turns and (solution.first is not None or not asked):
        transcript.tell(solution.turns)
    by = credit(solution, students) if isinstance(students, Cascade) else ""
    notes = [_votes(solution), ending(solution, students)]
    transcript.end(solution, ", ".join(filter(None, notes)), by)
    return solution


def _votes(solution: Solution) -> str:
    """How many of several dialogues give the answer; "" of one."""
    dialogues = sum(solution.votes.values())
    return "" if dialogues < 2 else f"{solution.votes[solution.answer]} of {dialogues} dialogues"


def converse(students: Answering, console: Console, samples: int = 1) -> None:
    """Ask for questions until there are no more. A bad one gives one line, and the next is asked
    for."""
    for question in _typed(console) if sys.stdin.isatty() else _lines(console):
        try:
            answer(question, students, console, samples)
        except UserError as error:
            console.print(Text(f"error: {printable(str(error))}", "red"), soft_wrap=True)
        console.print()


def _typed(console: Console) -> Iterator[str]:
    console.print(Text("Type a question; Ctrl-D or Ctrl-C ends.", "dim"))
    while True:
        try:
            question = console.input(Text("question> ", "bold"))
        except (EOFError, Interrupted):
            console.print()
            return
        if question.strip():
            yield question


def _lines(console: Console) -> Iterator[str]:
    """Questions from a file or pipe, one per line, printed again before their dialogues."""
    for line in sys.stdin:
        if line.strip():
            console.print(Text(f"question: {printable(line.strip())}"), soft_wrap=True)
            yield line
