"""The example program in an export: the students take turns with only transformers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distill_jax.text.rows import View
from distill_jax.text.transcript import Scheme

# Turns are passed on as ids, not as text: text that is split into tokens again may give others.
_CODE = '''\
"""The students take turns on a question: python alternate.py "How many ...?" """
import os, sys
if len(sys.argv) != 2:
    sys.exit('usage: python alternate.py "QUESTION"')
try:
    import torch
except ImportError:
    sys.exit("error: PyTorch is missing: pip install torch")
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

logging.disable_progress_bar()
os.chdir(os.path.dirname(os.path.abspath(__file__)))  # the students lie beside this file
students = {students}
sees = {sees}
tokenizer = AutoTokenizer.from_pretrained(students[{first!r}])
models = {{role: AutoModelForCausalLM.from_pretrained(s) for role, s in students.items()}}
end_of_text, end_of_turn = tokenizer.convert_tokens_to_ids([tokenizer.eos_token, {mark!r}])
never = {never}
{opens}question = tokenizer(sys.argv[1]{strip}, split_special_tokens=True).input_ids
turns = [("question", {question})]
for role in {order}:
    seen = sum((ids for writer, ids in turns if writer in sees[role]), []){and_opening}
    seen = torch.tensor([seen])
    reply = models[role].generate(seen, attention_mask=torch.ones_like(seen), max_new_tokens={turn},
                                  suppress_tokens=never[role])[0, seen.shape[1]:].tolist()
    turns.append((role, {opening_and}reply))
    print(f"{{role}}: {{tokenizer.decode(reply, skip_special_tokens=True)}}")
    if reply[-1] != end_of_turn:
        break
'''


class Headers(NamedTuple):
    """What text/messages.py puts around texts, as ids; nothing in a format without headers."""

    before: Sequence[int] = ()  # a question
    after: Sequence[int] = ()  # a question and its end of turn
    openings: Sequence[Sequence[int]] = ()  # by role, before its turns


NO_HEADERS = Headers()


def example(
    scheme: Scheme,
    views: Sequence[View],
    places: Mapping[str, str],
    *,
    max_turns: int,
    max_turn_tokens: int,
    end_of_turn: str,
    headers: Headers = NO_HEADERS,
) -> str:
    """A program that writes the same dialogues as the sampler, greedily and without calculator, as
    long as they fit into the context and config.sampling.max_tokens.

    `places`: {student: directory or Hub id}.
    """
    before, after = list(headers.before), list(headers.after)
    openings = dict(zip(scheme.roles, map(list, headers.openings), strict=False))
    of_role = {scheme.roles[index]: view for view in views for index in view.writes}
    # A lone role only ends the text (in chatml its message). In a dialogue one role may end the
    # text, and if no other one follows it, it does nothing else.
    if scheme.alone:
        mark = "end_of_text" if scheme.text_format.messages else "end_of_turn"
        never = {scheme.ender: f"[{mark}]"}
    else:
        never = dict.fromkeys(scheme.roles, "[end_of_text]")
        never[scheme.ender] = "None" if len(_again(scheme)) > 1 else "[end_of_turn]"
    sees = {role: ["question", *sorted(of_role[role].sees)] for role in scheme.roles}
    return _CODE.format(
        students={role: places[of_role[role].student] for role in scheme.roles},
        sees=sees,
        first=scheme.roles[0],
        mark=end_of_turn,
        never="{" + ", ".join(f"{role!r}: {marks}" for role, marks in never.items()) + "}",
        question=f"[*{before}, *question, end_of_turn, *{after}]"
        if scheme.text_format.messages
        else "[*question, end_of_turn]",
        strip=".strip()" if scheme.text_format.strips else "",
        opens=f"opens = {openings}  # the header of a turn\n" if openings else "",
        and_opening=" + opens[role]" if openings else "",
        opening_and="opens[role] + " if openings else "",
        order=_order(scheme, max_turns),
        turn=max_turn_tokens,
    )


def _order(scheme: Scheme, max_turns: int) -> str:
    """Python for the roles of all turns."""
    if scheme.alone:
        return repr(list(scheme.roles))
    once, again = list(scheme.speak_once), _again(scheme)
    rounds = f"{again} * {-(-max_turns // len(again))}"
    return f"({once} + {rounds})[:{max_turns}]" if once else f"({rounds})[:{max_turns}]"


def _again(scheme: Scheme) -> list[str]:
    """The roles that take turns until the end."""
    return [role for role in scheme.roles if role not in scheme.speak_once]
