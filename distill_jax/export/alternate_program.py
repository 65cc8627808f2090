"""The example program in an export: the students take turns with only transformers."""

from collections.abc import Mapping, Sequence

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
question = tokenizer(sys.argv[1], split_special_tokens=True).input_ids
turns = [("question", {question})]
once, again = {once}, {again}
while {going_on} and len(turns) <= {max_turns}:
    place = len(turns) - 1 - len(once)
    role = once[place] if place < 0 else again[place % len(again)]
    seen = torch.tensor([sum((ids for writer, ids in turns if writer in sees[role]), [])])
    reply = models[role].generate(seen, attention_mask=torch.ones_like(seen), max_new_tokens={turn},
                                  suppress_tokens=never[role])[0, seen.shape[1]:].tolist()
    turns.append((role, reply))
    print(f"{{role}}: {{tokenizer.decode(reply, skip_special_tokens=True)}}")
'''


def example(
    scheme: Scheme,
    views: Sequence[View],
    places: Mapping[str, str],
    *,
    max_turns: int,
    max_turn_tokens: int,
    end_of_turn: str,
    around: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> str:
    """A program that writes the same dialogues as the sampler, greedily and without calculator, as
    long as they fit into the context and config.sampling.max_tokens.

    `places`: {student: directory or Hub id}; `around`: ids before and after a question and its end
    of turn, which only a lone role may have.
    """
    before, after = (list(ids) for ids in around)
    of_role = {scheme.roles[index]: view for view in views for index in view.writes}
    # Only one role may end the text, and if no other one follows it, it does nothing else.
    once = list(scheme.speak_once)
    again = [role for role in scheme.roles if role not in once]
    never = dict.fromkeys(scheme.roles, "[end_of_text]")
    if not scheme.text_format.messages:  # there it ends a message
        never[scheme.ender] = "None" if len(again) > 1 else "[end_of_turn]"
    sees = {role: ["question", *sorted(of_role[role].sees)] for role in scheme.roles}
    return _CODE.format(
        students={role: places[of_role[role].student] for role in scheme.roles},
        sees=sees,
        first=scheme.roles[0],
        once=once,
        again=again,
        mark=end_of_turn,
        never="{" + ", ".join(f"{role!r}: {marks}" for role, marks in never.items()) + "}",
        question=f"[*{before}, *question, end_of_turn, *{after}]"
        if scheme.text_format.messages
        else "[*question, end_of_turn]",
        going_on="True" if scheme.text_format.messages else "turns[-1][1][-1] == end_of_turn",
        max_turns=1 if scheme.text_format.messages else max_turns,
        turn=max_turn_tokens,
    )
