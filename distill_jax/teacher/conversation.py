"""The requests about one problem: one call, two calls (zero-shot chain of thought), or many turns.

Nothing is sent here. `next_request` says what to send after the replies so far, so the same code
counts missing answers, sends requests, and reads answers from the cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill_jax.records import Problem
from distill_jax.teacher.finish_reasons import incomplete
from distill_jax.teacher.prompt import Prompt
from distill_jax.teacher.reply import Reply, parse_chain, parse_pairs, with_thought
from distill_jax.teacher.response import one_line
from distill_jax.teacher.settings import TeacherSettings
from distill_jax.teacher.thoughts import Spoken, spans, split_thought, without_marks
from distill_jax.text.formats import MARKER
from distill_jax.text.transcript import SCHEMES, parse

MAX_TURNS = 32  # turns of a student that plays both roles; the longest in GSM8K have 22


class Question(NamedTuple):
    """A problem as the teacher sees it. `steps` are gold solutions, () if there are none.

    `is_dev`: students are measured on it, and not trained on it.
    """

    problem: Problem
    steps: tuple[str, ...]
    is_dev: bool = False


class Conversation:
    """How a prompt is put to a model."""

    def __init__(self, prompt: Prompt, settings: TeacherSettings):
        self.prompt = prompt
        # A chat ends by itself. A stop text in a thought would end the reply there, and OpenAI's
        # reasoning models refuse them. Turns of students have no thoughts.
        stops = settings.api == "completions" or prompt.format == "turns"
        self._parameters = settings.parameters(prompt.stop if stops else ())
        self._settings = settings

    def next_request(self, question: Question, replies: Sequence[str]) -> dict[str, Any] | None:
        """The request to send after `replies`, or None if the conversation is over."""
        if self._is_over(replies):
            return None
        what = question.problem.question, question.steps, question.problem.answer, replies
        base: dict[str, Any] = {"model": self._settings.model}
        if self._settings.api == "chat":
            base["messages"] = self.prompt.messages(*what)
        else:
            base["prompt"] = self.prompt.text(*what)
        return base | self._parameters

    def _is_over(self, replies: Sequence[str]) -> bool:
        if self.prompt.format != "turns":
            return len(replies) == len(self.prompt.calls)
        if not replies:
            return False
        # An empty turn of the decomposer ends a dialogue, and so does a solution with the mark.
        return MARKER in replies[-1] or not replies[-1].strip() or len(replies) >= MAX_TURNS

    def cut(self, text: str) -> tuple[str, bool]:
        """(text before the first stop text outside of thoughts, whether there was one)."""
        for span in spans(text)[0]:
            places = [text.find(stop, span.start, span.end) for stop in self.prompt.stop]
            found = [place for place in places if place >= 0]
            if found and not span.is_thought:
                return text[: min(found)], True
        return text, False

    def objection(self, answer: Mapping[str, Any], first: bool) -> tuple[str, str] | None:
        """(reason, detail) why a row of the cache is not a complete answer, or None if it is one.

        `first`: it is the first reply of its conversation. A later turn of a student may be empty.
        """
        if answer.get("refusal"):
            return "refused", one_line(answer["refusal"])
        text, was_cut = self.cut(answer["text"])
        # A server that ignores `stop` continues after the reply until its tokens are used up.
        reason = None if was_cut else incomplete(answer["finish_reason"])
        spoken = self._spoken(text)
        if reason is None and not spoken.closed:
            reason = "unfinished thought"
        if reason is None and not spoken.said.strip() and (first or self.prompt.format != "turns"):
            reason = "no text"
        return None if reason is None else (reason, _how_it_ended(answer))

    def read(self, answers: Sequence[Mapping[str, Any]]) -> Reply:
        """Steps and answer of a conversation that is over, from rows of the cache.

        With config.teacher.reasoning=steps, the steps are the thought of the first reply that has
        one, if any does.
        """
        replies = [self._spoken(self.cut(answer["text"])[0]) for answer in answers]
        reply = self._read_said([spoken.said for spoken in replies])
        if self._settings.reasoning != "steps":
            return reply
        thoughts = (
            without_marks(answer.get("reasoning", "")) or spoken.thought
            for answer, spoken in zip(answers, replies, strict=True)
        )
        return with_thought(reply, next(filter(None, thoughts), ""))

    def unread(self, answers: Sequence[Mapping[str, Any]]) -> str:
        """A hint if steps or answer are missing: the length of the thoughts, if they were
        dropped."""
        if self._settings.reasoning == "steps":
            return ""
        thoughts = [
            answer.get("reasoning") or self._spoken(self.cut(answer["text"])[0]).thought
            for answer in answers
        ]
        count = sum(map(len, thoughts))
        remedy = "config.teacher.reasoning=steps makes them the chain"
        return f"{count} characters of thoughts were dropped ({remedy})" if count else ""

    def _spoken(self, text: str) -> Spoken:
        if self.prompt.format == "turns":  # written by a student, which has no thoughts
            return Spoken("", text, True)
        return split_thought(text)

    def _read_said(self, replies: Sequence[str]) -> Reply:
        if self.prompt.format == "pairs":
            return parse_pairs(self.prompt.whole_reply(replies))
        if self.prompt.format == "chain" or len(replies) == 1:
            return parse_chain(self.prompt.whole_reply(replies))
        socratic = SCHEMES["socratic"]
        turns = [(socratic.roles[i % 2], reply.strip(" ")) for i, reply in enumerate(replies)]
        steps, answer = parse(turns, socratic)
        return Reply(steps, answer)


def _how_it_ended(answer: Mapping[str, Any]) -> str:
    reason = answer["finish_reason"]
    said = f"finish_reason {reason!r}" if reason else "the server gives no finish_reason"
    thought = len(answer.get("reasoning", ""))
    beside = f" and {thought} of thoughts" if thought else ""
    return (
        f"{said} after {answer['completion_tokens']} tokens, {len(answer['text'])} characters"
        f"{beside}"
    )
