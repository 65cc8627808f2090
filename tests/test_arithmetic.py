"""The built-in task: splits never meet, gold annotations are right, nothing can be read off."""

import re

import pytest

from distill_jax.errors import UserError
from distill_jax.tasks import arithmetic
from distill_jax.tasks.arithmetic import DIFFICULTIES

SIZES = {"train_problems": 6000, "dev_problems": 600, "test_problems": 600}
WORDS = "|".join(arithmetic.NAMES + arithmetic.THINGS)


def masked(question):
    """The question without names and things, distractors left in: what a copy would share."""
    return re.sub(rf"\b({WORDS})\b", "_", question)


def story_key(question):
    """Template sequence and numbers of what matters: names, things and distractors removed."""
    sentences = re.split(r"(?<=[.?]) ", masked(question))
    distractors = [
        re.escape(t.sentence).replace(r"\{n\}", r"\d+").replace(r"\{other\}", "_")
        for t in arithmetic.DISTRACTORS[1:]
    ]
    kept = [s for s in sentences[:-1] if not any(re.fullmatch(d, s) for d in distractors)]
    return tuple(kept)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_no_two_splits_share_templates_and_numbers(difficulty):
    keys = {}
    for split in ("train", "dev", "test"):
        problems = arithmetic.load(split, difficulty=difficulty, **SIZES)
        assert len(problems) == SIZES[f"{split}_problems"]
        keys[split] = {masked(p.question) for p in problems}
        keys[split, "story"] = {story_key(p.question) for p in problems}
        assert len({p.id for p in problems}) == len(problems)
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not keys[a] & keys[b]
        assert not keys[a, "story"] & keys[b, "story"]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_gold_steps_are_true_and_lead_to_the_answer(difficulty):
    level = DIFFICULTIES[difficulty]
    lengths = set()
    problems = arithmetic.load("train", difficulty=difficulty, **SIZES)
    annotations = arithmetic.load_annotations("train", difficulty=difficulty, **SIZES)
    for problem, annotation in zip(problems, annotations, strict=True):
        assert (problem.id, problem.question) == (annotation.id, annotation.question)
        lengths.add(len(annotation.steps))
        value = None
        for step in annotation.steps:
            for equation in step.solution.split(", "):
                a, operation, b, *rest, result = re.findall(r"\d+|[-+*/]", equation)
                outcome = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}
                outcome["/"] = int(a) // int(b)
                left = outcome[operation]
                assert not rest or rest == ["/", "100"]
                assert (left // 100 if rest else left) == int(result)
            # Each step starts from the value before: nothing can be skipped.
            assert value is None or step.solution.startswith(f"{value} ")
            value = int(result)
            assert 1 <= value <= level.max_value
        assert str(value) == problem.answer == annotation.answer
        assert arithmetic.grade(f"#### {value}", problem.answer).scores["normalised"]
    assert lengths == set(range(level.min_steps, level.max_steps + 1))


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_long_solutions_say_the_same_in_words(difficulty):
    options = {"difficulty": difficulty, "train_problems": 500}
    short = arithmetic.load_annotations("train", **options)
    long = arithmetic.load_annotations("train", style="long", **options)
    for few, many in zip(short, long, strict=True):
        assert (few.id, few.question, few.answer) == (many.id, many.question, many.answer)
        known = None
        for brief, worded in zip(few.steps, many.steps, strict=True):
            assert worded.subquestion == brief.subquestion
            told, _, rest = worded.solution.partition(f" That makes {brief.solution}. Now ")
            before, _, event = told.partition(". ")
            assert event in few.question
            assert known in (None, before)
            known = rest.removesuffix(".")
        assert re.search(r"\d+", known)[0] == few.answer
    with pytest.raises(UserError, match=r"style='wordy': choose short, long, bare"):
        arithmetic.load("train", style="wordy")


def test_bare_solutions_are_one_step_with_the_answer():
    short = arithmetic.load("train", train_problems=500)
    bare = arithmetic.load("train", style="bare", train_problems=500)
    for with_steps, without in zip(short, bare, strict=True):
        assert without.question == with_steps.question and without.answer == with_steps.answer
        assert without.attributes == with_steps.attributes  # how many steps it takes
        [step] = without.gold.steps
        assert step.subquestion == with_steps.gold.steps[-1].subquestion
        assert step.solution == f"It is {with_steps.answer}."


def test_the_answer_is_not_one_of_the_numbers_of_the_question():
    """The last answer cannot be read off: mostly it does not even occur in the question."""
    problems = arithmetic.load("test", **SIZES)
    occurs = [p.answer in re.findall(r"\d+", p.question) for p in problems]
    assert sum(occurs) / len(occurs) < 0.35


def test_enough_templates():
    used = {}
    for difficulty, level in DIFFICULTIES.items():
        used[difficulty] = len(arithmetic.OPENINGS + level.events)
    assert used["easy"] >= 12 and used["hard"] >= 30
    operations = {event.operation for event in DIFFICULTIES["easy"].events}
    assert operations == {"+", "-", "*", "half"}


def test_the_same_seed_gives_the_same_problems_and_more_only_adds():
    few = arithmetic.load("test", test_problems=20)
    arithmetic._cached.cache_clear()
    assert arithmetic.load("test", test_problems=60)[:20] == few
    assert arithmetic.load("test", test_problems=20, seed=1) != few


def test_mistakes():
    with pytest.raises(UserError, match="no split 'valid'"):
        arithmetic.load("valid")
    with pytest.raises(UserError, match="choose easiest, easy, medium, hard"):
        arithmetic.load("test", difficulty="harder")
