"""Turns as messages: the ids of the headers between them, in a format that has headers.

In `chatml`, the format of SmolLM2's and Qwen's own chats, without a system message, the prompt and
the row of a chain are

    <|im_start|>user\\nQ<|im_end|>\\n<|im_start|>assistant\\n                          the prompt
    <|im_start|>user\\nQ<|im_end|>\\n<|im_start|>assistant\\nR\\n#### A<|im_end|>        the row

A lone role ends a message, like the model itself, and not a text. In a dialogue the solver is the
assistant; planner and decomposer, who tell it what to do, are the user. The prompt is then only the
question's message, because some roles may not see the first turn. Each turn begins with its header,
which is not learned and which the sampler fills in. The ender ends the text in a separate message.
With `/` for <|im_end|>, `.` for <|endoftext|>, `u` and `s` for the two headers (the first of all
without the line break) and the steps `a : A` and `b : B`:

    u Q / u a / s A / u b / s B / u .      decomposer and solver who read each other
    its loss ^ ^     .   ^ ^       ^       of the decomposer
"""

from distill_jax.errors import UserError
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.text.transcript import Scheme

START, END = "<|im_start|>", "<|im_end|>"
USER, ASSISTANT = "user", "assistant"


def around_question(scheme: Scheme, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids before a question, and after its end of turn, in every prompt.

    Raises UserError if the tokenizer is not that of a model with such messages.
    """
    if not scheme.text_format.messages:
        return [], []
    after = _between(ASSISTANT, tokenizer) if scheme.alone else []
    return _header(USER, tokenizer), after


def openings(scheme: Scheme, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """By role, the ids between the end of the turn before and the role's own text; () in a format
    without headers, and for a lone role, whose header is part of the prompt."""
    if scheme.alone or not scheme.text_format.messages:
        return ()
    return tuple(tuple(_between(speaker(role), tokenizer)) for role in scheme.roles)


def speaker(role: str) -> str:
    """Whose message a turn of `role` is."""
    return ASSISTANT if role == "solver" else USER


def end_marks(scheme: Scheme, tokenizer: Tokenizer) -> tuple[int, int]:
    """(the token that passes the turn, the one that ends the dialogue). A lone role passes no
    turn."""
    if scheme.alone and scheme.text_format.messages:
        return tokenizer.end_of_text, tokenizer.end_of_turn
    return tokenizer.end_of_turn, tokenizer.end_of_text


def _between(name: str, tokenizer: Tokenizer) -> list[int]:
    return [*tokenizer.encode(["\n"])[0], *_header(name, tokenizer)]


def _header(name: str, tokenizer: Tokenizer) -> list[int]:
    start = tokenizer.special(START)
    if start is None or tokenizer.marks.turn != END:
        raise UserError(
            f"config.text_format='chatml': the tokenizer needs {START} as a special token, and "
            f"{END} as its end of turn (now {tokenizer.marks.turn}): use turns, or set "
            "config.tokenizer.name to a model whose own chats are written so, such as SmolLM2"
        )
    return [start, *tokenizer.encode([f"{name}\n"])[0]]
