"""The chat format: rows against the template of the models themselves, and what is refused."""

import dataclasses

import pytest

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
import tiny_gguf  # noqa: E402
import transformers  # noqa: E402

from distill_jax.errors import UserError  # noqa: E402
from distill_jax.records import Annotation, Step  # noqa: E402
from distill_jax.text import formats, rows, transcript  # noqa: E402
from distill_jax.text.rows import NO_LOSS  # noqa: E402
from distill_jax.text.tokenizer import load_tokenizer, train_tokenizer  # noqa: E402

# SmolLM2's and Qwen2.5's own, but for the system message that they put before it.
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
STEPS = (Step("How many pears?", "15 / 3 = 5"), Step("In all?\n", " 15 + 5 = 20"))
GOLD = Annotation("t/0", " How many pieces does Ann have? ", "20", STEPS, {"kind": "gold"})
QUESTION = {"role": "user", "content": "How many pieces does Ann have?"}
SOCRATIC, CHAIN, ANSWER_ONLY = (
    dataclasses.replace(transcript.SCHEMES[name], text_format=formats.CHATML)
    for name in ("socratic", "chain", "answer_only")
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(str(tiny_gguf.write(tmp_path_factory.mktemp("model") / "tiny.gguf")))


@pytest.fixture(scope="module")
def template(tokenizer, tmp_path_factory):
    """Messages to ids, by the template and transformers alone."""
    directory = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(directory)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(directory)

    def ids(messages, **more):
        text = theirs.apply_chat_template(messages, chat_template=TEMPLATE, tokenize=False, **more)
        return theirs(text, add_special_tokens=False).input_ids

    return ids


def said(role, content):
    return {"role": role, "content": content}


def own_row(scheme, tokenizer, students=("d", "s")):
    students = dict(zip(("decomposer", "solver"), students, strict=True))
    views = rows.make_views(scheme, students, {"decomposer": ["solver"], "solver": ["decomposer"]})
    return {
        name: each[0] for name, each in rows.encode_rows([GOLD], scheme, views, tokenizer).items()
    }


@pytest.mark.parametrize(
    ("scheme", "reply"),
    [(CHAIN, "15 / 3 = 5\n 15 + 5 = 20\n#### 20"), (ANSWER_ONLY, "#### 20")],
)
def test_a_lone_role_answers_as_the_model_does(scheme, reply, tokenizer, template):
    [prompt] = rows.encode_prompts([GOLD], scheme, tokenizer)
    assert prompt == template([QUESTION], add_generation_prompt=True)
    row = own_row(scheme, tokenizer)["s"]
    newline = tokenizer.encode(["\n"])[0]
    assert row.tokens + newline == template([QUESTION, said("assistant", reply)])
    assert row.tokens[-1] == tokenizer.end_of_turn
    learned = len(row.tokens) - len(prompt)
    assert row.writers == [NO_LOSS] * len(prompt) + [0] * learned
    [(_, text)] = transcript.render(GOLD, scheme)
    assert transcript.answer_text([text], scheme).endswith("#### 20")


def test_in_a_dialogue_the_solver_is_the_assistant(tokenizer, template):
    chat = [
        QUESTION, said("user", "How many pears?"), said("assistant", "15 / 3 = 5"),
        said("user", "In all?"), said("assistant", "15 + 5 = 20\n#### 20"),
    ]  # fmt: skip
    [prompt] = rows.encode_prompts([GOLD], SOCRATIC, tokenizer)
    newline = tokenizer.encode(["\n"])[0]
    assert prompt + newline == template([QUESTION])
    found = own_row(SOCRATIC, tokenizer)
    assert found["s"].tokens + newline == template(chat)
    header = [*newline, *template([said("user", "")])[:-2]]
    asked = found["d"].tokens
    assert asked == [*found["s"].tokens, *header, tokenizer.end_of_text]
    for name, role, texts in (
        ("d", 0, ["How many pears?<|im_end|>", "In all?<|im_end|>", "<|endoftext|>"]),
        ("s", 1, ["15 / 3 = 5<|im_end|>", "15 + 5 = 20\n#### 20<|im_end|>"]),
    ):
        row = found[name]
        learned = [t for t, w in zip(row.tokens, row.writers, strict=True) if w == role]
        assert tokenizer.decode(learned) == "".join(texts)
        assert row.tokens[: len(prompt)] == prompt and set(row.writers) == {NO_LOSS, role}
    both = own_row(SOCRATIC, tokenizer, ("s", "s"))["s"]
    assert both.tokens == asked and set(both.writers) == {NO_LOSS, 0, 1}
    turns = transcript.render(GOLD, SOCRATIC)
    trimmed = tuple(Step(s.subquestion.strip(), s.solution.strip()) for s in STEPS)
    assert transcript.parse(turns, SOCRATIC) == (trimmed, "20")


def test_a_tokenizer_without_messages_is_refused():
    own = train_tokenizer(["How many pieces does Ann have?"], 300)
    with pytest.raises(UserError, match=r"needs <\|im_start\|> as a special token, and <\|im_end"):
        rows.encode_prompts([GOLD], CHAIN, own)
