"""The chat template of an exported student: its prompts, as messages that transformers writes.

In a format without headers the question and what other roles write are messages of the user, the
student's own turns those of the assistant. In chatml who says what is fixed (text/messages.py):
question, planner and decomposer are the user, the solver is the assistant.
"""

from collections.abc import Sequence

from distill_jax.text import messages
from distill_jax.text.rows import View
from distill_jax.text.tokenizer import EndMarks
from distill_jax.text.transcript import Scheme


def chat_template(scheme: Scheme, views: Sequence[View], marks: EndMarks) -> str:
    """Jinja for `apply_chat_template`; `views` are those of the student.

    In chatml, add_generation_prompt=True begins the next message; `speaker`, a further argument of
    apply_chat_template, says whose: see `chosen_speaker`.
    """
    if not scheme.text_format.messages:
        return turns_template(marks.turn)
    return (
        "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>\n' -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>' + (speaker | default("
        f"{_next_speaker(scheme, views)})) + '\n' -}}}}{{%- endif -%}}"
    )


def turns_template(end_of_turn: str) -> str:
    """A chat is like a training row: every message, whoever wrote it, and an end of turn."""
    message = f"{{{{- message['content'] + {end_of_turn!r} -}}}}"
    return f"{{%- for message in messages -%}}{message}{{%- endfor -%}}"


def chosen_speaker(scheme: Scheme, views: Sequence[View], role: str) -> str | None:
    """The `speaker` that a call must name when the student is to write as `role`; None if the
    template finds it, because the student has one speaker, or one view that holds all turns."""
    speakers = _speakers(scheme, views)
    if not scheme.text_format.messages or len(speakers) == 1 or len(views) == 1:
        return None
    return messages.speaker(role)


def _next_speaker(scheme: Scheme, views: Sequence[View]) -> str:
    """A Jinja expression."""
    speakers = _speakers(scheme, views)
    if len(speakers) == 1 or len(views) > 1:
        return repr(messages.ASSISTANT if messages.ASSISTANT in speakers else messages.USER)
    # The question, a plan if the view has one, then decomposer and solver in turn, or the solver.
    plans = sum(role in views[0].sees for role in scheme.speak_once)
    solver = f"messages | length > {1 + plans} and messages | length % 2 == {plans % 2}"
    if not scheme.asks:
        solver = f"messages | length > {plans}"
    return f"{messages.ASSISTANT!r} if {solver} else {messages.USER!r}"


def _speakers(scheme: Scheme, views: Sequence[View]) -> set[str]:
    return {messages.speaker(scheme.roles[role]) for view in views for role in view.writes}
