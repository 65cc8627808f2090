"""Text of others in Markdown."""

import html
import re
from typing import Any


def plain(value: Any) -> str:
    """Anything as text inside of a line that Markdown and HTML leave alone."""
    escaped = re.sub(r"([\\`*_\[\]|~$:])", r"\\\1", str(value))
    return html.escape(" ".join(escaped.split()), quote=False)


def fenced(text: str, language: str) -> str:
    """A code block; its fence is longer than any row of backticks in `text`."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
