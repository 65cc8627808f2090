"""Filters over candidate answers and what is kept of a problem: by hand, and as properties."""

import dataclasses
import doctest
import math
import re
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.annotations import duplicates, edit_distance, filters
from distill_jax.annotations.filters import Candidate
from distill_jax.dialogues import predict
from distill_jax.records import Annotation, Prediction, Sample, Step, Turn
from distill_jax.sampling.dialogues import Dialogue, WrittenTurn

PARTS = ["a", "b", "c", "3*4 = 12;", "3*4 = 13;", "<<2+2=4>>", "<<2+2=5>>", "Question:"]


def candidate(name="p", text="a b c", tokens=30, perplexity=7.0, correct=True, status="finished"):
    """A candidate of this perplexity, which is its own record's only use: to be told apart."""
    log_probability = -tokens * math.log(perplexity) if tokens is not None else None
    record = Annotation(name, "", "4", (), {"kind": "gold"})
    return Candidate(name, text, correct, status, tokens, log_probability, record)


def test_the_header_of_a_turn_is_not_among_its_tokens():
    """Four tokens that the format gives, and three of -2 nats each: a perplexity of e^2."""
    sampler = types.SimpleNamespace(
        scheme=types.SimpleNamespace(roles=("solver",)),
        tokenizer=types.SimpleNamespace(decode=lambda ids: " ".join(map(str, ids))),
    )
    turn = WrittenTurn(0, [7, 8], written=7, log_probability=-6.0, log_probs=(-2.0,) * 3, opening=4)
    turns = predict.written_turns(Dialogue([turn], "finished"), sampler)
    assert turns == (Turn("solver", "7 8", 3, -6.0, 0.0, 0.0),)
    [found] = filters.candidates_of(Prediction("p", "", "", "", turns, "", True, {}, "finished"))
    assert found.tokens == 3 and filters.perplexity(found) == pytest.approx(math.e**2)


@pytest.mark.parametrize("module", [duplicates, edit_distance, filters])
def test_the_examples_of_the_docstrings(module):
    result = doctest.testmod(module)
    assert result.failed == 0 and (result.attempted or module is duplicates)


def test_repetition_by_hand():
    # ab ba ab ba ac: 3 of 5 bigrams are unique.
    assert filters.repetition(["a", "b", "a", "b", "a", "c"]) == pytest.approx(0.4)
    assert filters.repetition(["a", "b"]) == filters.repetition(["a"]) == 0.0


def test_perplexity_by_hand():
    turns = (Turn("decomposer", "a", 2, -0.5 - 1.0), Turn("solver", "b", 2, -0.25 - 2.25))
    prediction = Prediction("p", "?", "4", "a\nb", turns, "4", True, {}, "finished")
    (found,) = filters.candidates_of(prediction)
    assert (found.tokens, found.log_probability) == (4, -4.0)
    assert filters.perplexity(found) == pytest.approx(math.e)
    assert filters.perplexity_between(5.0)(found) == "perplexity too low"
    assert filters.perplexity_between(1.0, 2.0)(found) == "perplexity too high"
    assert filters.perplexity_between(2.7, 2.8)(found) is None


def test_the_filters_of_self_enhanced_reasoning_training_by_hand():
    """Length, then rep-2, then perplexity; of what is left the one of the lowest rep-2."""

    def made(tokens, share, perplexity):
        # 101 words have 100 bigrams. A word that stands n times in a row repeats n - 2 of them.
        in_a_row = round(100 * share) + 2
        words = ["w"] * in_a_row + [f"v{n}" for n in range(101 - in_a_row)]
        assert filters.repetition(words) == pytest.approx(share)
        return candidate(text=" ".join(words), tokens=tokens, perplexity=perplexity)

    x, y, z = made(20, 0.05, 9.0), made(30, 0.25, 9.0), made(30, 0.10, 4.0)
    v, w = made(40, 0.15, 7.0), made(30, 0.12, 6.0)
    rules = [
        filters.length_between(25),
        filters.repetition_at_most(0.20),
        filters.perplexity_between(5.0),
    ]
    kept, dropped = filters.sift([x, y, z, v, w], rules)
    assert kept == [v, w]
    assert [each.candidate for each in dropped] == [x, y, z]
    assert [each.reason for each in dropped] == ["too short", "repetitive", "perplexity too low"]
    assert filters.keep_of_each_problem(kept, filters.lowest_repetition)[0] == [w]
    assert filters.counts(kept, dropped) == {
        "kept": 2, "too short": 1, "repetitive": 1, "perplexity too low": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("check", "changed", "reason"),
    [
        (filters.right, {}, None),
        (filters.right, {"correct": False}, "wrong answer"),
        (filters.finished, {}, None),
        (filters.finished, {"status": "turn_cap"}, "not finished"),
        (filters.finished, {"status": "prompt_too_long"}, "not finished"),
        (filters.finished, {"status": "unparsed"}, "no answer"),
        (filters.equations_true, {"text": "3 * 4 = 12 and <<7/2=3.5>>3.5"}, None),
        (filters.equations_true, {"text": "3 * 4 = 13"}, "false calculation"),
        (filters.equations_true, {"text": "<<7/2=3>>3"}, "false calculation"),
        (filters.length_between(30), {}, None),
        (filters.length_between(31), {}, "too short"),
        (filters.length_between(0, 30), {}, None),
        (filters.length_between(0, 29), {}, "too long"),
        (filters.length_between(0), {"tokens": None}, "length not known"),
        (filters.perplexity_between(0.0), {"tokens": None}, "perplexity not known"),
        (filters.perplexity_between(0.0), {"tokens": 0}, "perplexity not known"),
        (filters.without(re.compile("Question:"), "asks again"), {}, None),
        (filters.without(re.compile("b c"), "asks again"), {}, "asks again"),
    ],
)
def test_reasons(check, changed, reason):
    assert check(candidate(**changed)) == reason


def test_numbers_of_a_file_that_are_no_numbers_do_not_pass_and_do_not_stop():
    base = candidate()
    for value in (math.nan, None):
        odd = dataclasses.replace(base, log_probability=value)
        assert filters.perplexity_between(0.0)(odd) == "perplexity not known"
    for value in (-1e9, -math.inf):  # exp would overflow
        odd = dataclasses.replace(base, log_probability=value)
        assert filters.perplexity(odd) == math.inf
        assert filters.perplexity_between(0.0, 1e300)(odd) == "perplexity too high"


def test_every_sample_is_a_candidate():
    turn = Turn("solver", "2+2 = 4\n#### 4", 6, -3.0)
    samples = tuple(
        Sample(i, turn.text, (turn,) * (i + 1), "4", i == 0, {}, "finished", -3.0, 6)
        for i in range(3)
    )
    prediction = Prediction(
        "p", "?", "4", turn.text, (turn,), "4", True, {}, "finished", samples=samples
    )
    found = filters.candidates_of(prediction)
    assert [(each.problem, each.correct, each.tokens) for each in found] == [
        ("p", True, 6), ("p", False, 12), ("p", False, 18)
    ]  # fmt: skip
    assert [each.record for each in found] == list(samples)


def test_an_annotation_is_a_candidate_with_the_text_of_its_dialogue():
    steps = (Step("How many?", "2+2 = 4"), Step(None, "So 4."))
    source = {"kind": "student", "tokens": 9, "log_probability": -4.5}
    found = filters.candidate_of(Annotation("p", "?", "4", steps, source))
    assert found.text == "How many?\n2+2 = 4\nSo 4.\n#### 4"
    assert filters.mean_log_probability(found) == -0.5
    assert filters.sift([found], [filters.right, filters.finished]) == ([found], [])
    unknown = filters.candidate_of(Annotation("p", "?", "4", steps, {"kind": "gold"}))
    assert filters.length_between(0)(unknown) == "length not known"


CANDIDATES = st.lists(
    st.builds(
        candidate,
        name=st.sampled_from("pqr"),
        text=st.lists(st.sampled_from(PARTS), max_size=8).map(" ".join),
        tokens=st.none() | st.integers(0, 9),
        perplexity=st.floats(1.0, 9.0),
        correct=st.booleans(),
        status=st.sampled_from(["finished", "unparsed", "token_cap"]),
    ),
    max_size=12,
)
# Each filter with what it asks for, said another way.
SATISFIED = {
    "wrong answer": (filters.right, lambda c: c.correct),
    "not finished": (filters.finished, lambda c: c.status == "finished"),
    "length": (filters.length_between(2, 6), lambda c: c.tokens in (2, 3, 4, 5, 6)),
    "repetition": (
        filters.repetition_at_most(0.0),
        lambda c: all(
            c.text.split()[i : i + 2] != c.text.split()[j : j + 2]
            for j in range(len(c.text.split()) - 1)
            for i in range(j)
        ),
    ),
    "perplexity": (
        filters.perplexity_between(3.0, 6.0),
        lambda c: bool(c.tokens) and 3.0 <= math.exp(-c.log_probability / c.tokens) <= 6.0,
    ),
    "pattern": (
        filters.without(re.compile("Question:"), "asks again"),
        lambda c: "Question:" not in c.text,
    ),
    "equations": (
        filters.equations_true,
        lambda c: "2+2=5" not in c.text and "3*4 = 13" not in c.text,
    ),
}


@pytest.mark.parametrize(("check", "satisfies"), SATISFIED.values(), ids=SATISFIED)
@given(candidates=CANDIDATES)
def test_a_filter_drops_exactly_what_does_not_satisfy_it(check, satisfies, candidates):
    kept, dropped = filters.sift(candidates, [check])
    assert kept == [each for each in candidates if satisfies(each)]
    assert [each.candidate for each in dropped] == [c for c in candidates if not satisfies(c)]
    assert sum(filters.counts(kept, dropped).values()) == len(candidates)


@given(CANDIDATES, st.permutations([check for check, _ in SATISFIED.values()]))
def test_the_order_of_filters_decides_the_reason_and_not_what_is_kept(candidates, checks):
    kept, dropped = filters.sift(candidates, checks)
    assert kept == [c for c in candidates if all(check(c) is None for check in checks)]
    for each in dropped:
        said = [check(each.candidate) for check in checks]
        assert each.reason == next(reason for reason in said if reason is not None)


RULES = [filters.keep_all, filters.most_different, filters.lowest_repetition, filters.shortest]


@pytest.mark.parametrize("rule", RULES)
@given(candidates=CANDIDATES)
def test_a_rule_keeps_something_of_every_problem(rule, candidates):
    kept, dropped = filters.keep_of_each_problem(candidates, rule)
    assert {each.problem for each in kept} == {each.problem for each in candidates}
    assert len(kept) + len(dropped) == len(candidates)
    rest = iter(candidates)
    assert all(any(each is other for other in rest) for each in kept)  # in their order
    if rule is filters.keep_all:
        assert kept == candidates
    if rule in (filters.lowest_repetition, filters.shortest):
        assert len({each.problem for each in kept}) == len(kept)
    if rule is filters.most_different:
        found = [(each.problem, filters.equations_of(each.text)) for each in kept]
        assert sorted(found) == sorted(
            {(c.problem, filters.equations_of(c.text)) for c in candidates}
        )


def test_the_shortest_is_that_of_the_fewest_tokens_if_all_are_known():
    long, short = candidate(text="a" * 9, tokens=3), candidate(text="a", tokens=4)
    assert filters.shortest([short, long]) == [1]
    assert filters.shortest([long, short, candidate(text="a" * 5, tokens=None)]) == [1]
    assert filters.shortest([long, long]) == [0]


def test_of_equal_equations_the_one_that_differs_most_is_kept():
    texts = [
        "We add: <<2+2=4>>4",
        "<<2*2=4>>4",
        "We add them all up now: << 2+2 = 4 >>4",  # the same equation, farther from the second
        "We add: <<2+2=4>>4.",  # nearer than the third
        "2+2=4, <<1+3=4>>4",
    ]
    assert filters.most_different([candidate(text=text) for text in texts]) == [1, 2, 4]
    # Nothing to differ from yet: the first stays.
    assert filters.most_different([candidate(text="2+2 = 4"), candidate(text="So 2+2 = 4")]) == [0]
    assert filters.most_different([candidate(text="yes"), candidate(text="It is.")]) == [0]


@given(st.text("ab ", max_size=9), st.text("abc", max_size=9))
def test_edit_distance_is_that_of_the_table(left, right):
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, start=1):
        above, row = row, [i]
        for j, other in enumerate(right, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (one != other)))
    assert edit_distance.edit_distance(left, right) == row[-1]


def test_edit_distance_of_long_texts():
    text = "Ann has 3 bags of 4 clips. " * 20
    assert edit_distance.edit_distance(text, text) == 0
    assert edit_distance.edit_distance(text, text[1:-2] + "!") == 3
    assert edit_distance.edit_distance(text, "") == edit_distance.edit_distance("", text) == 540


def several(*texts):
    return [Annotation("p", "?", "4", (Step(None, text),), {"kind": "gold"}) for text in texts]


def test_jaccard_by_hand():
    assert duplicates.jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
    assert duplicates.jaccard(frozenset(), frozenset()) == 0.0


@pytest.mark.parametrize(
    ("near", "words_in_a_row", "reasons"),
    [
        (0.5, 1, ["near duplicate"]),  # {a b c} and {b c d}: 2 of 4
        (0.51, 1, []),
        (0.33, 2, ["near duplicate"]),  # {ab bc} and {bc cd}: 1 of 3
        (0.34, 2, []),
        (0.0, 2, ["near duplicate"]),
    ],
)
def test_how_near_duplicates_are_is_an_argument(near, words_in_a_row, reasons):
    made = several("a b c", "b c d")
    _, rejected = duplicates.drop_duplicates(made, near=near, words_in_a_row=words_in_a_row)
    assert [each.reason for each in rejected] == reasons


def test_texts_of_one_word_are_no_near_duplicates():
    kept, rejected = duplicates.drop_duplicates(several("12", "13", "12."))
    assert [each.steps[0].solution for each in kept] == ["12", "13"]
    assert [each.reason for each in rejected] == ["duplicate"]
