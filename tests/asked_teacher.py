"""A teacher that is asked about additions, by the code that `annotate` runs."""

from scripted_server import question_of

from distill_jax.records import Problem
from distill_jax.run.teacher_annotations import (
    make_conversation,
    make_questions,
    teacher_annotations,
)
from distill_jax.teacher.settings import Spending, TeacherSettings
from distill_jax.text.transcript import SCHEMES
from distill_jax.tracking.terminal import Terminal

SETTINGS = {
    "model": "scripted",
    "base_url": "",
    "api": "chat",
    "prompt": "socratic_zero",
    "samples": 1,
    "temperature": 0.0,
    "top_p": 1.0,
    "max_tokens": 256,
    "max_tokens_name": "max_tokens",
    "reasoning": "drop",
    "extra": "",
    "concurrency": 64,
    "requests_per_minute": 0,
    "tokens_per_minute": 0,
    "timeout_s": 20.0,
    "retries": 5,
    "price_input": 1.0,
    "price_output": 2.0,
}


def problems_of(count):
    return [
        Problem(f"add/train/{n}", f"What is {n} + 1, with number {n}?", str(n + 1), "train")
        for n in range(count)
    ]


def number_of(request):
    return int(question_of(request).split("with number ")[1].split("?")[0])


def right(request):
    n = number_of(request)
    return f"Q: What is {n} + 1?\nA: {n}+1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"


class Quiet(Terminal):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def say(self, text):
        self.said.append(text)

    def show(self, text):
        self.said.append(text)


def ask(server, tmp_path, problems, terminal=None, dev=(), **changes):
    settings = TeacherSettings(
        **(SETTINGS | {"base_url": server.url, "cache_dir": str(tmp_path)} | changes)
    )
    scheme = SCHEMES["chain" if "student" not in settings.prompt else "socratic"]
    conversation = make_conversation(settings, "my_task", scheme)
    spending = Spending(allowed=True, yes=True)
    questions = make_questions(problems, [], dev)
    return teacher_annotations(settings, conversation, questions, spending, terminal or Quiet())
