"""The rules of combination by hand, and against slow obvious versions."""

import collections
import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.dialogues.votes import entropy
from distill_jax.evaluation.combination import ballots, length_vote, switch, vote
from distill_jax.records import Cost, Prediction, Sample, Turn
from distill_jax.tasks import jsonl

# (steps written, answer): When More is Less, width 2, 3 buckets.
LENGTHS = (
    [(3, "7")] * 3 + [(4, "7")] + [(5, "9")] * 2
    + [(6, "9"), (6, "8"), (7, "8"), (8, "1"), (8, "2"), (9, "9"), (10, "9"), (10, "3")]
)  # fmt: skip


def prediction(answer, *, steps=1, log_probability=-1.0, cost=1, right="7"):
    """Solved in `steps` lines; the cost is in FLOPs, and a tenth of that in tokens read."""
    text = "\n".join(["1 + 1 = 2"] * steps + [f"#### {answer}"])
    return Prediction(
        id="p",
        question="Q?",
        answer=right,
        completion=text,
        turns=(Turn("solver", text, steps, log_probability),),
        prediction=answer,
        correct=answer == right,
        scores={"normalised": answer == right},
        status="unparsed" if answer is None else "finished",
        attributes={"steps": 2},
        answered_by="students",
        cost=Cost(cost // 10, steps, cost),
    )


def sampled(answers, log_probability=-1.0):
    """A vote with these samples, and their cost."""
    return vote(
        {f"{i}": prediction(a, log_probability=log_probability) for i, a in enumerate(answers)}
    )


def test_vote_by_hand():
    """Students 0, 2, 0, of whom the first is the more probable: 0 wins, by the first."""
    members = {
        "a": prediction("0", log_probability=-1.0, cost=10),
        "b": prediction("2", log_probability=-0.1, cost=20),
        "c": prediction("0", log_probability=-3.0, cost=30),
    }
    voted = vote(members)
    assert (voted.prediction, voted.answered_by, voted.correct) == ("0", "a", False)
    assert voted.cost == Cost(6, 3, 60)
    assert [s.answered_by for s in voted.samples] == ["a", "b", "c"]
    assert [s.index for s in voted.samples] == [0, 1, 2]
    assert voted.turns == members["a"].turns and voted.attributes == {"steps": 2}


def test_members_that_write_one_answer_in_several_ways_agree():
    answers = ["Ben", "Ann", "ann.", "Ben", "ANN"]
    members = {str(n): prediction(answer, right="Eve") for n, answer in enumerate(answers)}
    assert vote(members).prediction == "Ben"
    voted = vote(members, jsonl.grade)
    assert (voted.prediction, voted.answered_by) == ("Ann", "1")
    assert [s.prediction for s in voted.samples] == ["Ben", "Ann", "Ann", "Ben", "Ann"]
    by_length = length_vote(members, lambda ballot: 1, 1, 1, jsonl.grade)
    assert by_length.prediction == "Ann"


def test_every_sample_of_every_member_is_a_ballot():
    members = {"a": sampled(["7", "7", "8"]), "b": sampled(["8", "8"]), "c": prediction("9")}
    voted = vote(members)
    assert voted.prediction == "8"
    # The samples know who wrote them inside of the member.
    assert [s.answered_by for s in voted.samples] == ["a: 0", "a: 1", "a: 2", "b: 0", "b: 1", "c"]
    assert voted.cost == Cost(0, 6, 6)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["7", "8", "9", None]), min_size=1, max_size=7))
def test_vote_against_counting(answers):
    """All equally probable: most ballots, then the first; what cannot be read only if all."""
    voted = vote({str(i): prediction(answer) for i, answer in enumerate(answers)})
    read = [answer for answer in answers if answer is not None] or answers
    counts = [(read.count(answer), -read.index(answer), answer) for answer in read]
    assert voted.prediction == max(counts, key=lambda count: count[:2])[2]


def test_entropies_by_hand():
    by_bucket = collections.defaultdict(list)
    for length, answer in LENGTHS:
        by_bucket[length // 2].append(answer)
    found = [entropy(by_bucket[bucket]) for bucket in (1, 2, 3, 4, 5)]
    assert found == pytest.approx([0.0, 0.636514, 0.636514, 1.098612, 0.693147], abs=1e-6)
    assert math.copysign(1, found[0]) == 1  # not -0.0


def test_length_vote_by_hand():
    """Buckets 1, 2 and 3 are kept: 7 has 4, 9 has 3, 8 has 2. The plain vote says 9, 5 to 4."""
    members = {str(i): prediction(a, steps=n) for i, (n, a) in enumerate(LENGTHS)}
    assert vote(members).prediction == "9"
    filtered = length_vote(members, lambda sample: sample.tokens, width=2, buckets=3)
    assert filtered.prediction == "7" and filtered.correct
    assert len(filtered.samples) == len(LENGTHS)
    assert filtered.cost == Cost(0, sum(n for n, _ in LENGTHS), len(LENGTHS))


def test_length_vote_of_the_docstring():
    rows = zip((3, 3, 4, 6, 6, 8, 8), "7779899", strict=True)
    members = {str(i): prediction(a, steps=n) for i, (n, a) in enumerate(rows)}
    assert length_vote(members, lambda s: s.tokens, width=2, buckets=2).prediction == "7"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["7", "8", None])), min_size=1, max_size=9
    ),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_length_vote_against_the_obvious_way(rows, width, kept):
    samples = [(n, a) for n, a in rows if a is not None] or rows
    buckets = collections.defaultdict(list)
    for n, answer in samples:
        buckets[n // width].append(answer)

    def disorder(bucket):
        answers = buckets[bucket]
        shares = [answers.count(a) / len(answers) for a in set(answers)]
        return round(-sum(share * math.log(share) for share in shares), 12), bucket

    chosen = sorted(buckets, key=disorder)[:kept]
    left = [answer for n, answer in samples if n // width in chosen]
    most = max(left.count(answer) for answer in left)
    expected = next(answer for answer in left if left.count(answer) == most)
    # Equally probable per token: of equally frequent answers the first wins.
    members = {str(i): prediction(a, steps=n, log_probability=-n) for i, (n, a) in enumerate(rows)}
    found = length_vote(members, lambda s: s.tokens, width, kept)
    assert found.prediction == expected


def test_switch_by_hand():
    """Titans: the small one costs 1, the large one 20, and a quarter is deferred: 6 on average."""
    small = dataclasses.replace(prediction("8", cost=1), answered_by="small")
    large = prediction("7", cost=20)
    unsure = [0.1, 0.9, 0.3, 0.5]
    found = [switch(small, large, "large", each, 0.5) for each in unsure]
    assert [p.answered_by for p in found] == ["small", "large", "small", "small"]
    assert [p.correct for p in found] == [False, True, False, False]
    assert sum(p.cost.flops for p in found) / 4 == 6
    assert found[1].cost == Cost(0 + 2, 1 + 1, 1 + 20)


def test_switch_has_no_samples():
    small, large = sampled(["8", "8"]), sampled(["7", "7", "7"])
    for unsure in (0.2, 0.8):
        assert switch(small, large, "large", unsure, 0.5).samples == ()


def test_predictions_of_several_problems_are_refused():
    other = dataclasses.replace(prediction("7"), id="q")
    with pytest.raises(ValueError, match="one problem"):
        vote({"a": prediction("7"), "b": other})
    with pytest.raises(ValueError, match="one problem"):
        switch(prediction("7"), other, "large", 0.0, 0.5)
    with pytest.raises(ValueError):
        vote({})


def test_ballots_keep_what_samples_are():
    [only] = ballots({"a": prediction("7", steps=3, log_probability=-2.0, cost=10)})
    assert isinstance(only, Sample)
    assert (only.tokens, only.log_probability, only.cost) == (3, -2.0, Cost(1, 3, 10))
