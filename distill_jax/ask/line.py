"""One dialogue at a time on the device; others wait in line and are told how many are before them.

Events, as dicts that become JSON:

    {"event": "waiting", "ahead": 2}                  dialogues that come first; 0 = it begins
    {"event": "turn", "index": 0, "role": "solver", "pieces": [["4", -0.1, 1], ...], "ended": false}
                                                      a turn so far; told again as it grows; a piece
                                                      has text, log-probability, number of tokens
                                                      (null if it is not known: of a teacher, and of
                                                      one dialogue out of several)
    {"event": "asks", "who": "large", "text": ..., "costs": {"small": records.Cost}, "by": "answer",
     "uncertainty": 0.8, "threshold": 0.5}            of a cascade: others write what follows
    {"event": "end", "answer": "12" or null, "status": ..., "note": ..., "turns": [records.Turn],
     "percentile": 40 or null, "unfamiliar": "",      these two as in Solution
     "cascade": {"answered_by": "large", "by": "answer", "uncertainty": 0.8, "threshold": 0.5,
                 "costs": {"small": records.Cost, "large": ...}, "unanswered": "", "text": ...,
                 "first": {"answer", "status", "turns"} or null}}             only of a cascade
    {"event": "error", "message": ..., "user": true}  user: what was asked must change
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import threading
import traceback
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from distill_jax.ask.guard import Refused
from distill_jax.ask.question import Answering, credit, ending
from distill_jax.dialogues.live import LiveTurn
from distill_jax.errors import UserError
from distill_jax.records import Turn, shorten
from distill_jax.run.cascade import Cascade
from distill_jax.run.solution import Asks, Solution
from distill_jax.run.students import Students

MOST_WAITING = 32

Event = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Asked:
    """`said` are (role, text); `settings` of Students.solve (`question.RANGES`).

    `who`: whose dialogue `said` begins, in a cascade; they alone continue it.
    """

    question: str
    said: Sequence[tuple[str, str]] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    who: str = ""


class Ticket:
    """A place in the line. `events` ends with None if nobody listens any more."""

    def __init__(self, asked: Asked):
        self.asked = asked
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.given_up = threading.Event()


class Line:
    """Use it from one event loop; the students answer in a separate thread."""

    def __init__(self, students: Answering):
        self.students = students
        self._tickets: list[Ticket] = []  # the first one is on the device
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)

    def check_room(self) -> None:
        """Raise Refused if too many are waiting."""
        if len(self._tickets) > MOST_WAITING:
            raise Refused(429, f"{MOST_WAITING} are waiting already: try again later")

    def join(self, asked: Asked) -> Ticket:
        """A ticket whose events begin at once."""
        ticket = Ticket(asked)
        self._tickets.append(ticket)
        ticket.events.put_nowait({"event": "waiting", "ahead": len(self._tickets) - 1})
        loop = asyncio.get_running_loop()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(ticket.events.put_nowait, event)

        def work() -> None:
            try:
                if not ticket.given_up.is_set():
                    self._answer(ticket, tell)
            finally:
                loop.call_soon_threadsafe(self.leave, ticket)

        self._thread.submit(work)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The ticket is no longer needed; the device is free a few tokens later."""
        if not ticket.given_up.is_set():
            ticket.given_up.set()
            ticket.events.put_nowait(None)
        if ticket not in self._tickets:
            return
        self._tickets.remove(ticket)
        for ahead, other in enumerate(self._tickets):
            other.events.put_nowait({"event": "waiting", "ahead": ahead})

    async def events(self, asked: Asked, request: Request) -> AsyncGenerator[Event, None]:
        """Join the line; leave it when the dialogue ends, when the client of `request` is gone, or
        when nobody iterates any more."""
        ticket = self.join(asked)
        watching = asyncio.create_task(self._leave_when_gone(ticket, request))
        try:
            while (event := await ticket.events.get()) is not None:
                yield event
        finally:
            watching.cancel()
            self.leave(ticket)

    async def _leave_when_gone(self, ticket: Ticket, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.leave(ticket)

    def close(self) -> None:
        """End the running dialogue, forget the others; returns when the device is free."""
        for ticket in self._tickets:
            ticket.given_up.set()
        self._thread.shutdown(cancel_futures=True)

    def _answer(self, ticket: Ticket, tell) -> None:
        try:
            self._tell_dialogue(ticket, tell)
        except UserError as error:
            tell({"event": "error", "message": str(error), "user": True})
        except Exception:
            traceback.print_exc()
            message = "the students failed: the server's terminal says how"
            tell({"event": "error", "message": message, "user": False})

    def _tell_dialogue(self, ticket: Ticket, tell) -> None:
        asked, shown, students = ticket.asked, 0, self.students
        settings: dict[str, Any] = {"slots": 1, **asked.settings}
        if isinstance(students, Cascade) and asked.said:
            students = _one_of(students, asked.who or students.rule.first)
        if not isinstance(students, Cascade):
            settings["said"] = [asked.said]
        told = asks = False  # whether turns of whoever writes now were seen
        events = students.answer([asked.question], **settings)
        with contextlib.closing(events):
            for event in events:
                if ticket.given_up.is_set():
                    return
                if isinstance(event, Solution):
                    if not told and (event.first is not None or not asks):
                        _tell_turns(event.turns, tell)
                    tell(_end_event(event, students))
                    continue
                if isinstance(event, Asks):
                    if not told:
                        _tell_turns(event.first.turns, tell)
                    tell(_asks_event(event))
                    shown, told, asks = 0, False, True
                    continue
                told = told or bool(event.turns)
                for index in range(shown, len(event.turns)):
                    tell(_turn_event(index, event.turns[index]))
                last_ended = not event.turns or event.turns[-1].ended
                shown = len(event.turns) if last_ended else len(event.turns) - 1


def _one_of(cascade: Cascade, who: str) -> Students:
    """Those who continue a dialogue; raises UserError if they are not here."""
    if who not in cascade.students:
        known = ", ".join(cascade.students)
        raise UserError(f"who: nobody here is called {shorten(who)!r}: choose {known}")
    return cascade.students[who]


def _end_event(solution: Solution, students: Answering) -> Event:
    event = {
        "event": "end",
        **_outcome(solution),
        "note": ending(solution, students),
        "percentile": solution.percentile,
        "unfamiliar": solution.unfamiliar,
    }
    if isinstance(students, Cascade):
        rule, first = students.rule, solution.first
        event["cascade"] = {
            "answered_by": solution.answered_by,
            "by": rule.by,
            "uncertainty": (first or solution).uncertainties[rule.by],
            "threshold": rule.threshold,
            "costs": _costs(solution),
            "unanswered": solution.unanswered,
            "text": credit(solution, students),
            "first": None if first is None else _outcome(first),
        }
    return event


def _asks_event(event: Asks) -> Event:
    return {
        "event": "asks", "who": event.who, "by": event.by, "uncertainty": event.uncertainty,
        "threshold": event.threshold, "costs": _costs(event.first), "text": event.text,
    }  # fmt: skip


def _outcome(solution: Solution) -> dict[str, Any]:
    turns = [dataclasses.asdict(turn) for turn in solution.turns]
    return {"answer": solution.answer, "status": solution.status, "turns": turns}


def _costs(solution: Solution) -> dict[str, Any]:
    return {who: dataclasses.asdict(cost) for who, cost in solution.costs.items()}


def _tell_turns(turns: Sequence[Turn], tell) -> None:
    """Turns that nobody saw being written: a teacher's, or of one dialogue out of several."""
    for index, turn in enumerate(turns):
        pieces = [[turn.text, None, turn.tokens], ["", None, 0]]
        tell({"event": "turn", "index": index, "role": turn.role, "pieces": pieces, "ended": True})


def _turn_event(index: int, turn: LiveTurn) -> Event:
    pieces = [[piece.text, piece.log_probability, piece.tokens] for piece in turn.pieces]
    return {
        "event": "turn", "index": index, "role": turn.role, "pieces": pieces, "ended": turn.ended
    }  # fmt: skip
