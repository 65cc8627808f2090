r"""The format of prompt files: UTF-8 text in sections, each below a line that begins with `===`.

    === format
    pairs
    === system
    You split problems into subquestions and answer each of them. ...
    === user
    Problem: Ann has 3 bags with 4 apples each and eats 2 apples. How many are left?
    === assistant
    Q: How many apples does Ann have?
    A: Ann has 3*4 = <<3*4=12>>12 apples.
    Q: How many apples are left?
    A: 12-2 = <<12-2=10>>10 apples are left.
    #### 10
    === user
    Problem: {{ question }}
    === stop
    \nProblem:

format     how the replies are read: pairs of `Q: ` and `A: ` lines, or a chain of steps, both with
           a last line `#### 10`; or turns: the students of this project, which are called again
           with what they wrote until a reply holds `####`
system     instructions; may be missing
user       with the assistant's reply below it an exemplar, as plain text. The last one is a jinja2
           template (https://jinja.palletsprojects.com) of `question`, `steps` (a sequence of texts,
           empty where no solution is known) and, inside of `{% if steps %}`, `answer`
assistant  `{{ reply }}` alone ends a call: the user section below it is what the next call adds,
           without variables
stop       a reply is cut where one of these lines occurs in it; `\n` is a new line; may be missing
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from distill_jax.errors import UserError

FORMATS = ("pairs", "chain", "turns")

_SECTIONS = ("format", "system", "user", "assistant", "stop")
_DIALOGUE = ("user", "assistant")
_VARIABLES = ("question", "steps", "answer")
_REPLY = re.compile(r"\{\{\s*reply\s*\}\}")

# A user's template is a file that someone may have sent: it can compute, but reach nothing.
_ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)


class PromptFile(NamedTuple):
    """What a file says; the fields are described in `prompt.Prompt`."""

    format: str
    system: str
    examples: tuple[tuple[str, str], ...]
    calls: tuple[jinja2.Template, ...]
    stop: tuple[str, ...]


class _Section(NamedTuple):
    """`line` is that of the text's first line, counted from 1."""

    name: str
    text: str
    line: int


def parse(name: str, content: bytes) -> PromptFile:
    """Read a file; `name` is what errors call it.

    Raises UserError naming file and line for whatever does not fit the description above, but does
    not fill in the template.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
    sections = _sections(name, text.replace("\r\n", "\n").split("\n"))
    single = _single_sections(name, sections)
    if "format" not in single:
        raise UserError(
            f"{name}: a section `=== format` is missing: add it, with {' or '.join(FORMATS)}"
        )
    form = single["format"].text.strip()
    if form not in FORMATS:
        where = f"{name}:{single['format'].line}"
        raise UserError(f"{where}: unknown format {form!r}: choose from {', '.join(FORMATS)}")
    dialogue = [section for section in sections if section.name in _DIALOGUE]
    examples, calls = _split(name, dialogue)
    if form == "turns" and ("system" in single or len(dialogue) > 1):
        raise UserError(
            f"{name}: with the format turns students are asked, who know nothing but the question: "
            "remove all sections but format, one `=== user` and stop"
        )
    stop = single["stop"].text.split("\n") if "stop" in single else []
    return PromptFile(
        format=form,
        system=single["system"].text if "system" in single else "",
        examples=examples,
        calls=(
            _template(name, calls[0], _VARIABLES),
            *(_template(name, call, ()) for call in calls[1:]),
        ),
        stop=tuple(line.replace("\\n", "\n") for line in stop if line.strip()),
    )


def _sections(name: str, lines: Sequence[str]) -> list[_Section]:
    starts = [number for number, line in enumerate(lines) if line.startswith("===")]
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if first not in starts:
        raise UserError(f"{name}:{first + 1}: a section is to begin here, such as `=== format`")
    sections = []
    for start, end in itertools.pairwise([*starts, len(lines)]):
        title = lines[start][3:].strip()
        where = f"{name}:{start + 1}"
        if title not in _SECTIONS:
            choice = ", ".join(_SECTIONS)
            raise UserError(f"{where}: unknown section {title!r}: choose from {choice}")
        filled = [number for number in range(start + 1, end) if lines[number].strip()]
        if not filled:
            raise UserError(f"{where}: the section {title!r} is empty: fill it in or remove it")
        text = "\n".join(lines[filled[0] : filled[-1] + 1])
        sections.append(_Section(title, text, filled[0] + 1))
    return sections


def _single_sections(name: str, sections: Sequence[_Section]) -> dict[str, _Section]:
    single: dict[str, _Section] = {}
    for section in sections:
        if section.name in single:
            raise UserError(
                f"{name}:{section.line}: a second section {section.name!r}: remove one of them"
            )
        if section.name not in _DIALOGUE:
            single[section.name] = section
    return single


def _split(
    name: str, dialogue: Sequence[_Section]
) -> tuple[tuple[tuple[str, str], ...], Sequence[_Section]]:
    """(exemplars, the user sections of the calls)."""
    for section, due in zip(dialogue, itertools.cycle(_DIALOGUE), strict=False):
        if section.name != due:
            raise UserError(
                f"{name}:{section.line}: a section {due!r} is due before this one: user and "
                "assistant are to alternate, the user first"
            )
    if len(dialogue) % 2 == 0:
        raise UserError(
            f"{name}: the last section of user and assistant is to be `=== user`, the template of "
            "the question: add it"
        )
    replies = range(1, len(dialogue), 2)
    ends = [index for index in replies if _REPLY.fullmatch(dialogue[index].text.strip())]
    first = ends[0] - 1 if ends else len(dialogue) - 1
    for index in replies:
        if index > first and index not in ends:
            raise UserError(
                f"{name}:{dialogue[index].line}: an exemplar after `{{{{ reply }}}}`: put it above "
                "the first call"
            )
    texts = [section.text for section in dialogue[:first]]
    return tuple(zip(texts[::2], texts[1::2], strict=True)), dialogue[first::2]


def _template(name: str, section: _Section, known: Sequence[str]) -> jinja2.Template:
    # A comment of as many lines as stand above: jinja2 then counts lines as the file does.
    source = "{#" + "\n" * (section.line - 1) + "#}" + section.text
    try:
        tree = _ENVIRONMENT.parse(source)
        variables = jinja2.meta.find_undeclared_variables(tree)
        template = _ENVIRONMENT.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        reason = str(error.message).rstrip(".")
        raise UserError(f"{name}:{error.lineno}: {reason}: correct the template") from None
    unknown = variables - set(known)
    for node in tree.find_all(jinja2.nodes.Name):
        if node.name in unknown:
            remedy = f"choose from {', '.join(known)}" if known else "only the first call has some"
            raise UserError(f"{name}:{node.lineno}: unknown variable {node.name!r}: {remedy}")
    if known and "question" not in variables:
        raise UserError(
            f"{name}:{section.line}: this template does not show the question: add "
            "{{ question }} to it"
        )
    return template
