"""Stories of coins, letters, objects and dates: made ones are solved by a slow second way."""

import calendar
import random
import re

import pytest
from shared_parts import right_by_parts

from distill_jax.annotations.verify import names_no_answer, verify
from distill_jax.errors import NoSplit, UserError
from distill_jax.records import Step
from distill_jax.tasks import made_coins, made_dates, made_letters, made_objects
from distill_jax.tasks.stories import coins, dates, letters, objects
from distill_jax.tasks.stories.wanted import Wanted

TASKS = (made_coins, made_letters, made_objects, made_dates)
KINDS = (
    Wanted(1, 1),
    Wanted(2, 4),
    Wanted(8, 8),
    Wanted(3, 3, noise=2),
    Wanted(1, 6, noise=6, new_names=True),
)


def drawn(module, wanted, count=30):
    rng = random.Random(7)
    return [module.draw(rng, wanted) for _ in range(count)]


@pytest.mark.parametrize("wanted", KINDS)
def test_coins(wanted):
    for story in drawn(coins, wanted):
        question = story.tell()
        flips = question.count(" flips the coin")
        passed = question.count(" does not flip the coin")
        assert story.answer == ("no" if flips % 2 else "yes")
        assert wanted.shortest <= story.length == flips + passed <= wanted.longest
        assert len(story.steps()) == story.length + 1
        if not wanted.noise:
            assert coins.read(question) == story


@pytest.mark.parametrize("wanted", KINDS)
def test_letters(wanted):
    for story in drawn(letters, wanted):
        names = re.search(r'"(.*)"', story.tell())[1].split()
        assert story.answer == "".join(name[-1] for name in names)
        said = [re.search(r'ends in "(.)"', step.solution)[1] for step in story.steps()[:-1]]
        assert said == list(story.answer)
        if not wanted.noise:
            assert letters.read(story.tell()) == story


@pytest.mark.parametrize("wanted", KINDS)
def test_objects(wanted):
    """From the text: who holds what, and the swaps one after another."""
    for story in drawn(objects, wanted):
        question = story.tell()
        start = question.partition(" \n\n")[0].rpartition(": ")[2]
        has = "has a|is playing|gets|is dancing with"
        held = dict(re.findall(rf"(\w+) (?:{has}) (.+?)(?:, and |, |\.$)", start))
        swaps = re.findall(r"(?:First|Then|Finally), (\w+) and (\w+) ", question)
        assert len(held) == min(max(3, len(swaps)), objects.MOST_PEOPLE)
        for (one, other), step in zip(swaps, story.steps(), strict=False):
            held[one], held[other] = held[other], held[one]
            assert step.solution == ", ".join(f"{who}: {held[who]}" for who in held) + "."
        asked = re.search(r"At the end of [^,]*, (\w+) ", question)[1]
        assert story.answer.partition(" ")[2] == held[asked]
        assert f"{story.answer}," in question or f"{story.answer}." in question
        if not wanted.noise:
            assert objects.read(question) == story


def moved(day, shift):
    """Day by day and month by month, as one counts on a calendar."""
    year, month, number = day
    for _ in range(abs(shift.months)):
        month += 1 if shift.months > 0 else -1
        year, month = (year + (month > 12) - (month < 1), (month - 1) % 12 + 1)
    number = min(number, calendar.monthrange(year, month)[1])
    for _ in range(abs(shift.days)):
        number += 1 if shift.days > 0 else -1
        if number < 1 or number > calendar.monthrange(year, month)[1]:
            month += 1 if number > 1 else -1
            year, month = (year + (month > 12) - (month < 1), (month - 1) % 12 + 1)
            number = 1 if shift.days > 0 else calendar.monthrange(year, month)[1]
    return year, month, number


@pytest.mark.parametrize("wanted", KINDS)
def test_dates(wanted):
    for story in drawn(dates, wanted):
        days = [(day.year, day.month, day.day) for day in story.days()]
        for before, (_, shift), after in zip(days, story.events, days[1:], strict=False):
            assert moved(before, shift) == after
        year, month, number = days[-1]
        assert story.answer.endswith(f" {month:02}/{number:02}/{year}")
        assert len(set(story.choices)) == len(story.choices) == 6
        assert f"{story.answer}," in story.tell() or f"{story.answer}." in story.tell()


def test_the_choices_alone_do_not_tell_the_date():
    """Nor does the choice that shares the most parts with the others, as in the data (85 %)."""
    stories = drawn(dates, Wanted(1, 3), 1000)
    right = sum(right_by_parts(story.choices, story.answer[4:]) for story in stories)
    assert 120 < right < 215  # 167 by chance, with a standard deviation of 12


def test_worked_steps():
    assert coins.Story((("Ann", True), ("Jo Ann", False))).steps() == (
        Step("After Ann, which side is up?", "Ann flips the coin from heads to tails."),
        Step("After Jo Ann, which side is up?", "Jo Ann does not flip the coin: still tails."),
        Step("Finally, is the coin still heads up?", "It is tails up, so no."),
    )
    assert letters.Story(("Ann", "Bo")).steps()[1:] == (
        Step('What is the last letter of "Bo"?', '"Bo" ends in "o".'),
        Step("Finally, what are the letters together?", '"n", "o" together are "no".'),
    )
    held = (("Al", "red ball"), ("Bo", "tan ball"))
    told = objects.Story(objects.SETTINGS[0], held, (("Bo", "Al"),), "Bo")
    assert told.tell().startswith("Al, and Bo are playing a game. At the start of the game, they")
    assert told.steps() == (
        Step("Bo and Al swap: who has what?", "Al: tan ball, Bo: red ball."),
        Step("Finally, what does Bo have?", "Bo: (A) red ball."),
    )


def test_a_date_that_is_none_of_the_choices_is_said():
    premise = "2015 is coming in 36 hours."
    question = f"{premise} What is the date tomorrow in MM/DD/YYYY?\nWhich choice is true?"
    story = dates.read(f"{question} Answer choices: (A) 12/30/2014, (B) 12/29/2014.")
    assert story.answer == "12/31/2014"
    assert story.steps()[-1].solution == "None of them is 12/31/2014."


@pytest.mark.parametrize("module", [coins, letters, objects, dates])
@pytest.mark.parametrize(
    "question",
    [
        *("", "What is 1 + 1?", "A coin is heads up.", "Take the last letters."),
        'A coin is heads up. Ann flips it. Is the coin still heads up? Note that "flip" here means '
        '"reverse".',
        "Ann has a ball. As the game progresses, pairs of players trade balls. First, Ann and Bo "
        "swap balls. At the end of the game, Ann has the \nWhich choice is true?",
        "Today is May 1. What is the date today in MM/DD/YYYY?\nWhich choice is true?",
    ],
)
def test_other_questions_are_refused(module, question):
    with pytest.raises(ValueError, match="not a"):
        module.read(question)


@pytest.mark.parametrize("task", TASKS)
def test_made_problems_are_different_exact_and_the_same_every_time(task):
    options = {"test_problems": 60, "train_problems": 80}
    found = {split: task.load(split, **options) for split in ("train", "test")}
    assert found["test"] == task.load("test", **options)
    assert found["test"][:20] == task.load("test", test_problems=20, train_problems=1)
    assert found["test"] != task.load("test", **options, seed=1)
    questions = [p.question for problems in found.values() for p in problems]
    assert len(set(questions)) == len(questions) == 140
    assert not {p.id for p in found["train"]} & {p.id for p in found["test"]}
    for split, problems in found.items():
        assert {p.split for p in problems} == {split}
        annotations = task.load_annotations(split, **options)
        kept, rejected = verify(annotations, problems, task.grade, equations="reject")
        assert (len(kept), rejected) == (len(problems), [])
        assert not any(map(names_no_answer, annotations))
        assert all(p.answer == p.gold.answer for p in problems)
        assert {p.attributes["steps"] for p in problems} <= {2, 3, 4, 5}


def test_splits_never_share_a_story_whatever_the_seed():
    """Who is asked makes no new story: of one swap among three people there are few."""
    train, test = (
        made_objects.load(split, lengths=(1, 1), seed=seed, train_problems=300, test_problems=50)
        for split, seed in (("train", 0), ("test", 5))
    )
    keys = [{objects.read(p.question).key() for p in problems} for problems in (train, test)]
    assert [len(each) for each in keys] == [300, 50]
    assert not keys[0] & keys[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": ()}, r"lengths=\(\): the shortest and the longest story are expected"),
        ({"lengths": (0, 2)}, r"lengths=\(0, 2\): .* from 1 to 50"),
        ({"lengths": (4, 2)}, "the shortest and the longest"),
        ({"lengths": (2, 51)}, "from 1 to 50"),
        ({"lengths": (1, 2, 3)}, "such as"),
        ({"noise": -1}, "noise=-1: at least 0 is expected"),
        ({"lengths": (1, 1), "test_problems": 3000}, r"asks for 3000 test problems, but only \d+"),
    ],
)
def test_options_that_make_no_sense(options, said):
    with pytest.raises(UserError, match=said):
        made_coins.load("test", **options)
    with pytest.raises(NoSplit, match="choose train, dev or test"):
        made_coins.load("validation")


def test_one_length_is_enough():
    assert {p.attributes["length"] for p in made_coins.load("dev", lengths=(6,))} == {6}
    lengths = [p.attributes["length"] for p in made_letters.load("dev", lengths=(2, 5))]
    assert {lengths.count(n) > 90 for n in (2, 3, 4, 5)} == {True}
