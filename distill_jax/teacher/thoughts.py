"""Separates the thoughts of a model from its reply.

Models mark their reasoning in their own ways, and not every server takes it out of the text:

    <think>She sold 24 in June.</think>#### 72             Qwen, DeepSeek and many others
    <thought>, <thinking>, <reasoning>, <seed:think>       the same with other names
    [THINK]...[/THINK]                                     Mistral
    ◁think▷...◁/think▷                                     Kimi
    <|channel>thought ... <channel|>                       Gemma 4
    <|begin_of_thought|>...<|end_of_thought|>              OpenThoughts
    <|START_THINKING|>...<|END_THINKING|>                  Cohere
    <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...
                                                           harmony (gpt-oss); without its special
                                                           tokens: analysis...assistantfinal...

An opening mark may be part of the prompt; then only the closing one is in the text. Everything is
linear in the text.
"""

import re
from typing import NamedTuple

_NAMES = (
    r"(?:[a-z]{1,12}[:_])?(?:think(?:ing|s)?|thoughts?|thought_process|reasoning(?:_content)?|"
    r"analysis|reflection|scratchpad|inner_monologue)"
)
_CHANNEL = r"(?:<\|start\|>[a-z]{1,20})?<\|channel\|>\s{0,4}"
_TO = r"[^<>|\n]{0,60}(?:<\|constrain\|>[^<>|\n]{0,40})?<\|message\|>"  # `commentary to=...`
_MARK = re.compile(
    rf"(?P<close></{_NAMES}>|\[/THINK(?:ING)?\]|◁/think▷|<channel\|>|<unused95>|"
    rf"<\|end_of_thought\|>|<\|END_THINKING\|>|<\|/think(?:ing)?\|>|{_CHANNEL}final{_TO})|"
    rf"(?P<open><{_NAMES}(?:\s[^<>\n]{{0,60}})?>|\[THINK(?:ING)?\]|◁think▷|<\|channel>thought\b|"
    rf"<unused94>thought\b|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|think(?:ing)?\|>|"
    rf"{_CHANNEL}(?:analysis|commentary){_TO})",
    re.IGNORECASE,
)
# Harmony whose special tokens were removed: the names of the channels stay, without a space.
_BARE_OPEN = re.compile(r"\s*analysis(?=[A-Z0-9\"'(*])")
_BARE_CLOSE = re.compile(r"assistantfinal")
_CONTROL = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<\uff5c[^\uff5c<>\n]{1,40}\uff5c>|</?s>|<(?:start|end)_of_turn>|<(?:eos|bos)>|"
    r"<\|channel>[a-z]*|</?(?:response|output)>",
    re.IGNORECASE,
)


class Span(NamedTuple):
    """text[start:end] without the marks around it, and whether it is a thought."""

    start: int
    end: int
    is_thought: bool


class Spoken(NamedTuple):
    """The parts of a text. `closed` is False if its thought never ends; then there is no reply."""

    thought: str
    said: str
    closed: bool


def spans(text: str) -> tuple[list[Span], bool]:
    """(thoughts and replies, in the order of the text; whether thoughts are closed).

    Everything before a closing mark without an opening one is a thought: the prompt opened it.
    """
    found: list[Span] = []
    start, thinking, opened_above = 0, False, 0  # the first so many are thoughts
    for is_close, mark_start, mark_end in _marks(text):
        found.append(Span(start, mark_start, thinking))
        if is_close and not thinking:
            opened_above = len(found)
        start, thinking = mark_end, not is_close
    found.append(Span(start, len(text), thinking))
    above = [span._replace(is_thought=True) for span in found[:opened_above]]
    return above + found[opened_above:], not thinking


def split_thought(text: str) -> Spoken:
    """The thought and the reply, both without control tokens such as `<|im_end|>`."""
    parts, closed = spans(text)
    thought = "\n".join(_clean(text, span) for span in parts if span.is_thought)
    said = "".join(_clean(text, span) for span in parts if not span.is_thought)
    return Spoken(thought.strip(), said if closed else "", closed)


def without_marks(thought: str) -> str:
    """A thought from a separate field, without the marks in it."""
    return _CONTROL.sub("", _MARK.sub("", thought)).strip()


def _clean(text: str, span: Span) -> str:
    return _CONTROL.sub("", text[span.start : span.end])


def _marks(text: str) -> list[tuple[bool, int, int]]:
    """(whether it closes, start, end) of every mark, in order."""
    opening = _BARE_OPEN.match(text)
    if opening is None:
        return [(m["close"] is not None, m.start(), m.end()) for m in _MARK.finditer(text)]
    closing = _BARE_CLOSE.search(text, opening.end())
    opened = (False, opening.start(), opening.end())
    return [opened] if closing is None else [opened, (True, closing.start(), closing.end())]
