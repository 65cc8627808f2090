"""Prompt files of a user's own: what they become, and what is said about broken ones."""

import re

import pytest

from distill_jax.errors import UserError
from distill_jax.teacher.prompt import load_prompt

SMALL = """=== format
pairs
=== system
Split it.
=== user
Problem: Two?
=== assistant
Q: How?
A: So.
#### 2
=== user
Problem: {{ question }}
{% if steps %}
{% for step in steps %}
- {{ step }}
{% endfor %}
Answer: {{ answer }}
{% endif %}
Pairs:
=== stop
\\nProblem:
 END
"""


@pytest.fixture
def own(tmp_path):
    """Loads a text as a user's own file."""

    def load(text):
        path = tmp_path / "mine.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_prompt(str(path), "gsm8k")

    return load


def test_few_shot(own):
    loaded = own(SMALL)
    assert loaded.messages("Three?", ("1+2", "3"), "3", ()) == [
        {"role": "system", "content": "Split it."},
        {"role": "user", "content": "Problem: Two?"},
        {"role": "assistant", "content": "Q: How?\nA: So.\n#### 2"},
        {"role": "user", "content": "Problem: Three?\n- 1+2\n- 3\nAnswer: 3\nPairs:"},
    ]
    assert loaded.text("Three?", (), "3", ()) == (
        "Split it.\n\nProblem: Two?\nQ: How?\nA: So.\n#### 2\n\nProblem: Three?\nPairs:\n"
    )
    assert loaded.whole_reply(["Q: What?"]) == "Q: What?"
    assert loaded.stop == ("\nProblem:", " END")
    assert loaded.name.endswith("/mine.txt")


def test_several_calls(own):
    exemplar = "=== user\nOne?\n=== assistant\nOne.\n"
    call = "=== assistant\n{{reply}}\n=== user\n"
    loaded = own(
        f"=== format\nchain\n{exemplar}=== user\n{{{{ question }}}}\n{call}Sure?\n{call}So:\n"
    )
    assert loaded.examples == (("One?", "One."),)
    assert [m["content"] for m in loaded.messages("Two?", (), "", ("2", "Yes."))] == [
        *("One?", "One.", "Two?", "2", "Sure?", "Yes.", "So:")
    ]
    assert loaded.text("Two?", (), "", ("2", "Yes.")) == "One?\nOne.\n\nTwo?\n2\nSure?Yes.\nSo:"
    assert loaded.whole_reply(("2", "Yes.", " 2")) == "2\nSure? Yes.\nSo: 2"


def test_hash_and_line_ends(own):
    loaded = own(SMALL)
    assert re.fullmatch("[0-9a-f]{16}", loaded.hash)
    assert own(SMALL).hash == loaded.hash
    assert own(SMALL.replace("Split it.", "Split it!")).hash != loaded.hash
    assert own(SMALL + "\n").hash != loaded.hash
    windows = own(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert windows.hash != loaded.hash
    what = "Three?", ("1+2",), "3", ()
    assert windows.messages(*what) == loaded.messages(*what)
    assert (windows.format, windows.stop) == (loaded.format, loaded.stop)


def test_unknown_kind_and_missing_file(tmp_path):
    with pytest.raises(UserError, match="called 'socratc': choose from cot, long, short, socratic"):
        load_prompt("socratc", "gsm8k")
    for path in (tmp_path / "none.txt", tmp_path / "none"):
        with pytest.raises(UserError, match=r"none(\.txt)?: No such file or directory: give a"):
            load_prompt(str(path), "gsm8k")
    with pytest.raises(UserError, match="Is a directory"):
        load_prompt(f"{tmp_path}/", "gsm8k")
    with pytest.raises(UserError, match=r"^none\.txt: No such file"):
        load_prompt("none.txt", "gsm8k")


START = "=== format\nchain\n"
USER = "=== user\n{{ question }}\n"
REPLY = "=== assistant\n{{ reply }}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: a section must begin here"),
        (f"\nHello\n{START}{USER}", ":2: a section must begin here"),
        (f"{START}=== usr\nx\n", ":3: unknown section 'usr': choose from format, system, user"),
        (f"{START}=== User\nx\n", ":3: unknown section 'User'"),
        (f"{START}{USER}======\n", ":5: unknown section '==='"),
        (f"{START}=== user\n\n \n", ":3: the section 'user' is empty"),
        (USER, ": a section `=== format` is missing: add it, with pairs or chain or turns"),
        (f"=== format\n\njson\n{USER}", ":3: unknown format 'json': choose from pairs, chain"),
        (f"{START}{START}{USER}", ":4: a second section 'format'"),
        (f"{START}{USER}=== stop\na\n=== stop\nb\n", ":8: a second section 'stop'"),
        (START, ": the last section of user and assistant must be `=== user`"),
        (f"{START}{USER}=== assistant\nx\n", ": the last section of user and assistant must be"),
        (f"{START}{USER}{USER}", ":6: a section 'assistant' must come before this one"),
        (f"{START}{REPLY}{USER}", ":4: a section 'user' must come before this one"),
        (f"{START}{USER}{REPLY}=== user\nx\n=== assistant\ny\n=== user\nz\n", ":10: an exemplar"),
        (f"{START}{USER}{REPLY}{USER}", ":8: unknown variable 'question': only the first call"),
        (f"=== format\nturns\n=== system\nx\n{USER}", ": with the format turns students are asked"),
        (f"=== format\nturns\n{USER}{REPLY}=== user\nx\n", ": with the format turns students"),
        (f"{START}=== user\nQ: {{{{ problem }}}}\n", ":4: unknown variable 'problem': choose from"),
        (f"{START}=== user\n\nQ:\n{{{{ question }}\n", ":6: unexpected '}'"),
        (f"{START}{USER}{{% if steps %}}\nx\n", ":6: Unexpected end of template"),
        (f"{START}{USER}{{{{ question | larger }}}}\n", ":5: No filter named 'larger'"),
        (f"{START}=== user\nWhat is it?\n", ":4: this template does not show the question"),
        (f"{START}{USER}x\n{{{{ steps[0] }}}}\n", ":6: the template fails for the question 'quest"),
        (f"{START}{USER}{{{{ question.__class__ }}}}\n", ":5: the template fails"),
        (f"{START}{USER}{{{{ question / 2 }}}}\n", ":5: the template fails"),
        (f"{START}{USER}{{% include 'x' %}}\n", ":5: the template fails"),
        (f"{START}{USER}{{{{ answer }}}}\n", ": the answer is shown even without steps"),
        (b"=== format\nchain\n\xff", ": not UTF-8 at byte 17"),
    ],
)
def test_malformed_files(own, text, said):
    with pytest.raises(UserError) as caught:
        own(text)
    message = str(caught.value)
    assert f"mine.txt{said}" in message
    assert "\n" not in message


def test_a_template_that_fails_for_some_question_is_named(own):
    loaded = own(f"{START}=== user\n{{{{ question }}}}\n{{{{ 1 / (question | length - 4) }}}}\n")
    assert loaded.text("Three?", (), "", ()) == "Three?\n0.5"
    with pytest.raises(UserError, match=r"mine\.txt:5: the template fails for .* 'Two\?'"):
        loaded.text("Two?", (), "", ())
