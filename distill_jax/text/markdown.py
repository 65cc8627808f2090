"""Puts text that others wrote (models, teachers, users) into Markdown, without markup taking
effect."""

import html
import re
from typing import Any


def plain(value: Any) -> str:
    """A value as text inside a line, escaped so that Markdown and HTML show it as it is."""
    escaped = re.sub(r"([\\`*_\[\]|~$:])", r"\\\1", str(value))
    return html.escape(" ".join(escaped.split()), quote=False)


def fenced(text: str, language: str) -> str:
    """A code block; its fence is longer than any row of backticks in `text`."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
