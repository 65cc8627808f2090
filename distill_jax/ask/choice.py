"""A dialogue as the text of a message, token by token, up to the end that the request asks for.

A turn is a line. If there are several roles, it begins with the role's name. A turn without text,
which only ends the dialogue, is not shown:

    decomposer: How many are there after winning 8?
    solver: 4 + 8 = 12
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from distill_jax.ask.line import Event
from distill_jax.records import ENDED


@dataclasses.dataclass(frozen=True)
class Token:
    """A piece of a message. A line break has the log-probability of the end of the turn before it;
    the name of a role, which nobody chose, has 0; the last end has no text.
    """

    text: str
    log_probability: float | None  # natural log; None = not known, of a teacher


class Stops:
    """Passes tokens on up to the first of some texts, which may span several tokens.

    found  the text that occurred; None = none yet

    >>> stops = Stops(("ab",))
    >>> [[t.text for t in stops.pass_on(Token(text, 0.0))] for text in ("xa", "ca", "b")]
    [[], ['xa', 'c'], []]
    >>> stops.found
    'ab'
    """

    def __init__(self, texts: Sequence[str]):
        self.found: str | None = None
        self._texts = texts
        self._held: list[Token] = []  # a text may begin in the first of them

    def pass_on(self, token: Token) -> list[Token]:
        """The tokens that are certainly before the texts; none after one is found."""
        self._held.append(token)
        text = "".join(held.text for held in self._held)
        places = [(text.find(each), each) for each in self._texts if each in text]
        if places:
            before, self.found = min(places)
        else:
            before = len(text) - max((_begun(text, each) for each in self._texts), default=0)
        passed = []
        while self._held and len(self._held[0].text) <= before:
            passed.append(self._held.pop(0))
            before -= len(passed[-1].text)
        if self.found is not None and before:
            passed.append(dataclasses.replace(self._held[0], text=self._held[0].text[:before]))
        return passed

    def rest(self) -> list[Token]:
        """The tokens that were held back, after the end."""
        held, self._held = self._held, []
        return held


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next(n for n in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:n]))


class Choice:
    """Takes the events of one dialogue (ask/line.py).

    tokens   of the message so far; a possible beginning of a stop text is held back
    finish   why it has ended, in OpenAI's words, "stop" or "length"; None = it has not
    written  tokens of the students up to there, end marks included
    """

    def __init__(self, roles: Sequence[str], stop: Sequence[str], most_tokens: int | None):
        self.tokens: list[Token] = []
        self.finish: str | None = None
        self.written = 0
        self._named, self._stops, self._most_tokens = len(roles) > 1, Stops(stop), most_tokens
        self._ends: list[float | None] = []  # of turns that are over; not in the message yet
        self._turns: list[dict[str, Any]] = []  # as records.Turn
        self._pieces = 0  # of the last one that were taken
        self._end: Event = {}

    @property
    def text(self) -> str:
        """The message so far."""
        return "".join(token.text for token in self.tokens)

    @property
    def end(self) -> Event:
        """The event that ended it; a dialogue that the request ended has no answer."""
        return self._end

    def take(self, event: Event) -> list[Token]:
        """The new tokens of the message; none after it has ended."""
        known = len(self.tokens)
        if self.finish is None and event["event"] == "turn":
            self._take_turn(event)
        elif self.finish is None and event["event"] == "end":
            for log_probability in self._ends:
                self._say("", log_probability)
            self._finish("stop" if event["status"] in ENDED else "length", event)
        return self.tokens[known:]

    def _take_turn(self, event: Event) -> None:
        if event["index"] == len(self._turns):
            turn = {"role": event["role"], "text": "", "tokens": 0, "log_probability": 0.0}
            self._turns.append(turn)
            self._pieces = 0
        pieces = event["pieces"]
        for text, log_probability, tokens in pieces[self._pieces :]:
            if self._most_tokens is not None and self.written + tokens > self._most_tokens:
                self._cut("length", "token_cap", f"stopped after {self.written} tokens, as asked")
                return
            turn = self._turns[-1]
            turn["text"] += text
            turn["tokens"] += tokens
            turn["log_probability"] += log_probability or 0.0
            self.written += tokens
            self._pieces += 1
            if event["ended"] and self._pieces == len(pieces):
                self._ends.append(log_probability)
                return
            if self._pieces == 1:
                self._begin_line(event["role"])
            self._say(text, log_probability)
            if self._stops.found is not None:
                self._cut("stop", "stopped", f"stopped before {self._stops.found!r}, as asked")
                return

    def _begin_line(self, role: str) -> None:
        """Earlier ends of turns become a line break; a dialogue does not begin with one."""
        for number, log_probability in enumerate(self._ends, start=1):
            is_break = number == len(self._ends) and self._turns[0]["text"]
            self._say("\n" if is_break else "", log_probability)
        self._ends = []
        if self._named:
            self._say(f"{role}: ", 0.0)

    def _say(self, text: str, log_probability: float | None) -> None:
        if self._stops.found is None:
            self.tokens += self._stops.pass_on(Token(text, log_probability))

    def _cut(self, finish: str, status: str, note: str) -> None:
        end = {
            "answer": None, "status": status, "note": note, "turns": self._turns,
            "percentile": None, "unfamiliar": "",
        }  # fmt: skip
        self._finish(finish, end)

    def _finish(self, finish: str, end: Event) -> None:
        if self._stops.found is None:
            self.tokens += self._stops.rest()
        self.finish, self._end = finish, end
