"""About how many tokens a request has with any tokenizer; for estimates only.

The usual rule of four characters per token is for prose. Arithmetic has more tokens: in most
tokenizers every digit is a token, and at best two signs are one. On five of this package's
prompts with 40 problems of four tasks each, these counts are between 8 % below and 14 % above those
of the tokenizers of Qwen, DeepSeek, Mistral (tekken) and GPT-2; four characters per token are up to
31 % short, without what the chat template adds.
"""

import re
from collections.abc import Mapping
from typing import Any

# A word, with its ending if it is long; a digit; two signs; line breaks.
_TOKEN = re.compile(r"[^\W\d_]{1,10}|\d|[^\w\s]{1,2}|_|\n+")
# Tokens that chat templates add around a message (a start, the role, an end), before the answer,
# and if there is no system message, because many templates have their own.
_PER_MESSAGE, _PER_ANSWER, _DEFAULT_SYSTEM = 5, 3, 20


def text_tokens(text: str) -> int:
    """About how many tokens a text has.

    >>> text_tokens("48/2 = <<48/2=24>>24 clips")
    17
    """
    return sum(1 for _ in _TOKEN.finditer(text))


def request_tokens(request: Mapping[str, Any]) -> int:
    """About how many tokens the prompt of a request has, with what a chat template adds."""
    if "prompt" in request:
        return text_tokens(request["prompt"])
    messages = request["messages"]
    around = _PER_MESSAGE * len(messages) + _PER_ANSWER
    if not any(message["role"] == "system" for message in messages):
        around += _DEFAULT_SYSTEM
    return around + sum(text_tokens(message["content"]) for message in messages)
