"""The format of Fine-tune-CoT: token rows worked out by hand, and answers read back."""

import dataclasses
import doctest
import os
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step
from distill_jax.run import checks
from distill_jax.settings import command_line
from distill_jax.tasks import gsm8k, strategyqa, svamp
from distill_jax.text import formats, rows, tokenizer, transcript
from distill_jax.text.rows import NO_LOSS

CHAIN, ANSWER_ONLY = (
    dataclasses.replace(transcript.SCHEMES[name], text_format=formats.FINE_TUNE_COT)
    for name in ("chain", "answer_only")
)
NUMBER_TASKS = (gsm8k.grade, svamp.grade)


def annotation(question="How many?", answer="72", steps=("48/2 = 24", "48+24 = 72")):
    solutions = tuple(Step(None, step) for step in steps)
    return Annotation("test/0", question, answer, solutions, {"kind": "gold"})


def row_of(made, scheme, tokens):
    (view,) = rows.make_views(scheme, {"solver": "s"}, {"solver": []})
    return rows.encode_rows([made], scheme, [view], tokens)["s"][0]


@pytest.fixture(scope="module")
def gpt2():
    data = os.environ.get("DISTILL_JAX_DATA")
    if not data:
        pytest.skip("DISTILL_JAX_DATA is not set: no GPT-2 tokenizer")
    return tokenizer.load_tokenizer(str(pathlib.Path(data) / "gpt2_tokenizer"))


def test_the_row_of_a_chain(gpt2):
    row = row_of(annotation(steps=("It is 72",)), CHAIN, gpt2)
    # "How"," many","?"," ###" | " It"," is"," 72"," -->"," 72" <|endoftext|>
    assert row.tokens == [2437, 867, 30, 44386, 632, 318, 7724, 14610, 7724, 50256]
    assert row.writers == [NO_LOSS] * 4 + [0] * 6
    assert gpt2.end_of_turn not in row.tokens


def test_the_row_of_an_answer(gpt2):
    row = row_of(annotation(), ANSWER_ONLY, gpt2)
    assert row.tokens == [2437, 867, 30, 44386, 7724, 50256]
    assert row.writers == [NO_LOSS] * 4 + [0] * 2


def test_white_space_around_the_parts_is_cut_as_the_paper_does(gpt2):
    spaced = annotation(" How many? \n", " 72 ", ("\n48/2 = 24", "48+24 = 72 \n"))
    for scheme in (CHAIN, ANSWER_ONLY):
        assert row_of(spaced, scheme, gpt2) == row_of(annotation(), scheme, gpt2)
    assert rows.encode_prompts([annotation(" How many? \n")], CHAIN, gpt2) == [
        [2437, 867, 30, 44386]
    ]


def test_marks_are_one_token_each_whatever_stands_before_them(gpt2):
    for question in ("How many?", "Is it 5", "100%", "Why not", "a ###", "ends with #"):
        (prompt,) = rows.encode_prompts([annotation(question)], CHAIN, gpt2)
        assert prompt == [*gpt2.encode([question])[0], 44386]
    for step in ("48/2 = 24", "it is so.", "<<48/2=24>>24", "it is $5", "50%"):
        row = row_of(annotation(steps=(step,)), CHAIN, gpt2)
        assert row.tokens[-3:] == [14610, 7724, 50256] and row.tokens.count(14610) == 1


def test_our_own_format_is_unchanged(gpt2):
    row = row_of(annotation(steps=("It is 72",)), transcript.SCHEMES["chain"], gpt2)
    # ... <|endofturn|> | "It"," is"," 72","\\n","####"," 72" <|endoftext|>
    assert row.tokens == [2437, 867, 30, 50257, 1026, 318, 7724, 198, 4242, 7724, 50256]
    assert row.writers == [NO_LOSS] * 4 + [0] * 7


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(
    lambda text: text.replace("-->", "").replace("####", "").replace("-", "")
)
NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.decimals(-(10**6), 10**6, places=2, allow_nan=False).map("{:f}".format),
)


@settings(max_examples=300, deadline=None)
@given(question=TEXT, answer=NUMBERS, steps=st.lists(TEXT, min_size=1, max_size=4))
def test_what_is_rendered_is_read_back(question, answer, steps):
    """Render, cut at nothing, cleanse: the answer comes back, by the paper's rule and by ours."""
    made = annotation(question, answer, steps)
    for scheme in (CHAIN, ANSWER_ONLY):
        turns = transcript.render(made, scheme)
        assert transcript.parse(turns, scheme)[1] == answer
        completion = transcript.answer_text([text for _, text in turns], scheme)
        for grade in NUMBER_TASKS:
            scores = grade(completion, answer).scores
            assert scores["fine_tune_cot"] and scores["normalised"] and scores["strict"]
    (step,), _ = transcript.parse(transcript.render(made, CHAIN), CHAIN)
    assert step.solution == "\n".join(steps).strip()


@given(steps=st.lists(TEXT, min_size=1, max_size=3), answer=st.sampled_from(["yes", "no"]))
def test_yes_and_no_are_read_back(steps, answer):
    for scheme in (CHAIN, ANSWER_ONLY):
        turns = transcript.render(annotation(answer=answer, steps=steps), scheme)
        completion = transcript.answer_text([text for _, text in turns], scheme)
        scores = strategyqa.grade(completion, answer).scores
        assert scores["fine_tune_cot"] and scores["normalised"]


def test_nothing_written_is_no_answer():
    for scheme in (CHAIN, ANSWER_ONLY):
        assert transcript.answer_text([], scheme) == ""
        assert transcript.parse([], scheme) == ((), None)


def test_lines_before_the_answer_are_found_in_every_format():
    for text in ("a\nb\n#### 5", "a\nb --> 5"):
        assert transcript.before_answer(text) == "a\nb"
    assert transcript.before_answer("a\nb") == transcript.before_answer("\n#### 5") == ""


def test_the_format_is_for_a_lone_solver():
    config = command_line.load_config("configs/demo.py")
    command_line.apply_overrides(config, {"text_format": "fine_tune_cot"})
    with pytest.raises(UserError) as caught:
        checks.check_values(config)
    assert str(caught.value) == (
        "config.text_format='fine_tune_cot' is for --config.scheme=chain or answer_only"
    )
    for scheme in ("chain", "answer_only"):
        command_line.apply_overrides(config, {"scheme": scheme})
        checks.check_values(config)
    command_line.apply_overrides(config, {"text_format": "alpaca"})
    with pytest.raises(UserError, match="text_format='alpaca': choose turns, fine_tune_cot"):
        checks.check_values(config)


def test_worked_examples_of_docstrings():
    result = doctest.testmod(formats)
    assert result.attempted == 4 and result.failed == 0
