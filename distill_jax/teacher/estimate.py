"""How many requests there will be and what they will cost, before anything is sent."""

import dataclasses
from collections.abc import Sequence

from distill_jax.teacher.asking import cached_replies
from distill_jax.teacher.cache import AnswerCache
from distill_jax.teacher.conversation import Conversation, Question
from distill_jax.teacher.settings import TeacherSettings
from distill_jax.teacher.token_count import request_tokens


@dataclasses.dataclass
class Estimate:
    """Counts over all samples of all questions. Tokens are estimates, except `measured`.

    samples        how many there are in all, and how many of them have all their answers already
    calls          that are left; the least number if the end is open (a student's turns)
    dev_calls      those of them that are about dev problems; the others are for training
    prompt_tokens  of those calls, by token_count.py, corrected by what cached answers had
    answer_tokens  of one answer: the mean of cached ones, else None
    first          the first request that would be sent, or None
    """

    samples: int = 0
    cached: int = 0
    calls: int = 0
    dev_calls: int = 0
    prompt_tokens: float = 0.0
    answer_tokens: float | None = None
    first: dict | None = None

    def text(self, settings: TeacherSettings) -> str:
        """The estimate in one line, with the price if one is set."""
        most = self.calls * settings.max_tokens
        likely = ""
        if self.answer_tokens is not None:
            likely = f", about {self.calls * self.answer_tokens:,.0f} if as long as those so far"
        text = (
            f"{self.calls:,} calls to {settings.model} are left ({self.cached:,} of "
            f"{self.samples:,} samples are in the cache): {self.calls - self.dev_calls:,} train, "
            f"{self.dev_calls:,} dev; about {self.prompt_tokens:,.0f} prompt tokens, answers of at "
            f"most {most:,} tokens{likely}"
        )
        if settings.price_input == settings.price_output == 0:
            return text + "; no price is set (config.teacher.price_input, price_output)"
        at_most = settings.cost(self.prompt_tokens, most)
        if self.answer_tokens is None:
            return text + f"; cost at most {at_most:,.2f}"
        about = settings.cost(self.prompt_tokens, self.calls * self.answer_tokens)
        return text + f"; cost about {about:,.2f}, at most {at_most:,.2f}"


def estimate(
    conversation: Conversation, cache: AnswerCache, questions: Sequence[Question], samples: int
) -> Estimate:
    """Look up every sample in the cache; sends nothing."""
    result = Estimate()
    answers = written = 0
    guessed = counted = 0.0
    for question in questions:
        for sample in range(samples):
            result.samples += 1
            replies = cached_replies(conversation, cache, question, sample)
            for answer in replies.answers:
                answers += 1
                written += answer["completion_tokens"]
                if answer["prompt_tokens"]:
                    counted += answer["prompt_tokens"]
                    guessed += request_tokens(answer["request"])
            if replies.missing is None:
                result.cached += 1
                continue
            result.first = result.first or replies.missing
            left = max(1, len(conversation.prompt.calls) - len(replies.texts))
            result.calls += left
            result.dev_calls += left * question.is_dev
            result.prompt_tokens += left * request_tokens(replies.missing)
    if written:
        result.answer_tokens = written / answers
    if guessed:
        result.prompt_tokens *= counted / guessed
    return result


def show(request: dict) -> str:
    """A request in readable form: every message, under its role."""
    if "prompt" in request:
        return request["prompt"]
    return "\n".join(
        f"[{message['role']}]\n{message['content']}" for message in request["messages"]
    )
