"""What is easy for a teacher: margins by hand, what is learned of the rest, and its cost."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.annotations import easy
from distill_jax.dialogues.votes import combine
from distill_jax.errors import UserError
from distill_jax.evaluation import combination, deferral
from distill_jax.records import Annotation, Cost, Prediction, Step, Turn, to_json
from distill_jax.run import training_annotations
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.tasks import arithmetic
from distill_jax.text import formats, transcript
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

CHAIN = transcript.SCHEMES["chain"]


def single(answer, gold="7", name="p", question="Q?", cost=0):
    turn = Turn("solver", f"3 + 4 = 7\n#### {answer}", 9, -0.5)
    return Prediction(
        name, question, gold, turn.text, (turn,), answer, answer == gold, {}, "finished",
        cost=Cost(0, cost, cost),
    )  # fmt: skip


def voted(answers, **more):
    return combine([single(answer, **more) for answer in answers])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("7777777881", 0.5),  # shares .7, .2, .1
        ("7", 1.0),
        ("77888888", 0.5),  # that of the answer, whether it is right or not
        ("78", 0.0),
        (["7", "7", "7", None, None], 0.2),
        (["7", None, None, None], -0.5),
        ([None, None], -1.0),
    ],
)
def test_margins_by_hand(answers, expected):
    assert easy.margin(voted(answers)) == pytest.approx(expected)


@given(st.lists(st.sampled_from(["7", "8", None]), min_size=1, max_size=8), st.floats(-1, 1))
def test_a_margin_is_a_difference_of_shares(answers, least):
    prediction = voted(answers)
    shares = {answer: answers.count(answer) / len(answers) for answer in set(answers)}
    mine = shares.pop(prediction.prediction) if prediction.prediction else 0.0
    expected = mine - max(shares.values(), default=0.0)
    assert easy.margin(prediction) == pytest.approx(expected)
    assert easy.is_easy(prediction, least) == (
        prediction.prediction == "7" and easy.margin(prediction) >= least
    )


def gold(name, question):
    return Annotation(name, question, "7", (Step(None, "3 + 4 = 7"),), {"kind": "gold"})


def test_what_is_learned_of_easy_hard_and_unasked_problems():
    annotations = [
        gold("a", "A?"),
        gold("b", "B?"),
        gold("b", "B?"),
        gold("c", "C?"),
        gold("d", ""),
    ]
    answers = {"A?": voted("7777"), "B?": voted("7788"), "C?": voted("8888")}
    kept, left = easy.divide(annotations, answers, 0.25, easy.DROP)
    assert kept == annotations[:1]
    assert [(each.id, each.reason) for each in left] == [
        *([("b", "hard for the teacher")] * 2),
        ("c", "hard for the teacher"),
        ("d", "not asked of the teacher"),
    ]
    assert left[2].detail == "margin 1.000, '8' for '7'"
    kept, left = easy.divide(annotations, answers, 0.25, easy.ABSTAIN)
    assert [(each.id, each.answer, len(each.steps)) for each in kept] == [
        ("a", "7", 1), ("b", "?", 0), ("c", "?", 0)
    ]  # fmt: skip
    assert kept[1].source == {"kind": "abstention", "margin": 0.0}
    assert kept[1].origin == "abstention" and [each.id for each in left] == ["d"]


@pytest.mark.parametrize("name", ["turns", "fine_tune_cot", "sert", "chatml"])
def test_an_abstention_is_an_answer_that_cannot_be_read(name):
    [abstention], _ = easy.divide([gold("p", "Q?")], {"Q?": voted("8")}, 0.5, easy.ABSTAIN)
    scheme = dataclasses.replace(CHAIN, text_format=formats.FORMATS[name])
    turns = transcript.render(abstention, scheme)
    completion = transcript.answer_text([text for _, text in turns], scheme)
    assert completion.strip() == "#### ?"
    assert arithmetic.grade(completion, "7").prediction is None
    assert transcript.parse(turns, scheme)[1] == "?"
    with pytest.raises(UserError, match="no steps: scheme 'socratic' needs some"):
        transcript.render(abstention, transcript.SCHEMES["socratic"])


def test_one_of_four_problems_is_left_to_the_teacher():
    """It costs 20 and the student 1: with a quarter deferred a problem costs 6."""
    answers = ["7", "7", "7", None]
    small = [single(a, name=str(n), cost=1) for n, a in enumerate(answers)]
    large = [single("7", name=str(n), cost=20) for n, _ in enumerate(answers)]
    switched = [
        combination.switch(mine, theirs, "teacher", deferral.of_answer(mine), threshold=0.9)
        for mine, theirs in zip(small, large, strict=True)
    ]
    assert [each.answered_by for each in switched] == ["", "", "", "teacher"]
    assert sum(each.cost.flops for each in switched) / 4 == 6


def collected(tmp_path, predictions, **changes):
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(to_json(each) + "\n" for each in predictions))
    config = command_line.load_config("configs/demo.py")
    flat = {"scheme": "chain", "data.dev_problems": "0", "data.dev_split": ""}
    flat |= {"task_options.train_problems": "20", "data.easy": str(file)} | changes
    command_line.apply_overrides(config, flat)
    return training_annotations.collect(make_run(config, Workdir(tmp_path / "w")), Terminal())


@pytest.fixture
def answered():
    """Five samples each of 12 training problems: right in none, one, ... of them."""
    return [
        voted(
            [p.answer] * (n % 6) + ["999"] * (5 - n % 6), gold=p.answer, name=p.id,
            question=p.question,
        )
        for n, p in enumerate(arithmetic.load("train", train_problems=12))
    ]  # fmt: skip


def test_a_run_learns_what_is_easy(tmp_path, answered):
    data = collected(tmp_path, answered, **{"data.easy_margin": "0.5"})
    # 4 and 5 of 5: margins .6 and 1.
    assert [a.id.rpartition("/")[2] for a in data.train] == ["4", "5", "10", "11"]
    assert data.usage.endswith(
        "; 20 to train on: 4 easy for the teacher, 8 hard and left out, 0 hard and learned as "
        "unknown, 8 not asked of the teacher"
    )
    assert len([each for each in data.rejected if each.reason == "hard for the teacher"]) == 8
    data = collected(tmp_path, answered, **{"data.easy_margin": "0.5", "data.hard": "abstain"})
    assert sum(a.answer == "?" for a in data.train) == 8 and len(data.train) == 12


def test_mistakes(tmp_path, answered):
    with pytest.raises(UserError, match="none of 20 annotations is of a problem that is easy for"):
        collected(tmp_path, answered[:4], **{"data.easy_margin": "0.5"})
    (tmp_path / "bad.jsonl").write_text(json.dumps({"id": "p"}) + "\n")
    with pytest.raises(UserError, match=r"bad\.jsonl:1: not a prediction .* give the predictions"):
        easy.read_answers([str(tmp_path / "bad.jsonl")])
    data = command_line.load_config("configs/demo.py").data
    assert easy.mistakes(data, "socratic") == []
    data.easy_margin = 1.5
    assert easy.mistakes(data, "chain") == [
        "config.data.easy_margin=1.5: from -1 to 1",
        "config.data.easy_margin and config.data.hard need config.data.easy, a teacher's "
        "predictions.jsonl",
    ]
    data.easy, data.easy_margin, data.hard = ("f.jsonl",), 0.5, "abstain"
    assert easy.mistakes(data, "chain") == []
    assert easy.mistakes(data, "socratic") == [
        "config.data.hard='abstain' is for --config.scheme=chain or answer_only"
    ]
