"""What is asked about one problem: one call, two (zero-shot chain of thought), or turns in a row.

Nothing here asks: `next_request` says what is to be sent after the replies so far, so that the same
code counts what is missing, sends it, and reads it back from the cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill_jax.annotations.reply import Reply, parse_chain, parse_pairs
from distill_jax.records import Problem
from distill_jax.teacher.prompt import Prompt
from distill_jax.teacher.settings import TeacherSettings
from distill_jax.text.formats import MARKER
from distill_jax.text.transcript import SCHEMES, parse

MAX_TURNS = 32  # of a student that plays both roles; the longest of GSM8K have 22
CHARACTERS_PER_TOKEN = 4.0  # of English text, about; for estimates only


class Question(NamedTuple):
    """A problem as the teacher sees it. `steps` are gold solutions, () where there are none."""

    problem: Problem
    steps: tuple[str, ...]


class Conversation:
    """How a prompt is put to a model."""

    def __init__(self, prompt: Prompt, settings: TeacherSettings):
        self.prompt = prompt
        self._parameters = settings.parameters(prompt.stop)
        self._settings = settings

    def next_request(self, question: Question, replies: Sequence[str]) -> dict[str, Any] | None:
        """What is to be sent after `replies`, or None where the conversation is over."""
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
        # An empty turn of the decomposer ends a dialogue; a solution with the mark ends it too.
        return MARKER in replies[-1] or not replies[-1].strip() or len(replies) >= MAX_TURNS

    def cut(self, text: str) -> tuple[str, bool]:
        """(text before the first stop text, whether there was one)."""
        places = [place for stop in self.prompt.stop if (place := text.find(stop)) >= 0]
        return (text[: min(places)], True) if places else (text, False)

    def read(self, replies: Sequence[str]) -> Reply:
        """Steps and answer of a conversation that is over."""
        if self.prompt.format == "pairs":
            return parse_pairs(self.prompt.whole_reply(replies))
        if self.prompt.format == "chain" or len(replies) == 1:
            return parse_chain(self.prompt.whole_reply(replies))
        socratic = SCHEMES["socratic"]
        turns = [(socratic.roles[i % 2], reply.strip(" ")) for i, reply in enumerate(replies)]
        steps, answer = parse(turns, socratic)
        return Reply(steps, answer)


def request_tokens(request: Mapping[str, Any]) -> float:
    """About how many tokens a prompt has."""
    texts = [request["prompt"]] if "prompt" in request else []
    texts += [message["content"] for message in request.get("messages", ())]
    return sum(map(len, texts)) / CHARACTERS_PER_TOKEN
