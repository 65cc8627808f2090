"""Chains cut by entropy: the worked example by hand, and that nothing is lost."""

import dataclasses
import doctest
import itertools
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax import errors
from distill_jax.annotations import segment, segments, subsets
from distill_jax.annotations.segments import Segment
from distill_jax.annotations.subsets import fold_of_questions
from distill_jax.annotations.verify import verify
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, Step, annotation_from_dict, read_json_lines
from distill_jax.settings import command_line
from distill_jax.tasks.grading import grade_number
from distill_jax.text.transcript import SCHEMES, render

CHAIN = (
    "Kim has 4 books. 3 of the books break, that makes 4 - 3 = 1. Now Kim has 1.5 books.\n"
    "The answer is 1."
)


def split(text):
    """Tokens as GPT-2 cuts English: words with the space before them, signs, line ends."""
    tokens = re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^A-Za-z0-9\s]|\s", text)
    assert "".join(tokens) == text
    return tokens


def texts(chain):
    return [chain[piece.start : piece.end] for piece in segments.pieces(chain)]


def test_the_examples_of_the_docstrings():
    for module in (segments, segment):
        result = doctest.testmod(module)
        assert result.attempted and result.failed == 0


def test_pieces_by_hand():
    assert texts(CHAIN) == [
        "Kim has 4 books. ",
        "3 of the books break, ",
        "that makes 4 - 3 = 1. ",
        "Now Kim has 1.5 books.\n",
        "The answer is 1.",
    ]
    assert [piece.words for piece in segments.pieces(CHAIN)] == [4, 5, 7, 5, 4]  # all above 3


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("", []),
        ("  ", ["  "]),
        (". ,\n", [". ,\n"]),
        ("no end mark", ["no end mark"]),
        ("It costs $1,000, or .5 a day", ["It costs $1,000, ", "or .", "5 a day"]),
        ("So 5. Then 6.", ["So 5. ", "Then 6."]),
        ("Well... yes", ["Well... ", "yes"]),
        ("\n\nFirst\n\n  second", ["\n\nFirst\n\n  ", "second"]),
        ("a.b", ["a.", "b"]),
    ],
)
def test_where_a_chain_is_cut(chain, expected):
    assert texts(chain) == expected


def test_pieces_are_those_of_the_papers_code():
    """Its three splits one after the other, on a chain without commas inside of numbers."""
    found = re.split(r"(?<!\d)\.|\.(?!\d|\.)", CHAIN)
    found = [part for each in found for line in each.split("\n") for part in line.split(",")]
    expected = [part.strip() for part in found if part.strip()]
    assert [text.strip().rstrip(".,") for text in texts(CHAIN)] == expected


def test_kinds_by_hand():
    assert segments.abstractive([2.0, 1.0, 6.0, 3.0]) == [False, False, True, False]
    assert segments.abstractive([2.0, 1.0, 4.2, 3.0], ratio=2.0) == [False] * 4
    assert segments.abstractive([0.0, 0.0]) == [False, False]
    assert segments.abstractive([]) == []


def test_entropies_of_pieces_by_hand():
    tokens = [" Kim", " left", ".", " Now", " 1", ".", "5", " stay", ".", "\n", "So", "", "!"]
    entropies = [1.0, 2.0, 0.5, 4.0, 8.0, 16.0, 32.0, 64.0, 0.25, 0.125, 128.0, 256.0, 512.0]
    cut = segments.pieces("".join(tokens))
    # The space of ` Now` ends the first piece; its token is of the second, as `\n` is.
    assert segments.piece_entropies(tokens, entropies, cut) == [3.5, 124.375, 896.0]
    with pytest.raises(ValueError):
        segments.piece_entropies(tokens, entropies[1:], cut)


def test_segments_by_hand():
    """Entropies 2, 1, 6, 3 of four pieces: the third alone is above 4.2."""
    chain = CHAIN.partition("\n")[0]
    tokens = split(chain)
    cut = segments.pieces(chain)
    firsts = [min(i for i in range(len(tokens)) if len("".join(tokens[: i + 1])) > piece.start + 1)
              for piece in cut]  # fmt: skip
    entropies = [0.0] * len(tokens)
    for first, entropy in zip(firsts, (2.0, 1.0, 6.0, 3.0), strict=True):
        entropies[first] = entropy
    assert segments.piece_entropies(tokens, entropies, cut) == [2.0, 1.0, 6.0, 3.0]
    found = segments.segments(tokens, entropies)
    assert found == [
        Segment("Kim has 4 books. 3 of the books break, ", False),
        Segment("that makes 4 - 3 = 1. ", True),
        Segment("Now Kim has 1.5 books.", False),
    ]
    assert segments.steps_of(found) == (
        Step(
            "Kim has 4 books. 3 of the books break,", "that makes 4 - 3 = 1. Now Kim has 1.5 books."
        ),
    )
    # Per word: 0.5, 0.2, 0.857, 0.6; the mean is 0.539, the threshold 0.755.
    assert segments.segments(tokens, entropies, per_word=True) == found
    # A threshold of 2.4 makes two of them abstractive, which are one segment.
    assert segments.segments(tokens, entropies, ratio=0.8)[-1] == Segment(
        "that makes 4 - 3 = 1. Now Kim has 1.5 books.", True
    )


def test_short_pieces_are_dropped_before_the_mean_is_taken():
    tokens = ["Yes", ", ", "Kim has four books", ". ", "That makes four minus three", "."]
    entropies = [90.0, 0.0, 1.0, 0.0, 3.0, 0.0]
    found = segments.segments(tokens, entropies, least_words=4)
    assert found == [
        Segment("Kim has four books. ", False),
        Segment("That makes four minus three.", True),
    ]
    assert segments.rejoined(found) == "Kim has four books. That makes four minus three."
    assert segments.segments(tokens, entropies)[0] == Segment("Yes, ", True)
    assert segments.segments(["Yes", "."], [1.0, 1.0], least_words=4) == []


@pytest.mark.parametrize(
    ("kinds", "steps"),
    [
        ("", ()),
        ("e", (Step("", "0"),)),
        ("a", (Step("", "0"),)),
        ("ea", (Step("0", "1"),)),
        ("eea", (Step("0 1", "2"),)),
        ("ae", (Step("", "0 1"),)),
        ("eae", (Step("0", "1 2"),)),
        ("aea", (Step("", "0"), Step("1", "2"))),
        ("eaea", (Step("0", "1"), Step("2", "3"))),
    ],
)
def test_steps_by_hand(kinds, steps):
    cut = [Segment(f"{number} ", kind == "a") for number, kind in enumerate(kinds)]
    assert segments.steps_of(cut) == steps


CHAINS = st.text("ab1 .,\n", max_size=30)


@given(CHAINS)
def test_pieces_follow_each_other_without_gaps(chain):
    cut = segments.pieces(chain)
    assert "".join(texts(chain)) == chain
    assert all(piece.words for piece in cut) or not chain.strip(" .,\n")
    for left, right in itertools.pairwise(cut):
        assert left.end == right.start and chain[left.start : left.end].strip(" \n")


@given(CHAINS, st.data())
def test_segments_and_steps_make_up_the_chain_again(chain, data):
    ends = sorted(data.draw(st.sets(st.integers(0, len(chain)), max_size=8)) | {len(chain)})
    tokens = [chain[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    sizes = st.floats(0.0, 9.0)
    entropies = data.draw(st.lists(sizes, min_size=len(tokens), max_size=len(tokens)))
    sums = segments.piece_entropies(tokens, entropies, segments.pieces(chain))
    if chain:
        assert math.isclose(math.fsum(sums), math.fsum(entropies), abs_tol=1e-9)
    cut = segments.segments(tokens, entropies, ratio=data.draw(st.floats(0.1, 2.0)))
    assert "".join(segment.text for segment in cut) == chain
    assert all(one.abstractive != other.abstractive for one, other in itertools.pairwise(cut))
    written = "".join((step.subquestion or "") + step.solution for step in segments.steps_of(cut))
    assert re.sub(r"\s", "", written) == re.sub(r"\s", "", chain)


@given(CHAINS.filter(lambda chain: chain.strip(" .,\n")), st.floats(1.0, 2.0))
def test_a_chain_of_equal_entropies_only_restates(chain, ratio):
    count = len(segments.pieces(chain))
    assert segments.abstractive([2.0] * count, ratio) == [False] * count


def entropy_rows():
    """Two chains: in the first an equation follows what restates, the second begins with one."""
    first = ["Kim has 4. ", "That makes 4 - 3 = 1. ", "So 1."], [1.0, 9.0, 2.0]
    second = ["8 / 2 = 4. ", "Half of 8 stay."], [5.0, 1.0]
    for name, (tokens, entropies) in {"a": first, "b": second}.items():
        yield {
            "id": name, "question": f"{name}?", "answer": "1", "tokens": tokens,
            "entropies": entropies, "scorer": "w",
        }  # fmt: skip


def cut_by(tmp_path, capsys, *arguments):
    """(pairs, chains, summary, what was said) of the command."""
    file, output = tmp_path / "entropies.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps(row) + "\n" for row in entropy_rows()))
    given = ["--entropies", str(file), "--output", str(output), *arguments]
    assert errors.run_command(segment.main, given) == 0
    files = [
        [annotation_from_dict(row) for _, row in read_json_lines(output / f"{name}.jsonl")]
        for name in ("annotations", "chains")
    ]
    summary = json.loads((output / "summary.json").read_text())
    return *files, summary, capsys.readouterr().out


def test_the_command_writes_pairs_and_the_chains_to_compare_them_with(tmp_path, capsys):
    pairs, chains, summary, said = cut_by(tmp_path, capsys)
    assert [each.steps for each in pairs] == [
        (Step("Kim has 4.", "That makes 4 - 3 = 1. So 1."),),
        (Step("", "8 / 2 = 4. Half of 8 stay."),),
    ]
    assert [each.steps for each in chains] == [
        (Step(None, "Kim has 4. That makes 4 - 3 = 1. So 1."),),
        (Step(None, "8 / 2 = 4. Half of 8 stay."),),
    ]
    # 9 and 5 have an equation; 1, 2 and 1 have none.
    assert (summary["chains"], summary["steps"], summary["auroc"]) == (2, {"1": 2}, 1.0)
    assert "2 chains, 2 steps; entropy tells pieces with an equation at AUROC 1.000" in said
    true, *_ = cut_by(tmp_path, capsys, "--by", "equation")
    assert [each.steps for each in true] == [each.steps for each in pairs]
    with pytest.raises(UserError, match="--by=equation: leave out --ratio and --least_words"):
        segment.main(
            ["--entropies", str(tmp_path / "entropies.jsonl"), "--output", str(tmp_path / "no"),
             "--by", "equation", "--least_words", "2"]
        )  # fmt: skip
    assert (summary["ratio"], summary["least_words"]) == (1.4, 0)
    # With a low threshold all of the second chain infers.
    assert cut_by(tmp_path, capsys, "--ratio", "0.1")[0][1].steps == pairs[1].steps


def test_what_begins_with_an_inference_may_be_trained_on(tmp_path, capsys):
    pairs, *_ = cut_by(tmp_path, capsys)
    problems = [Problem(each.id, each.question, "1", "train") for each in pairs]
    kept, rejected = verify(pairs, problems, grade_number, equations="reject")
    assert (len(kept), rejected) == (2, [])
    turns = render(kept[1], SCHEMES["socratic"])
    assert turns == [("decomposer", ""), ("solver", "8 / 2 = 4. Half of 8 stay.\n#### 1")]
    others = [dataclasses.replace(pairs[1], source={"kind": "gold"})]
    assert [each.detail for each in verify(others, problems, grade_number)[1]] == [
        "empty subquestion"
    ]


def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, capsys):
    file = tmp_path / "a.jsonl"
    for text, message in (('{"id": "a"}\n', "not a file of distill_jax.run.entropies"), ("", "no")):
        file.write_text(text)
        given = ["--entropies", str(file), "--output", str(tmp_path / "out")]
        assert errors.run_command(segment.main, given) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.booleans()), max_size=12))
def test_auroc_is_the_share_of_pairs_in_the_right_order(values):
    pairs = [(a, b) for a, found in values if found for b, other in values if not other]
    won = sum((a > b) + (a == b) / 2 for a, b in pairs)
    expected = won / len(pairs) if pairs else None
    assert segment.auroc(values) == pytest.approx(expected)


def test_folds_share_no_question_and_are_all_together():
    made = [Annotation(str(n), f"q{n}", "1", (), {"kind": "gold"}) for n in range(300)]
    first, second = (fold_of_questions(made, fold) for fold in ("1/2", "2/2"))
    assert sorted([*first, *second], key=lambda a: int(a.id)) == made
    assert 120 < len(first) < 180 and not {a.id for a in first} & {a.id for a in second}
    assert fold_of_questions(made[:50], "1/2") == [a for a in made[:50] if a in first]
    assert fold_of_questions(made, "") == made
    data = command_line.load_config("configs/demo.py").data
    for fold, wrong in (("1/2", 0), ("3/2", 1), ("0/2", 1), ("half", 1)):
        data.fold = fold
        assert len(subsets.mistakes(data)) == wrong
