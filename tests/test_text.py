"""Transcripts, rows and the tokenizer."""

import doctest
import os
import pathlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step
from distill_jax.tasks import arithmetic
from distill_jax.text import plan, rows, tokenizer, transcript, written_equations
from distill_jax.text.rows import NO_LOSS, View

SOCRATIC, CHAIN, ANSWER_ONLY, EQUATIONS, OPERATORS, PLANNED = (
    transcript.SCHEMES[name]
    for name in (
        *("socratic", "chain", "answer_only"),
        *("socratic_equations", "socratic_operators", "planned_chain"),
    )
)
STUDENTS = {"planner": "planner", "decomposer": "asker", "solver": "answerer"}
GUIDED_READS = {"planner": [], "decomposer": ["planner", "solver"], "solver": ["decomposer"]}

# Lone surrogates are no text; everything else is, special tokens and answer marks included.
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(
        st.sampled_from(
            [
                "<|endoftext|>",
                "<|endofturn|>",
                "\n",
                "\n#### ",
                "#### 5",
                "12",
                " ",
                "\r\n",
                "é",
                "🙂",
            ]
        )
    ).map("".join),
)
ANSWERS = TEXT.map(lambda text: text.replace("\n", " "))
STEPS = st.lists(st.builds(Step, TEXT, TEXT), min_size=1, max_size=4).map(tuple)


ONE_STEP = (Step("a?", "2 + 2 = 4"),)


def annotation(question="q", answer="4", steps=ONE_STEP):
    return Annotation("test/0", question, answer, tuple(steps), {"kind": "gold"})


@pytest.fixture(scope="module")
def trained():
    """A tokenizer trained on the built-in task."""
    annotations = arithmetic.load_annotations("train", train_problems=400)
    texts = [a.question for a in annotations]
    texts += [text for a in annotations for _, text in transcript.render(a, SOCRATIC)]
    return tokenizer.train_tokenizer(texts, 600)


@settings(max_examples=300)
@given(question=TEXT, answer=ANSWERS, steps=STEPS)
def test_parse_inverts_render(question, answer, steps):
    made = annotation(question, answer, steps)
    turns = transcript.render(made, SOCRATIC)
    assert transcript.parse(turns, SOCRATIC) == (steps, answer)
    chain = transcript.render(made, CHAIN)
    text = "\n".join(step.solution for step in steps)
    assert transcript.parse(chain, CHAIN) == ((Step(None, text),), answer)
    (writer, _), *others = transcript.render(made, PLANNED)
    assert writer == "planner" and others == chain
    assert transcript.parse([(writer, "<9>"), *others], PLANNED) == ((Step(None, text),), answer)
    assert transcript.parse(transcript.render(made, ANSWER_ONLY), ANSWER_ONLY) == ((), answer)
    for guided in (EQUATIONS, OPERATORS):
        (writer, _), *others = transcript.render(made, guided)
        assert writer == "planner" and others == turns
        assert transcript.parse([(writer, "1 + 1"), *others], guided) == (steps, answer)


@settings(max_examples=300, deadline=None)
@given(question=TEXT, answer=ANSWERS, steps=STEPS)
def test_rows_hold_exactly_the_transcript(trained, question, answer, steps):
    """Through tokens and back: split at the marks, which text can never contain."""
    made = annotation(question, answer, steps)
    (view,) = rows.make_views(
        SOCRATIC,
        {"decomposer": "one", "solver": "one"},
        {"decomposer": ["solver"], "solver": ["decomposer"]},
    )
    (row,) = rows.encode_rows([made], SOCRATIC, [view], trained)["one"]
    assert row.tokens[-1] == trained.end_of_text and row.tokens.count(trained.end_of_text) == 1
    parts, current = [], []
    for token in row.tokens[:-1]:
        if token == trained.end_of_turn:
            parts.append(trained.decode(current))
            current = []
        else:
            current.append(token)
    assert current == []
    assert parts[0] == question
    writers = ["decomposer", "solver"] * len(steps)
    turns = list(zip(writers, parts[1:], strict=True))
    assert transcript.parse(turns, SOCRATIC) == (steps, answer)


def test_worked_examples_of_docstrings():
    for module in (rows, arithmetic, plan, written_equations):
        result = doctest.testmod(module)
        assert result.attempted > 0 and result.failed == 0


def test_what_cannot_be_rendered_is_refused():
    with pytest.raises(UserError, match="more than one line"):
        transcript.render(annotation(answer="4\n5"), SOCRATIC)
    with pytest.raises(UserError, match="no subquestion"):
        transcript.render(annotation(steps=[Step(None, "4")]), SOCRATIC)
    with pytest.raises(UserError, match="no steps"):
        transcript.render(annotation(steps=()), CHAIN)


def test_views_follow_students_and_reads():
    reads = {"decomposer": ["solver"], "solver": ["decomposer"]}
    both = frozenset(["decomposer", "solver"])
    assert rows.make_views(SOCRATIC, STUDENTS, reads) == [
        View("asker", both, (0,)),
        View("answerer", both, (1,)),
    ]
    one = {"decomposer": "one", "solver": "one"}
    assert rows.make_views(SOCRATIC, one, reads) == [View("one", both, (0, 1))]
    reads["decomposer"] = []
    assert rows.make_views(SOCRATIC, one, reads) == [
        View("one", frozenset(["decomposer"]), (0,)),
        View("one", both, (1,)),
    ]
    # A scheme without a decomposer ignores what is said about it.
    assert rows.make_views(CHAIN, STUDENTS, reads) == [
        View("answerer", frozenset(["solver"]), (0,))
    ]


def test_views_of_guidance():
    assert rows.make_views(EQUATIONS, STUDENTS, GUIDED_READS) == [
        View("planner", frozenset(["planner"]), (0,)),
        View("asker", frozenset(["planner", "decomposer", "solver"]), (1,)),
        View("answerer", frozenset(["decomposer", "solver"]), (2,)),
    ]
    one = dict.fromkeys(STUDENTS, "one")
    everyone = {role: list(STUDENTS) for role in STUDENTS}
    assert rows.make_views(EQUATIONS, one, everyone) == [
        View("one", frozenset(STUDENTS), (0, 1, 2)),
    ]
    # Without a planner its student and who reads it are ignored.
    assert rows.make_views(SOCRATIC, STUDENTS, GUIDED_READS) == [
        View("asker", frozenset(["decomposer", "solver"]), (0,)),
        View("answerer", frozenset(["decomposer", "solver"]), (1,)),
    ]
    alone = GUIDED_READS | {"decomposer": ["solver"]}
    with pytest.raises(UserError, match=r"nobody reads the planner: .* config\.reads\.decomposer"):
        rows.make_views(OPERATORS, STUDENTS, alone)


@pytest.mark.parametrize("scheme", transcript.SCHEMES.values())
def test_prompt_is_a_prefix_of_every_row_and_carries_no_loss(trained, scheme):
    made = arithmetic.load_annotations("train", train_problems=5)
    reads = {"planner": [], "decomposer": ["planner"], "solver": ["planner", "decomposer"]}
    views = rows.make_views(scheme, STUDENTS, reads)
    encoded = rows.encode_rows(made, scheme, views, trained)
    for view in views:
        for each, row in zip(made, encoded[view.student], strict=True):
            prompt = rows.prompt_tokens(trained.encode([each.question])[0], trained.end_of_turn)
            assert row.tokens[: len(prompt)] == prompt
            assert set(row.writers[: len(prompt)]) == {NO_LOSS}
            assert any(writer != NO_LOSS for writer in row.writers)
            ends = [
                w for t, w in zip(row.tokens, row.writers, strict=True) if t == trained.end_of_text
            ]
            ender = scheme.roles.index(scheme.ender)
            assert ends == ([ender] if ender in view.writes else [])


def test_show_row_marks_what_is_learned(trained):
    made = annotation("Who?", "4", [Step("How many?", "2 + 2 = 4")])
    views = rows.make_views(
        SOCRATIC, STUDENTS, {"decomposer": ["solver"], "solver": ["decomposer"]}
    )
    encoded = rows.encode_rows([made], SOCRATIC, views, trained)
    shown = rows.show_row(encoded["asker"][0], trained, SOCRATIC.roles)
    assert shown == (
        "Who?<|endofturn|>[decomposer>How many?<|endofturn|>]2 + 2 = 4\n#### 4<|endofturn|>"
        "[decomposer><|endoftext|>]"
    )
    shown = rows.show_row(encoded["answerer"][0], trained, SOCRATIC.roles)
    assert shown == "Who?<|endofturn|>How many?<|endofturn|>[solver>2 + 2 = 4\n#### 4<|endofturn|>]"


@pytest.mark.parametrize(("scheme", "said"), [(EQUATIONS, "2+2 | 4 * 3"), (OPERATORS, "+ *")])
def test_rows_of_a_guided_annotation(trained, scheme, said):
    steps = [Step("How many?", "<<2+2=4>>4"), Step("Why?", "Because."), Step("So?", "4 * 3 = 12")]
    views = rows.make_views(scheme, STUDENTS, GUIDED_READS)
    encoded = rows.encode_rows([annotation("Who?", "12", steps)], scheme, views, trained)
    shown = {
        student: rows.show_row(row, trained, scheme.roles).replace("<|endofturn|>", "/")
        for student, [row] in encoded.items()
    }
    assert shown == {
        "planner": f"Who?/[planner>{said}/]",
        "asker": f"Who?/{said}/[decomposer>How many?/]<<2+2=4>>4/[decomposer>Why?/]Because./"
        "[decomposer>So?/]4 * 3 = 12\n#### 12/[decomposer><|endoftext|>]",
        "answerer": "Who?/How many?/[solver><<2+2=4>>4/]Why?/[solver>Because./]So?/"
        "[solver>4 * 3 = 12\n#### 12/]",
    }
    # One student in all roles, who all read all: a single row in which everything is learned.
    everyone = {role: list(STUDENTS) for role in STUDENTS}
    views = rows.make_views(scheme, dict.fromkeys(STUDENTS, "one"), everyone)
    [row] = rows.encode_rows([annotation("Who?", "12", steps)], scheme, views, trained)["one"]
    assert rows.show_row(row, trained, scheme.roles).replace("<|endofturn|>", "/") == (
        f"Who?/[planner>{said}/][decomposer>How many?/][solver><<2+2=4>>4/][decomposer>Why?/]"
        "[solver>Because./][decomposer>So?/][solver>4 * 3 = 12\n#### 12/]"
        "[decomposer><|endoftext|>]"
    )


def test_rows_of_a_planned_chain(trained):
    steps = [Step(None, "+ + 3 5 4=2"), Step(None, "+ 6 2=8")]
    made = annotation("+ 6 + + 3 5 4", "8", steps)
    reads = {"planner": [], "solver": ["planner"]}
    views = rows.make_views(PLANNED, STUDENTS, reads)
    encoded = rows.encode_rows([made], PLANNED, views, trained)
    shown = {
        student: rows.show_row(row, trained, PLANNED.roles).replace("<|endofturn|>", "/")
        for student, [row] in encoded.items()
    }
    chain = "[solver>+ + 3 5 4=2\n+ 6 2=8\n#### 8<|endoftext|>]"
    assert shown == {
        "planner": "+ 6 + + 3 5 4/[planner><2>/]",
        "answerer": f"+ 6 + + 3 5 4/<2>/{chain}",
    }
    # The paper's single model: one row, in which the step size is learned too.
    one = {"planner": "one", "solver": "one"}
    everyone = {"planner": ["solver"], "solver": ["planner"]}
    [view] = rows.make_views(PLANNED, one, everyone)
    [row] = rows.encode_rows([made], PLANNED, [view], trained)["one"]
    assert rows.show_row(row, trained, PLANNED.roles).replace("<|endofturn|>", "/") == (
        f"+ 6 + + 3 5 4/[planner><2>/]{chain}"
    )
    with pytest.raises(UserError, match=r"nobody reads the planner: .* config\.reads\.solver"):
        rows.make_views(PLANNED, STUDENTS, GUIDED_READS)


def test_rows_of_dialogues(trained):
    """Finished ones are those of the annotation; one that was cut off has no mark at its end."""
    made = annotation()
    students = {"decomposer": "asker", "solver": "answerer"}
    views = rows.make_views(SOCRATIC, students, GUIDED_READS)
    turns = transcript.render(made, SOCRATIC)
    some = [
        transcript.Transcript("a", made.question, turns),
        transcript.Transcript("a", made.question, [*turns, ("decomposer", "")]),
        transcript.Transcript("a", made.question, turns, finished=False),
    ]
    encoded = rows.encode_transcripts(some, SOCRATIC, views, trained)
    expected = rows.encode_rows([made], SOCRATIC, views, trained)
    for student, (own, with_end, cut) in encoded.items():
        (row,) = expected[student]
        assert own == with_end == row
        # The decomposer also lacks the end of the text, which it would have written.
        lacking = 2 if student == "asker" else 1
        assert cut.tokens == row.tokens[:-lacking] and cut.writers == row.writers[:-lacking]


def test_a_digit_is_one_token_always_the_same(trained):
    (ids,) = trained.encode(["Ann has 15 pens. 15 + 5 = 20\n#### 20"])
    pieces = [trained.decode([token]) for token in ids]
    assert "".join(pieces) == "Ann has 15 pens. 15 + 5 = 20\n#### 20"
    for piece in pieces:
        assert not any(c.isdigit() for c in piece) or len(piece) == 1
    vocabulary = [trained.decode([token]) for token in range(trained.size)]
    assert not [v for v in vocabulary if len(v) > 1 and any(c.isdigit() for c in v)]


def test_saved_tokenizer_is_the_same(trained, tmp_path):
    import transformers

    trained.save(tmp_path / "tokenizer")
    loaded = tokenizer.load_tokenizer(str(tmp_path / "tokenizer"))
    texts = ["Ann has 5 pens.", "<|endoftext|> é\n\n 12"]
    assert loaded.encode(texts) == trained.encode(texts)
    assert (loaded.end_of_turn, loaded.end_of_text) == (trained.end_of_turn, trained.end_of_text)
    assert loaded.size == trained.size and loaded.padded_size % 128 == 0
    plain = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert plain.eos_token == "<|endoftext|>"
    assert plain("Ann has 5 pens.")["input_ids"] == trained.encode(["Ann has 5 pens."])[0]


def test_a_saved_tokenizer_is_read_and_saved_again_without_transformers(trained, tmp_path):
    trained.save(tmp_path / "saved")
    saved = {f.name: f.read_bytes() for f in (tmp_path / "saved").iterdir()}
    # An exported student has its weights in the same directory.
    (tmp_path / "saved" / "model.safetensors").write_bytes(b"\xff" * 99)
    script = (
        "import pathlib, sys\n"
        "from distill_jax.text import tokenizer\n"
        "loaded = tokenizer.load_tokenizer(sys.argv[1])\n"
        "loaded.save(pathlib.Path(sys.argv[2]))\n"
        "assert 'transformers' not in sys.modules"
    )
    paths = [tmp_path / "saved", tmp_path / "again"]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    assert {f.name: f.read_bytes() for f in paths[1].iterdir()} == saved


def test_tokenizer_mistakes_end_in_a_user_error(tmp_path, trained):
    with pytest.raises(UserError, match="no such directory"):
        tokenizer.load_tokenizer(str(tmp_path / "missing"))
    with pytest.raises(UserError, match="cannot load"):
        tokenizer.load_tokenizer(str(tmp_path))
    with pytest.raises(UserError, match="surrogate"):
        trained.encode(["fine", "broken \ud800"])


def test_gpt2_tokenizer_gets_an_end_of_turn_inside_the_padding():
    data = os.environ.get("DISTILL_JAX_DATA")
    if not data:
        pytest.skip("DISTILL_JAX_DATA is not set: no GPT-2 tokenizer")
    gpt2 = tokenizer.load_tokenizer(str(pathlib.Path(data) / "gpt2_tokenizer"))
    assert (gpt2.end_of_text, gpt2.end_of_turn, gpt2.size) == (50256, 50257, 50258)
    assert gpt2.padded_size == 50304
    assert gpt2.encode(["Hello world"]) == [[15496, 995]]
    assert 50256 not in gpt2.encode(["a <|endoftext|> b"])[0]
