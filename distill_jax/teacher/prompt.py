"""The prompts a teacher is asked with: text files of this package, or a user's own.

`prompts/<task>/<kind>.txt`, or else `prompts/generic/<kind>.txt`; prompt_file.py describes them.
"""

import dataclasses
import hashlib
import itertools
import pathlib
import traceback
from collections.abc import Iterable, Sequence

import jinja2

from distill_jax.errors import UserError
from distill_jax.records import shorten
from distill_jax.teacher import prompt_file
from distill_jax.text.tokenizer import END_OF_TURN

GENERIC = "generic"  # the folder of what tasks have no file of their own for

_FOLDER = pathlib.Path(__file__).with_name("prompts")
_HIDDEN = "\ue000"  # an answer that no template writes of itself: a character for private use


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A prompt, ready to be filled in.

    name      "gsm8k/socratic", or the path of a user's own file as it was given
    hash      SHA-256 of the file's bytes, the first 16 hex digits
    format    how replies are read: "pairs", "chain" or "turns"
    system    instructions, or ""
    examples  (user, assistant) texts
    calls     what the user says in each call; only the first one has variables
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
        """What is sent to a chat server after `replies`: dicts with "role" and "content".

        Roles alternate and the last one is the user, since the chat templates of some models
        refuse anything else (https://github.com/microsoft/autogen/issues/5965), and some servers
        continue a last message of the assistant instead of answering it
        (https://github.com/ggml-org/llama.cpp/pull/13608). In turns, where a student speaks to
        itself, the roles are therefore given from the end backwards, and a question that would
        become the assistant's is the system's; the students' own chat template ignores roles.
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
        """What is sent to a server of plain completions after `replies`.

        Instructions, exemplars and the question are parted by empty lines. A reply begins on a
        line of its own where those of exemplars do, and else right behind the question.
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
        """What is to be read of the replies to all calls, with what was said between them."""
        whole = replies[0]
        for call, reply in zip(self.calls[1:], replies[1:], strict=True):
            # A chat model does not begin with the space of a completion, and "is72" is no number.
            space = "" if reply[:1].isspace() else " "
            whole += f"\n{call.render()}{space}{reply}"
        return whole

    def _said(
        self, question: str, steps: Sequence[str], answer: str, replies: Sequence[str]
    ) -> list[str]:
        """The first call and what came after it: replies, and calls between them but for turns."""
        try:
            said = [self.calls[0].render(question=question, steps=tuple(steps), answer=answer)]
        except Exception as error:  # a user's expressions may raise anything
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
            where = f"{self.name}:{lines[-1]}" if lines else self.name
            raise UserError(
                f"{where}: the template fails for the question {shorten(question)!r} with "
                f"{len(steps)} steps ({error}): it is to work for any question and number of steps"
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
    """A prompt of this package by its kind, or any by its path, which holds a `/` or ends in .txt.

    `task` is the last part of the task's module name; what it has no file for is generic. Raises
    UserError naming file and line for whatever does not fit the description in prompt_file.py.
    """
    if "/" in kind_or_path or kind_or_path.endswith(".txt"):
        path, name = pathlib.Path(kind_or_path).expanduser(), kind_or_path
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
    prompt = Prompt(name, digest, *prompt_file.parse(name, content))
    _try_out(prompt)
    return prompt


def _try_out(prompt: Prompt) -> None:
    """Fill in the template with and without steps, before anything is spent."""
    prompt.messages("question", ("step",), "answer", ())
    if _HIDDEN in prompt.messages("question", (), _HIDDEN, ())[-1]["content"]:
        raise UserError(
            f"{prompt.name}: the answer is shown where no steps are, and a teacher that is told it "
            "proves nothing by giving it: put it inside of {% if steps %}"
        )


def _messages(roles: Iterable[str], texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
