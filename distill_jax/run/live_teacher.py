"""A teacher that answers questions for which nobody knows the answer, while a person waits."""

import asyncio
import concurrent.futures
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

import ml_collections

from distill_jax import distributed
from distill_jax.dialogues.answerer import Look
from distill_jax.errors import PeerGone, UserError
from distill_jax.records import Cost, Grade, Problem, Turn
from distill_jax.run.escalation import KEY
from distill_jax.run.solution import Solution, Unanswered
from distill_jax.settings import command_line
from distill_jax.teacher import settings as teacher_settings
from distill_jax.teacher.asking import Asking, Replies, cached_replies
from distill_jax.teacher.cache import AnswerCache
from distill_jax.teacher.conversation import Conversation, Question
from distill_jax.teacher.prompt import load_prompt
from distill_jax.teacher.settings import TeacherSettings
from distill_jax.teacher.thoughts import split_thought
from distill_jax.text.formats import MARKER

TEACHER = "teacher"  # its role, and what names it in `escalate_to`
_LOOK_EVERY_S = 0.2  # whether anybody still waits


class LiveTeacher:
    """The teacher of a config as one of `cascade.Others`. Its answers are cached as those of
    `annotate`, so the same question is sent once."""

    roles = (TEACHER,)

    def __init__(self, settings: TeacherSettings, task: str, grade: Callable[[str, str], Grade]):
        """`task`: the name of the module, for the prompt; `grade` reads an answer without knowing
        the right one. Raises UserError if no model is named, if its server has no address or
        needs a key, and if the prompt cannot be read."""
        if not settings.model:
            raise UserError(
                f"{KEY}={TEACHER} needs --config.teacher.model=NAME (and base_url, unless it is "
                "OpenAI's): the run has no teacher"
            )
        if distributed.processes() > 1:
            raise UserError(f"{KEY}={TEACHER}: a teacher is asked by one process, not by several")
        settings.key()
        self._settings, self._grade = settings, grade
        prompt = load_prompt(settings.prompt, task.rpartition(".")[2])
        self._conversation = Conversation(prompt, settings)

    @property
    def name(self) -> str:
        """Of the model."""
        return self._settings.model

    @property
    def place(self) -> str:
        """The server's address, without a key."""
        return self._settings.shown_url()

    def answer(
        self, questions: Sequence[str], slots: int | None, look: bool
    ) -> Generator[Look | Solution | Unanswered, None, None]:
        """See `cascade.Others`. While the teacher writes there are Looks without turns; closing the
        iterator then ends the requests."""
        del slots, look
        problems = [Problem(question, question, "", "asked") for question in questions]
        asked = [Question(problem, ()) for problem in problems]
        left = list(questions)
        try:
            with AnswerCache(self._settings.cache_dir, self._settings.model, _say) as cache:
                asking = Asking(
                    self._settings, self._conversation, cache, self._settings.max_tokens,
                    _say, lambda done, usage: None,
                )  # fmt: skip
                for _ in _waiting(asking.ask_all(asked, samples=1)):
                    yield Look(problems[0], 0, ())
                for question in asked:
                    replies = cached_replies(self._conversation, cache, question, 0)
                    failure = asking.failures.get((question.problem.id, 0))
                    yield self._solution(question.problem.question, replies, failure)
                    left.remove(question.problem.question)
        except (UserError, PeerGone) as error:
            for question in left:
                yield Unanswered(question, str(error))

    def _solution(
        self, question: str, replies: Replies, failure: tuple[str, str] | None
    ) -> Solution | Unanswered:
        prompt_tokens = sum(each["prompt_tokens"] for each in replies.answers)
        cost = Cost(prompt_tokens, sum(each["completion_tokens"] for each in replies.answers))
        if replies.missing is not None:
            assert failure is not None  # every question was asked
            return Unanswered(question, ": ".join(failure), cost)
        turns = tuple(
            Turn(TEACHER, split_thought(text).said.strip(), answer["completion_tokens"], 0.0)
            for text, answer in zip(replies.texts, replies.answers, strict=True)
        )
        read = self._conversation.read(replies.answers).answer
        answer = None if read is None else self._grade(f"{MARKER} {read}", "").prediction
        return Solution(
            question,
            answer,
            turns,
            "unparsed" if answer is None else "finished",
            {answer: 1},
            costs={self.name: cost},
        )


def teacher_settings_of(config: Any, changes: Mapping[str, Any]) -> TeacherSettings:
    """config.teacher of a run with other values for some keys; each question is asked once.

    Raises UserError for unknown keys and wrong values.
    """
    changed: Any = ml_collections.ConfigDict(config.to_dict())
    command_line.set_values(changed, {f"{TEACHER}.{key}": v for key, v in changes.items()})
    changed.teacher.samples = 1
    if found := teacher_settings.mistakes(changed.teacher):
        raise UserError("; ".join(found))
    return TeacherSettings(**changed.teacher)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _waiting(asking: Coroutine[Any, Any, None]) -> Generator[None, None, None]:
    """Runs `asking` in a thread, because notebooks have an event loop in theirs; yields from time
    to time until it has ended. Raises what it raises; closed, it cancels it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(asking, loop)
    try:
        while not future.done():
            concurrent.futures.wait([future], timeout=_LOOK_EVERY_S)
            yield
        future.result()
    finally:
        future.cancel()
        asyncio.run_coroutine_threadsafe(_ended(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended() -> None:
    """Wait for everything else that runs in this loop, which has been cancelled or is over."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
