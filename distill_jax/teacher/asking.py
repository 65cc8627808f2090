"""Asks a teacher about many problems at a time; each answer is cached as soon as it arrives."""

import asyncio
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from distill_jax import errors
from distill_jax.teacher.cache import AnswerCache, cache_key
from distill_jax.teacher.conversation import Conversation, Question
from distill_jax.teacher.settings import TeacherSettings
from distill_jax.teacher.token_count import request_tokens

Failures = dict[tuple[str, int], tuple[str, str]]  # (problem id, sample) -> (reason, detail)

_LOOK_EVERY_S = 0.2  # whether a signal has come


class Replies(NamedTuple):
    """The cached part of one conversation.

    texts     replies in order, cut at stop texts
    missing   the request whose answer is missing, or None if the conversation is over
    answers   the cache's rows
    """

    texts: list[str]
    missing: dict[str, Any] | None
    answers: list[dict[str, Any]]


class Usage:
    """Counts of what was sent and received in this run."""

    def __init__(self) -> None:
        self.answers = self.requests = self.prompt_tokens = self.completion_tokens = 0


def cached_replies(
    conversation: Conversation, cache: AnswerCache, question: Question, sample: int
) -> Replies:
    """The part of a conversation that is in the cache."""
    texts: list[str] = []
    answers: list[dict[str, Any]] = []
    while (request := conversation.next_request(question, texts)) is not None:
        answer = cache.get(request, sample)
        if answer is None or conversation.objection(answer, first=not texts) is not None:
            break
        answers.append(answer)
        texts.append(conversation.cut(answer["text"])[0])
    return Replies(texts, request, answers)


class Asking:
    """One run of questions. `failures` says why a sample has no complete answer."""

    def __init__(
        self,
        settings: TeacherSettings,
        conversation: Conversation,
        cache: AnswerCache,
        answer_tokens: float,
        say: Callable[[str], None],
        update: Callable[[int, Usage], None],
    ):
        """`answer_tokens`: about how long an answer will be, for the tokens per minute. `say` is
        called with messages about time-outs, `update` with the number of samples that are done."""
        # The SDK takes half a second to import, and nothing else needs it.
        from distill_jax.teacher.client import AskingFailed, Client

        self._settings, self._conversation, self._cache = settings, conversation, cache
        self._say = say
        self._client, self._failed = Client(settings, say), AskingFailed
        self._answer_tokens, self._update = answer_tokens, update
        self.failures: Failures = {}
        self.usage = Usage()
        self._done = 0

    def run(self, questions: Sequence[Question], samples: int) -> None:
        """Ask for everything that is not in the cache yet.

        Raises PeerGone and UserError like Client.ask, and Interrupted after a signal; the answers
        so far are in the cache. After a UserError nothing more is sent, but requests that were
        already sent are waited for, because they may cost money.
        """
        with errors.signals_deferred():
            asyncio.run(self.ask_all(questions, samples))

    async def ask_all(self, questions: Sequence[Question], samples: int) -> None:
        """As `run`, in an event loop of the caller's. After a signal it returns."""
        jobs = ((question, sample) for question in questions for sample in range(samples))
        workers = [asyncio.create_task(self._work(jobs)) for _ in range(self._settings.concurrency)]
        watch = asyncio.create_task(_interruption())
        try:
            waiting = {watch, *workers}
            while len(waiting) > 1:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises the error that ended it
                if watch in done:
                    return
        except errors.UserError:
            if self._client.waiting:
                self._say(f"waiting for {self._client.waiting} requests that were sent already")
            while self._client.waiting and not errors.interrupted():
                await asyncio.sleep(_LOOK_EVERY_S)
            raise
        finally:
            for task in (watch, *workers):
                task.cancel()
            await asyncio.gather(watch, *workers, return_exceptions=True)
            self.usage.requests = self._client.requests
            await self._client.close()

    async def _work(self, jobs: Iterator[tuple[Question, int]]) -> None:
        for question, sample in jobs:
            try:
                await self._converse(question, sample)
            except self._failed as failed:
                self.failures[question.problem.id, sample] = failed.reason, failed.detail
            self._done += 1
            self.usage.requests = self._client.requests
            self._update(self._done, self.usage)

    async def _converse(self, question: Question, sample: int) -> None:
        replies = cached_replies(self._conversation, self._cache, question, sample)
        texts, request = replies.texts, replies.missing
        while request is not None:
            answer = await self._client.ask(request, request_tokens(request) + self._answer_tokens)
            self.usage.answers += 1
            self.usage.prompt_tokens += answer.prompt_tokens
            self.usage.completion_tokens += answer.completion_tokens
            objection = self._conversation.objection(answer._asdict(), first=not texts)
            self._keep(request, sample, answer, objection is None)
            if objection is not None:
                self.failures[question.problem.id, sample] = objection
                return
            texts.append(self._conversation.cut(answer.text)[0])
            request = self._conversation.next_request(question, texts)

    def _keep(self, request: dict[str, Any], sample: int, answer: Any, complete: bool) -> None:
        prompt = self._conversation.prompt
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._cache.put(
            {"key": cache_key(request, sample), "complete": complete}
            | answer._asdict()
            | {"time": now, "prompt": prompt.name, "prompt_hash": prompt.hash}
            | {"sample": sample, "request": request}
        )


async def _interruption() -> None:
    while not errors.interrupted():
        await asyncio.sleep(_LOOK_EVERY_S)


def same_samples(texts_of_problems: Sequence[Sequence[str]]) -> bool:
    """Whether all samples of every problem are the same, if there are several."""
    several = [texts for texts in texts_of_problems if len(texts) > 1]
    return bool(several) and all(len(set(texts)) == 1 for texts in several)
