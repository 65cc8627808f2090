"""One sample of a file in any layout."""

from typing import Any, NamedTuple

from distill_jax.records import Step

Row = dict[str, Any]


class Generation(NamedTuple):
    """One sample of a teacher's or of a student's.

    prompt         the question, alone or at the end of a prompt
    text           the sample's text; without `steps`, teacher/reply.py reads it
    answer         the final answer if the file has it beside the text, else None
    steps          if the file has them
    finish_reason  why the teacher stopped; None if the row has no such field, "" if that is null
    source         if the row has one
    thought        the thought, if the file has it beside the text
    objection      (reason, detail) why it cannot be learned, if the row says so
    """

    prompt: str
    text: str
    answer: str | None = None
    steps: tuple[Step, ...] | None = None
    finish_reason: str | None = None
    source: dict[str, Any] | None = None
    thought: str = ""
    objection: tuple[str, str] | None = None


class Malformed(ValueError):
    """A row that lacks what its format needs. The message is one line."""
