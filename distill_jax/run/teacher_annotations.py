"""The teacher stage: from problems to annotations; says the price before anything is spent."""

import collections
import sys
from collections.abc import Collection, Sequence
from typing import Any

from distill_jax import distributed
from distill_jax.annotations.verify import LONGEST_TEXT, Rejected
from distill_jax.errors import PeerGone, UserError
from distill_jax.records import Annotation, Problem
from distill_jax.teacher.asking import Asking, Failures, Usage, cached_replies, same_samples
from distill_jax.teacher.cache import AnswerCache
from distill_jax.teacher.conversation import Conversation, Question
from distill_jax.teacher.estimate import Estimate, estimate, show
from distill_jax.teacher.prompt import load_prompt
from distill_jax.teacher.settings import LEFT_OUT, Spending, TeacherSettings
from distill_jax.text.transcript import Scheme
from distill_jax.tracking.terminal import Terminal


def make_conversation(settings: TeacherSettings, task: str, scheme: Scheme) -> Conversation:
    """How the teacher is asked about the task's problems.

    Raises UserError if the prompt cannot be read, or if the scheme needs subquestions and the
    annotations would have none.
    """
    check_reasoning(settings.reasoning, scheme)
    prompt = load_prompt(settings.prompt, task.rpartition(".")[2])
    if prompt.format == "chain" and scheme.asks:
        raise UserError(
            f"config.teacher.prompt={settings.prompt!r} asks for no subquestions, which scheme "
            f"{scheme.name!r} needs: use --config.teacher.prompt=socratic, or --config.scheme=chain"
        )
    return Conversation(prompt, settings)


def check_reasoning(reasoning: str, scheme: Scheme) -> None:
    """Raise UserError if thoughts become the steps and the scheme needs subquestions."""
    if reasoning == "steps" and scheme.asks:
        raise UserError(
            "config.teacher.reasoning='steps' makes chains without subquestions, which scheme "
            f"{scheme.name!r} needs: use --config.scheme=chain, or --config.teacher.reasoning=drop"
        )


def teacher_annotations(
    settings: TeacherSettings,
    conversation: Conversation,
    questions: Sequence[Question],
    spending: Spending,
    terminal: Terminal,
) -> tuple[list[Annotation], list[Rejected]]:
    """(annotations to verify, unreadable samples with the reason).

    Asks for answers that are not in the cache, after the person has agreed. Raises UserError if
    nobody can be asked to agree or the server refuses, PeerGone if the teacher does not answer,
    Interrupted after a signal; answers stay in the cache.
    """
    with AnswerCache(settings.cache_dir, settings.model, terminal.say) as cache:
        expected = estimate(conversation, cache, questions, settings.samples)
        failures: Failures = {}
        if expected.calls and spending.allowed:
            _agree(expected, settings, spending, terminal)
            failures = _ask(settings, conversation, cache, questions, expected, terminal)
        return _read(settings, conversation, cache, questions, failures, terminal)


def make_questions(
    problems: Sequence[Problem], gold: Sequence[Annotation], dev: Collection[str] = ()
) -> list[Question]:
    """Problems with their gold solutions, if there are any; `dev`: the questions of dev
    problems."""
    steps = {a.id: tuple(step.solution for step in a.steps) for a in gold}
    return [Question(p, steps.get(p.id, ()), is_dev=p.question in dev) for p in problems]


def _agree(
    expected: Estimate, settings: TeacherSettings, spending: Spending, terminal: Terminal
) -> None:
    if distributed.processes() > 1:
        raise UserError(
            f"{expected.calls} answers of the teacher are missing: run `python -m "
            "distill_jax.annotate` with the same config and workdir in one process first"
        )
    assert expected.first is not None
    settings.key()
    terminal.show(f"--- the first prompt\n{show(expected.first)}\n---")
    terminal.say(expected.text(settings))
    if spending.yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{expected.calls:,} calls would be sent: give --yes to send them")
    try:
        answer = input("Send them? [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UserError("nothing was sent")


def _ask(
    settings: TeacherSettings,
    conversation: Conversation,
    cache: AnswerCache,
    questions: Sequence[Question],
    expected: Estimate,
    terminal: Terminal,
) -> Failures:
    with terminal.progress(f"asking {settings.model}", expected.samples) as progress:

        def update(done: int, usage: Usage) -> None:
            progress.update(done, f"{usage.answers:,} answers, {_spent(settings, usage)}")

        answer_tokens = expected.answer_tokens or settings.max_tokens
        asking = Asking(settings, conversation, cache, answer_tokens, terminal.say, update)
        try:
            asking.run(questions, settings.samples)
        except (PeerGone, UserError):
            terminal.say(f"{asking.usage.answers:,} answers are in {cache.path}")
            raise
    usage = asking.usage
    terminal.say(
        f"{usage.answers:,} answers with {usage.requests:,} requests, "
        f"{usage.prompt_tokens:,} prompt tokens and {usage.completion_tokens:,} written, "
        f"{_spent(settings, usage)}: {cache.path}"
    )
    if asking.failures:
        reasons = collections.Counter(reason for reason, _ in asking.failures.values())
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        terminal.say(
            f"warning: {len(asking.failures):,} of {expected.samples:,} samples have no complete "
            f"answer ({listed}): the same command asks for them again"
        )
    return asking.failures


def _spent(settings: TeacherSettings, usage: Usage) -> str:
    if settings.price_input == settings.price_output == 0:
        return f"{usage.prompt_tokens + usage.completion_tokens:,} tokens"
    return f"{settings.cost(usage.prompt_tokens, usage.completion_tokens):,.2f} spent"


def _read(
    settings: TeacherSettings,
    conversation: Conversation,
    cache: AnswerCache,
    questions: Sequence[Question],
    failures: Failures,
    terminal: Terminal,
) -> tuple[list[Annotation], list[Rejected]]:
    annotations: list[Annotation] = []
    rejected: list[Rejected] = []
    texts: list[list[str]] = []
    for question in questions:
        texts.append([])
        for sample in range(settings.samples):
            replies = cached_replies(conversation, cache, question, sample)
            source = _source(settings, conversation, sample, replies.answers)
            if replies.missing is not None:
                unasked = "not asked", "run `python -m distill_jax.annotate` with --yes first"
                why = failures.get((question.problem.id, sample), unasked)
                rejected.append(_rejected(question.problem, *why, replies.texts, source))
                continue
            texts[-1].append("\n".join(replies.texts))
            reply = conversation.read(replies.answers)
            problem = question.problem
            if reply.answer is None or not reply.steps:
                reason = "no answer" if reply.answer is None else "no steps"
                detail = conversation.unread(replies.answers)
                rejected.append(_rejected(problem, reason, detail, replies.texts, source))
                continue
            annotations.append(
                Annotation(problem.id, problem.question, reply.answer, reply.steps, source)
            )
    if settings.temperature != 0 and same_samples(texts):
        at = "its own" if settings.temperature == LEFT_OUT else f"{settings.temperature:g}"
        terminal.say(
            f"warning: all samples of every problem are the same, at temperature {at}: the server "
            "seems to ignore it (transformers serve wants --config.teacher.extra="
            '\'{"generation_config": "{\\"do_sample\\": true}"}\')'
        )
    return annotations, rejected


def _rejected(
    problem: Problem, reason: str, detail: str, texts: Sequence[str], source: dict[str, Any]
) -> Rejected:
    text = "\n".join(texts)[:LONGEST_TEXT]
    return Rejected(problem.id, reason, detail, problem.question, None, text, source)


def _source(
    settings: TeacherSettings,
    conversation: Conversation,
    sample: int,
    answers: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "kind": "teacher",
        "model": settings.model,
        "prompt": conversation.prompt.name,
        "prompt_hash": conversation.prompt.hash,
        "sample": sample,
        "temperature": None if settings.temperature == LEFT_OUT else settings.temperature,
        "finish_reason": answers[-1]["finish_reason"] if answers else None,
        "prompt_tokens": sum(answer["prompt_tokens"] for answer in answers),
        "completion_tokens": sum(answer["completion_tokens"] for answer in answers),
    }
