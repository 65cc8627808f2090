r"""The prompts for a teacher: text files of this package, or the user's own.

`prompts/<task>/<kind>.txt`, or else `prompts/generic/<kind>.txt`. A prompt file is UTF-8 text in
sections, each below a line that begins with `===`:

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

format     how the replies are read: `pairs` of `Q: ` and `A: ` lines, or a `chain` of steps, both
           with a last line `#### 10`; or `turns`, for students of this project, which are called
           again with their own text until a reply contains `####`
system     instructions; may be missing
user       an exemplar, as plain text, with the assistant's reply below it. The last one is a jinja2
           template (https://jinja.palletsprojects.com) of `question`, `steps` (a sequence of texts,
           empty if no solution is known) and, inside `{% if steps %}`, `answer`
assistant  `{{ reply }}` alone ends a call; the user section below it is the text that the next call
           adds, without variables
stop       a reply is cut at the first of these lines; `\n` is a new line; may be missing
"""

import dataclasses
import hashlib
import itertools
import pathlib
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from distill_jax.errors import UserError
from distill_jax.records import shorten
from distill_jax.text.tokenizer import END_OF_TURN
from distill_jax.workdir import local_path

GENERIC = "generic"  # the folder of prompts for tasks without their own file

_FOLDER = pathlib.Path(__file__).with_name("prompts")
_HIDDEN = "\ue000"  # an answer that no template contains: a character for private use


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A prompt, ready to be filled in.

    name      "gsm8k/socratic", or the path of a user's own file as it was given
    hash      SHA-256 of the file's bytes, the first 16 hex digits
    format    how replies are read: "pairs", "chain" or "turns"
    system    instructions, or ""
    examples  (user, assistant) texts
    calls     the user's message in each call; only the first one has variables
    stop      texts where a reply is to be cut
    """

    name: str
    hash: str
    format: str
    system: str
    examples: tuple[tuple[str, str], ...]
    calls: tuple[jinja2.Template, ...]
    stop: tuple[str, ...]

    def messages(
        self, question: str, steps: Sequence[str], answer: str, replies: Sequence[str]
    ) -> list[dict[str, str]]:
        """The messages for a chat server after `replies`: dicts with "role" and "content".

        Roles alternate, and the last one is the user, because the chat templates of some models
        refuse anything else (https://github.com/microsoft/autogen/issues/5965), and some servers
        continue a last message of the assistant instead of answering it
        (https://github.com/ggml-org/llama.cpp/pull/13608). With the format
        turns, a student speaks to itself; so roles are assigned backwards from the end, and if the
        question would be the assistant's, it is the system's. The students' own chat template
        ignores roles.
        """
        said = self._said(question, steps, answer, replies)
        if self.format == "turns":
            first = "system" if len(said) % 2 == 0 else "user"
            rest = ("user", "assistant") if first == "system" else ("assistant", "user")
            return _messages(itertools.chain([first], itertools.cycle(rest)), said)
        texts = [text for example in self.examples for text in example] + said
        system = [{"role": "system", "content": self.system}] if self.system else []
        return system + _messages(itertools.cycle(("user", "assistant")), texts)

    def text(self, question: str, steps: Sequence[str], answer: str, replies: Sequence[str]) -> str:
        """The text for a server of plain completions after `replies`.

        Empty lines separate instructions, exemplars and the question. A reply begins on a new line
        if those of exemplars do; otherwise directly after the question.
        """
        first, *later = self._said(question, steps, answer, replies)
        if self.format == "turns":
            return "".join(turn + END_OF_TURN for turn in (first, *later))
        blocks = [self.system] if self.system else []
        blocks += ["\n".join(example) for example in self.examples]
        blocks.append(first + ("\n" if self.examples else ""))
        calls = zip(later[::2], later[1::2], strict=True)
        return "\n\n".join(blocks) + "".join(f"{reply}\n{call}" for reply, call in calls)

    def whole_reply(self, replies: Sequence[str]) -> str:
        """The text to read: the replies to all calls, with the messages between them."""
        whole = replies[0]
        for call, reply in zip(self.calls[1:], replies[1:], strict=True):
            # A chat model does not begin with a space as a completion does, and "is72" is not a
            # number.
            space = "" if reply[:1].isspace() else " "
            whole += f"\n{call.render()}{space}{reply}"
        return whole

    def _said(
        self, question: str, steps: Sequence[str], answer: str, replies: Sequence[str]
    ) -> list[str]:
        """The first call and the text after it: replies, and the calls between them (not for
        turns)."""
        try:
            said = [self.calls[0].render(question=question, steps=tuple(steps), answer=answer)]
        except Exception as error:  # a user's expressions may raise anything
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
            where = f"{self.name}:{lines[-1]}" if lines else self.name
            raise UserError(
                f"{where}: the template fails for the question {shorten(question)!r} with "
                f"{len(steps)} steps ({error}): it must work for any question and number of steps"
            ) from None
        if self.format == "turns":
            return [*said, *replies]
        for number, reply in enumerate(replies, start=1):
            said += [reply, self.calls[number].render()]
        return said


def kinds() -> list[str]:
    """The names of the prompts in this package, each of which every task has."""
    return sorted(path.stem for path in (_FOLDER / GENERIC).glob("*.txt"))


def load_prompt(kind_or_path: str, task: str) -> Prompt:
    """A prompt of this package by its kind, or any prompt by its path, which has a `/` or ends in
    .txt.

    `task` is the last part of the task's module name; without a file for it, the generic one is
    used. Raises UserError naming file and line for whatever does not fit the description in py.
    """
    if "/" in kind_or_path or kind_or_path.endswith(".txt"):
        path, name = local_path(kind_or_path, "config.teacher.prompt"), kind_or_path
    elif kind_or_path in kinds():
        path = _FOLDER / task / f"{kind_or_path}.txt"
        if not path.is_file():
            path = _FOLDER / GENERIC / path.name
        name = f"{path.parent.name}/{kind_or_path}"
    else:
        raise UserError(
            f"no prompt is called {kind_or_path!r}: choose from {', '.join(kinds())}, or give the "
            "path of a file of your own, such as ./mine.txt"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{path}: {reason}: give a prompt file, or one of {', '.join(kinds())}"
        ) from None
    digest = hashlib.sha256(content).hexdigest()[:16]
    prompt = Prompt(name, digest, *parse(name, content))
    _try_out(prompt)
    return prompt


def _try_out(prompt: Prompt) -> None:
    """Fill in the template with and without steps, before anything is spent."""
    prompt.messages("question", ("step",), "answer", ())
    if _HIDDEN in prompt.messages("question", (), _HIDDEN, ())[-1]["content"]:
        raise UserError(
            f"{prompt.name}: the answer is shown even without steps, and the right answer of a "
            "teacher that was told it proves nothing: put it inside {% if steps %}"
        )


def _messages(roles: Iterable[str], texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


FORMATS = ("pairs", "chain", "turns")

_SECTIONS = ("format", "system", "user", "assistant", "stop")
_DIALOGUE = ("user", "assistant")
_VARIABLES = ("question", "steps", "answer")
_REPLY = re.compile(r"\{\{\s*reply\s*\}\}")

# A user's template may come from somebody else: it can compute, but not access anything.
_ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)


class PromptFile(NamedTuple):
    """The contents of a file; `prompt.Prompt` describes the fields."""

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
        raise UserError(f"{name}:{first + 1}: a section must begin here, such as `=== format`")
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
                f"{name}:{section.line}: a section {due!r} must come before this one: user "
                "and assistant alternate, the user first"
            )
    if len(dialogue) % 2 == 0:
        raise UserError(
            f"{name}: the last section of user and assistant must be `=== user`, the template of "
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
    # A comment with as many lines as are above it, so that jinja2 counts lines as in the file.
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
