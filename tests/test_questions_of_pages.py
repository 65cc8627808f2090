"""Every sample question of the pages, the notebook and the code is a problem of the demo's kind.

The demo's students know only the sentences of the built-in task, in problems of two or three
events.
"""

import json
import re
from string import Formatter

import pytest
from experiment_runs import ROOT

from distill_jax.tasks import arithmetic

LEVEL = arithmetic.DIFFICULTIES["easy"]
NAME, THINGS = "|".join(arithmetic.NAMES), "|".join(arithmetic.THINGS)
PLACES = {"name": NAME, "other": NAME, "things": THINGS, "others": THINGS, "n": r"\d+"}
QUESTION = re.compile(
    rf"(?:(?:{NAME}) (?:has|finds|starts|buys|wins)|There are \d+|The walk takes)"
    r"\b[^<>\"?]*?How (?:many|much)\b[^<>\"?]*\?"
)
FILES = (
    "README.md", "CONTRIBUTING.md", "launch/README.md", "notebooks/evaluate.ipynb",
    "docs/*.md", "docs/*.py", "distill_jax/*.py", "distill_jax/*/__main__.py",
    "distill_jax/ask/**/*", "distill_jax/run/*.py", "distill_jax/export/*.py",
)  # fmt: skip
NOT_ASKED = {"docs/log.md"}


def matched(template, sentence, known):
    """What stands in the template's places if the sentence is one of its kind, else None."""
    pattern = ""
    for text, place, _, _ in Formatter().parse(template):
        pattern += re.escape(text)
        if place:
            again = f"(?P={place})" if f"<{place}>" in pattern else ""
            pattern += again or f"(?P<{place}>{PLACES[place]})"
    found = re.fullmatch(pattern, sentence)
    if not found or any(known.get(p, v) != v for p, v in found.groupdict().items() if p != "n"):
        return None
    return found.groupdict()


def parsed(question):
    """(number of events, answer) of a question; an assertion names what is not of the templates."""
    *story, last = re.split(r"(?<=[.?]) ", question)
    asked = matched("How many {things} does {name} have now?", last, {})
    assert asked, last
    value, events = None, 0
    for sentence in story:
        for template in (*arithmetic.OPENINGS, *LEVEL.events, *arithmetic.DISTRACTORS):
            places = matched(template.sentence, sentence, asked)
            if places is not None and places.get("other") != asked["name"]:
                break
        else:
            raise AssertionError(f"not a sentence of the easy templates: {sentence}")
        n = int(places.get("n", 2))
        if template.operation == "open":
            assert value is None, sentence
            value = n
        elif template.operation != "none":
            assert value is not None, sentence
            before, value = value, arithmetic.apply(template.operation, value, n)
            most = LEVEL.max_factor if template.operation == "*" else LEVEL.max_operand
            assert 1 <= value <= LEVEL.max_value and 2 <= n <= most, sentence
            assert template.operation != "half" or before % 2 == 0, sentence
            events += 1
    return events, value


def questions():
    """(file, question) of every sample question."""
    for path in sorted(
        {path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()}
    ):
        name = str(path.relative_to(ROOT))
        if name in NOT_ASKED or path.suffix not in (".md", ".py", ".ipynb", ".html", ".js"):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        for found in QUESTION.findall(" ".join(text.split())):
            yield name, found


@pytest.mark.parametrize(("file", "question"), sorted(set(questions())))
def test_a_sample_question_is_a_problem_that_the_demo_can_know(file, question):
    events, _ = parsed(question)
    assert LEVEL.min_steps <= events <= LEVEL.max_steps


def test_the_places_where_a_person_looks_for_a_question_have_one():
    assert {file for file, _ in questions()} >= {
        "README.md", "docs/asking.md", "docs/evaluating.md", "docs/how_it_works.md",
        "docs/pictures.py", "notebooks/evaluate.ipynb", "distill_jax/__init__.py",
    }  # fmt: skip


def test_problems_of_the_task_are_read_as_it_makes_them_and_others_are_refused():
    for problem in arithmetic.load("test", test_problems=200):
        assert parsed(problem.question) == (problem.attributes["steps"], int(problem.answer))
    for other in (
        "Ann has 4 cups. Ann wins 8 cups. How many cups does Ann have now?",
        "Ann has 4 cups. Later Ann wins 8 cups. How many cups has Ann?",
        "Ann has 4 cups. Later Ben wins 8 cups. How many cups does Ann have now?",
    ):
        with pytest.raises(AssertionError):
            parsed(other)
