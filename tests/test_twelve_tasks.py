"""Eight tasks of Fine-tune-CoT: readers, splits, gold steps and graders, also over the real files.

The small files here are made of our own stories, as many rows as the authors' files have.
"""

import collections
import json
import os
import pathlib

import datasets
import pytest
from shared_parts import right_by_parts

from distill_jax.annotations import leaks
from distill_jax.annotations.verify import names_no_answer, verify
from distill_jax.errors import NoSplit, UserError
from distill_jax.evaluation.guessers import guess
from distill_jax.records import Step
from distill_jax.tasks import (
    addsub,
    coin_flip,
    commonsense_qa,
    date_understanding,
    joined_equations,
    last_letter_concatenation,
    made_coins,
    made_letters,
    made_objects,
    multiarith,
    single_eq,
    task_files,
    tracking_shuffled_objects,
    word_problems,
)
from distill_jax.tasks.multiple_choice import Choices, read_choices, written
from distill_jax.tasks.stories import dates
from distill_jax.tasks.stories.date_premises import PREMISES

NUMBERS = (addsub, multiarith, single_eq)
CHOICES = (date_understanding, tracking_shuffled_objects, commonsense_qa)
SYMBOLS = (coin_flip, last_letter_concatenation)
CSV = "Question,Numbers,Equation,Answer\n"


def write(folder, task, rows):
    (folder / f"{task.DATA.name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return str(folder)


def number_rows(task, **changes):
    """Rows `Ann has 5 cups . She gets 2 more .`; changes are rows by place (`at_3`)."""
    count = task.DATA.train + task.DATA.test
    rows = [
        {"question": f"Ann has {n} cups . She gets 2 more .", "answer": f"{n + 2}.0"}
        for n in range(count)
    ]
    for place, row in changes.items():
        rows[int(place.removeprefix("at_"))] = row
    return rows


def story_rows(made, count):
    """Rows of a generator, the answer as the data has it: the letter alone."""
    problems = made.load("train", train_problems=count)
    return [{"question": p.question, "answer": p.answer.strip("(")[:4].partition(")")[0]}
            for p in problems]  # fmt: skip


def date_rows(**answers):
    """41 premises with nine questions, and the answer that a person with a calendar gives."""
    rows = []
    for premise in PREMISES:
        for asked in dates.ASKED:
            question = f"{premise} What is the date {asked} in MM/DD/YYYY?\nWhich choice is true?"
            empty = dates.Story(premise, PREMISES[premise], ((asked, dates.ASKED[asked]),), ())
            day = empty.days()[-1]
            texts = {"A": "01/01/1000", "B": f"{day.month:02}/{day.day:02}/{day.year}"}
            answer = answers.get(f"at_{len(rows)}", "B")
            rows.append({"question": written(Choices(question, texts)), "answer": answer})
    return rows


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder of reasoning_teacher_tasks/")
    return {
        "directory": os.path.join(root, "reasoning_teacher_tasks"),
        "equations": os.path.join(root, "svamp"),
    }


def options(task, real):
    return real if task in (*NUMBERS, word_problems) else {"directory": real["directory"]}


def both(task, **given):
    return [task.load(split, **given) for split in task_files.SPLITS]


def test_a_row_of_numbers_and_its_equation(tmp_path):
    long = "Jo ate 0.16666666666666666 pie , and Bo 0.5 pie . How much did they eat ?"
    rows = number_rows(
        addsub,
        at_1={"question": "Joan found 70 shells on the beach . She gave 27 .", "answer": "43.0"},
        at_2={"question": long, "answer": "0.6666666666666666"},
        at_3={"question": "A pen costs $ 1,200 . Two cost ?", "answer": "2,400"},
    )
    folder = tmp_path / "mawps-asdiv-a_svamp"
    folder.mkdir()
    (folder / "train.csv").write_text(
        CSV + "joan found number0 shells on the beach. she gave number1 .,70.0 27.0,"
        "- number0 number1,43.0\n"
        '"Jo ate number0 pie, and Bo number1 pie. How much did they eat?",0.16666666666666666 0.5,'
        "+ number0 number1,0.6666666666666666\n"
        "Ann has number0 cups. She gets number1 more.,4.0 2.0,- number0 number1,2.0\n"
        "Ann has number0 cups. She gets number1 more.,4.0 2.0,+ number0 number1,6.0\n"
        "Ann has number0 cups. She gets number1 more.,5.0 2.0,- number0 number1,3.0\n"
    )
    directory = write(tmp_path, addsub, rows)
    problems = {p.id: p for p in addsub.load("train", directory=directory, equations=directory)}
    shells, pie = problems["addsub/1"], problems["addsub/2"]
    assert (shells.answer, shells.question) == ("43", rows[1]["question"])
    assert shells.gold.steps == (Step(None, "70-27 = <<70-27=43>>43"),)
    assert pie.question == "Jo ate 1/6 pie , and Bo 0.5 pie . How much did they eat ?"
    assert (pie.answer, pie.gold.steps[0].solution) == ("2/3", "1/6+0.5 = <<1/6+0.5=2/3>>2/3")
    assert (problems["addsub/3"].answer, problems["addsub/3"].gold) == ("2400", None)
    # Of two equations for a question the one with the right value; none if no value is right.
    assert problems["addsub/4"].gold.steps[0].solution == "4+2 = <<4+2=6>>6"
    assert problems["addsub/5"].gold is None
    assert problems["addsub/1"].attributes == {"steps": 1}
    test = addsub.load("test", directory=directory)
    assert {p.attributes["overlap"] for p in test} == {"question with other numbers in training"}
    assert len(addsub.load_annotations("train", directory=directory, equations=directory)) == 3
    (folder / "train.csv").unlink()
    assert {p.gold for p in addsub.load("train", directory=directory)} == {None}
    with pytest.raises(UserError, match=r"train.csv: no such file: download it from https"):
        addsub.load_annotations("train", directory=directory)
    with pytest.raises(UserError, match=r"^config.task_options.equations is not set: the steps"):
        joined_equations.annotations([], "")


def test_the_split_is_that_of_numpys_first_permutation(tmp_path):
    """The first places of data/split/single_eq__default.json, counted from 0."""
    directory = write(tmp_path, single_eq, number_rows(single_eq))
    train, test = ([p.id for p in each] for each in both(single_eq, directory=directory))
    assert (len(train), len(test)) == (356, 152)
    assert train[:10] == [f"single_eq/{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)]
    assert sorted(train + test) == sorted(f"single_eq/{n}" for n in range(508))
    with pytest.raises(NoSplit, match="single_eq has no split 'dev': choose train or test"):
        single_eq.load("dev", directory=directory)


def test_three_tasks_for_one_student(tmp_path):
    for task in NUMBERS:
        write(tmp_path, task, number_rows(task))
    train, test = both(word_problems, directory=str(tmp_path))
    counts = collections.Counter(p.attributes["task"] for p in train)
    assert counts == {"addsub": 276, "multiarith": 420, "single_eq": 356}
    assert len({p.id for p in (*train, *test)}) == 276 + 420 + 356 + 119 + 180 + 152


def test_coins_and_letters(tmp_path):
    coins, names = story_rows(made_coins, 500), story_rows(made_letters, 500)
    coins[1]["question"] = coins[1]["question"].replace("up. ", "up. Mary ", 1)
    told = [each["question"].split(" does")[0].split(" flips")[0] for each in coins]
    directory = write(tmp_path, coin_flip, coins)
    for rows in both(coin_flip, directory=directory):
        assert all(p.gold.answer == p.answer and p.attributes == {"steps": 5} for p in rows)
    write(tmp_path, last_letter_concatenation, names)
    with pytest.raises(UserError, match=r"last_letter_concatenation.json row 1: field 'question'"):
        last_letter_concatenation.load("train", directory=directory)  # of other people
    rows = [
        {
            "question": made_letters.load("train", train_problems=1)[0].question.split('"')[0]
            + f'"{" ".join(people)}" and concatenate them.',
            "answer": "".join(name[-1] for name in people),
        }
        for people in map(people_of, coins)
    ]
    write(tmp_path, last_letter_concatenation, rows)
    train, test = both(last_letter_concatenation, directory=directory)
    problems = {p.id: p for p in (*train, *test)}
    assert all(p.gold.answer == p.answer for p in problems.values())
    two = problems["last_letter_concatenation/1"]
    assert two.attributes == {"steps": 5, "names": "of two words"}
    assert two.gold.steps[0].subquestion == f'What is the last letter of "{told[1][20:]}"?'
    (tmp_path / "coin_flip.json").unlink()  # then names are words
    train, test = both(last_letter_concatenation, directory=directory)
    wrong = [p.id for p in (*train, *test) if p.gold.answer != p.answer]
    assert wrong == ["last_letter_concatenation/1"]


def people_of(row):
    turns = row["question"].split(". ")[1:5]
    return [turn.split(" flips")[0].split(" does not")[0] for turn in turns]


def test_stories_of_objects_stay_together_if_grouped(tmp_path):
    stories = story_rows(made_objects, 250)
    rows = []
    for row in stories:
        before, _, after = row["question"].rpartition("At the end of ")
        for person in ("Alice", "Bob", "Claire"):
            names = after.partition(", ")[2].partition(" ")[0]
            rows.append({"question": before + "At the end of " + after.replace(names, person, 1)})
    from distill_jax.tasks.stories import objects

    for row in rows:
        row["answer"] = objects.read(row["question"]).answer[1]
    directory = write(tmp_path, tracking_shuffled_objects, rows)
    train, test = both(tracking_shuffled_objects, directory=directory)
    assert (len(train), len(test)) == (525, 225)
    counts = collections.Counter(p.attributes["overlap"] for p in test)
    assert counts == {"story in training": 198, "none": 27}  # by places, so as in the data
    grouped = both(tracking_shuffled_objects, directory=directory, protocol="grouped")
    assert [len(each) for each in grouped] == [525, 225]
    assert {p.attributes["overlap"] for p in grouped[1]} == {"none"}
    places = [{int(p.id.rpartition("/")[2]) // 3 for p in each} for each in grouped]
    assert not places[0] & places[1] and len(places[0] | places[1]) == 250
    with pytest.raises(UserError, match="protocol 'other': choose ho or grouped"):
        tracking_shuffled_objects.load("test", directory=directory, protocol="other")


def test_dates_whose_label_is_disputed_are_tested_but_not_learned(tmp_path):
    disputed = sorted(date_understanding.DISPUTED)
    assert len(disputed) == 28
    directory = write(
        tmp_path, date_understanding, date_rows(**{f"at_{place}": "A" for place in disputed})
    )
    train, test = both(date_understanding, directory=directory)
    assert (len(train), len(test)) == (258 - 18, 111)
    assert {p.attributes["overlap"] for p in test} == {"premise in training"}
    assert all(p.gold.answer == p.answer for p in train)
    wrong = [p for p in test if p.gold.answer != p.answer]
    assert len(wrong) == 10 and {p.attributes["label"] for p in wrong} == {"disputed"}
    kept, rejected = verify([p.gold for p in test], test, date_understanding.grade)
    assert (len(kept), {each.reason for each in rejected}) == (101, {"wrong answer"})
    grouped = both(date_understanding, directory=directory, protocol="grouped")
    assert [len(each) for each in grouped] == [224, 117]
    # Also premises that differ in a number or a name stay together.
    texts = [" ".join(p.question for p in each) for each in grouped]
    for opening in ("Jane was born", "Jane thinks today", "Jane and John married"):
        assert [opening in text for text in texts].count(True) == 1


def test_commonsense_from_the_hub_is_the_same_question(tmp_path):
    assert commonsense_qa.DATA.from_hub(
        {
            "question": "What needs cable?",
            "choices": {"label": ["A", "B"], "text": ["radio", "desk"]},
            "answerKey": "B",
        }
    ) == {"question": "What needs cable? Answer choices: (A) radio, (B) desk.", "answer": "B"}


def test_the_rows_of_the_hub(tmp_path, monkeypatch):
    """A data set in the Hub's layout, on the disk; its own split counts."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, count in (("train", 420), ("test", 180)):
        rows = [{"question": f"{split} {n}?", "final_ans": str(n)} for n in range(count)]
        datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / f"{split}.parquet"))
        lines += [f"  - split: {split}", f"    path: {split}.parquet"]
    (tmp_path / "README.md").write_text("\n".join([*lines, "---", ""]))
    train, test = both(multiarith, hub_id=str(tmp_path))
    assert (len(train), len(test)) == (420, 180)
    assert {p.question.split()[0] for p in train} == {"train"}
    assert (test[0].answer, test[0].id) == ("0", "multiarith/420")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("[", r"addsub.json: not JSON"),
        ("[]", r"addsub.json: not a JSON list of rows"),
        (json.dumps([{"question": "q", "answer": "1"}]), r"1 rows instead of 395: take"),
        (json.dumps(number_rows(addsub, at_4={"question": " ", "answer": "1"})), "row 4: .*'quest"),
        (json.dumps(number_rows(addsub, at_4={"question": "q"})), "row 4: field 'answer' is miss"),
        (json.dumps(number_rows(addsub, at_4={"question": "q", "answer": "x"})), "'x' is not a n"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line(rows, said, tmp_path):
    (tmp_path / "addsub.json").write_text(rows)
    with pytest.raises(UserError, match=said):
        addsub.load("train", directory=str(tmp_path))


def test_other_stories_and_answers_are_one_line(tmp_path):
    rows = story_rows(made_coins, 500)
    rows[3] = {"question": "A coin is flipped. Is it heads?", "answer": "yes"}
    write(tmp_path, coin_flip, rows)
    with pytest.raises(UserError, match=r"coin_flip.json row 3: field 'question': not a story"):
        coin_flip.load("train", directory=str(tmp_path))
    write(tmp_path, date_understanding, date_rows(at_5="F"))
    with pytest.raises(UserError, match=r"row 5: field 'answer': 'F' is none of A, B"):
        date_understanding.load("train", directory=str(tmp_path))
    with pytest.raises(UserError, match=r"addsub is read from a file: set --config.task_options.d"):
        addsub.load("train")


@pytest.mark.parametrize("task", [*NUMBERS, *SYMBOLS, *CHOICES])
def test_a_task_is_small_and_names_its_licences(task):
    assert len(pathlib.Path(task.__file__).read_text().splitlines()) < 100
    assert all(isinstance(text, str) and text for text in task.LICENCES.values())


COUNTS = {
    # steps in training, steps in the test, test problems with an overlap
    addsub: (276, 260, 119, 109, 1),
    multiarith: (420, 420, 180, 180, 77),
    single_eq: (356, 241, 152, 112, 5),
    coin_flip: (350, 350, 150, 150, 0),
    last_letter_concatenation: (350, 350, 150, 150, 0),
    date_understanding: (240, 240, 111, 101, 111),
    tracking_shuffled_objects: (525, 525, 225, 225, 198),
    commonsense_qa: (9741, 0, 1221, 0, 0),
}


@pytest.mark.parametrize("task", COUNTS)
def test_the_real_files(task, real):
    """Rows, splits of the authors' files, steps that lead to the answer, overlaps, graders."""
    counted = []
    for split in task_files.SPLITS:
        problems = task.load(split, **options(task, real))
        gold = [p.gold for p in problems if p.gold]
        kept, _ = verify(gold, problems, task.grade, equations="reject")
        counted += [len(problems), len(kept)]
        assert not any(map(names_no_answer, kept))
        for problem in problems[:300]:
            grade = task.grade(f"It is.\n#### {problem.answer}", problem.answer)
            # Fractions are no numbers for the extractors of others.
            assert grade.scores["normalised"] and (set(grade.scores.values()) == {True}) >= (
                "/" not in problem.answer
            )
            assert task.read_answer(f"#### {problem.answer}") in (
                problem.answer,
                problem.answer[1:2],
            )
    overlaps = [p.attributes.get("overlap", "none") != "none" for p in problems]
    assert (*counted, sum(overlaps)) == COUNTS[task]
    split = os.path.join(real["directory"], "split", f"{task.DATA.name}__default.json")
    with open(split, encoding="utf-8") as file:
        places = json.load(file)
    assert [int(p.id.rpartition("/")[2]) for p in problems] == sorted(places["test"])


def test_the_choices_of_the_real_dates_tell_the_answer(real):
    """As docs/tasks.md says: without the question."""
    shares = []
    for split in ("train", "test"):
        problems = date_understanding.load(split, **options(date_understanding, real))
        right = [
            right_by_parts([*read_choices(p.question, p.id).texts.values()], p.answer[4:])
            for p in problems
        ]
        shares.append(round(100 * sum(right) / len(right)))
    assert shares == [81, 85]
    for protocol, right, asked in (("ho", 98, 111), ("grouped", 103, 117)):
        test = date_understanding.load("test", directory=real["directory"], protocol=protocol)
        guesser = guess(test, [], date_understanding.grade)["choice most like the others"]
        assert (guesser["correct"], len(test)) == (right, asked)


def test_the_grouped_splits_of_the_real_files(real):
    for task, counts in ((date_understanding, (224, 117)), (tracking_shuffled_objects, (525, 225))):
        train, test = both(task, directory=real["directory"], protocol="grouped")
        assert (len(train), len(test)) == counts
        assert {p.attributes["overlap"] for p in test} == {"none"}


def test_questions_that_tasks_share(real):
    """Of the test questions of one task those that are training questions of another."""
    test, train = (
        {task: task.load(split, **real) for task in NUMBERS} for split in task_files.SPLITS[::-1]
    )
    shared = {
        (asked.DATA.name, known.DATA.name): len(
            leaks.trained_on([p.question for p in test[asked]], train[known], templated=False)
        )
        for asked in NUMBERS
        for known in NUMBERS
        if asked is not known
    }
    assert {pair: count for pair, count in shared.items() if count} == {
        ("addsub", "single_eq"): 22,
        ("single_eq", "addsub"): 27,
    }


def test_the_real_names_of_two_words(real):
    train, test = both(last_letter_concatenation, directory=real["directory"])
    problems = [*train, *test]
    assert sum(p.attributes["names"] == "of two words" for p in problems) == 15
    assert all(p.gold.answer == p.answer for p in problems)
