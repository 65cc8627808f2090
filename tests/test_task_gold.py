"""Gold steps come with the problems; tasks that keep them apart still work; answers are read."""

import dataclasses
import json
import types

import pytest

from distill_jax import records
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, Step
from distill_jax.settings import task_module
from distill_jax.tasks import arithmetic, jsonl, strategyqa
from distill_jax.tasks.gold import with_gold

STEPS = (Step(None, "3+4 = 7"),)


def gold_of(name="t/0", answer="7"):
    return Annotation(name, "What is 3 + 4?", answer, STEPS, {"kind": "gold"})


def problem(gold=None):
    return Problem("t/0", "What is 3 + 4?", "7", "train", gold=gold)


def test_gold_of_the_problems_needs_no_second_load():
    task = types.SimpleNamespace()  # no load_annotations
    problems = [problem(gold_of()), problem()]
    assert task_module.gold_annotations(task, {}, "train", problems) == [gold_of()]
    assert task_module.gold_annotations(task, {}, "train", [problem()]) == []


def test_a_module_that_keeps_gold_apart_is_asked_with_its_options():
    asked = []

    def load_annotations(split, **options):
        asked.append((split, options))
        return [gold_of()]

    task = types.SimpleNamespace(load_annotations=load_annotations)
    found = task_module.gold_annotations(task, {"size": 3}, "test", [problem()])
    assert found == [gold_of()] and asked == [("test", {"size": 3})]


def test_gold_that_cannot_be_read_is_left_to_whoever_needs_it():
    def damaged():
        raise UserError("no")

    assert with_gold([problem()], damaged) == [problem()]
    assert with_gold([problem()], lambda: [gold_of(), gold_of("t/1")]) == [problem(gold_of())]


def test_steps_that_cannot_be_read_are_an_error_only_where_they_are_trained_on(tmp_path):
    row = {"question": "What is 3 + 4?", "answer": 7, "steps": "add them"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    options = {"directory": str(tmp_path)}
    problems = jsonl.load("train", **options)
    assert [each.gold for each in problems] == [None]
    with pytest.raises(UserError, match=r"train\.jsonl:1: field 'steps': a list of objects"):
        task_module.gold_annotations(jsonl, options, "train", problems)


def test_a_problem_and_its_gold_survive_json():
    one = problem(gold_of(answer="8"))
    assert records.problem_from_dict(json.loads(records.to_json(one))) == one
    row = dataclasses.asdict(problem())
    del row["gold"]  # rows written before there was such a field
    assert records.problem_from_dict(row) == problem()


@pytest.mark.parametrize(
    ("task", "options", "text", "answer"),
    [
        (arithmetic, {}, "4 + 3 = 7\n#### 7", "7"),
        (arithmetic, {}, "#### seven", None),
        (strategyqa, {}, "So it is not true.", "no"),
        (jsonl, {}, "#### $1,200", "1200"),
        (jsonl, {}, "#### 4 + 3 = 7", "7"),
        (jsonl, {}, "That makes 7", "7"),
        (jsonl, {}, "#### Yes.", "yes"),
        (jsonl, {}, "#### Thursday", "Thursday"),
        (jsonl, {}, "#### Highway 61", "Highway 61"),
        (jsonl, {}, "", None),
        (jsonl, {"answers": "math"}, r"so \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    ],
)
def test_an_answer_is_read_without_a_known_one(task, options, text, answer):
    reader = task_module.answer_reader(task, {"directory": "", **options})
    assert reader is not None and reader(text) == answer


def test_a_task_need_not_read_answers():
    assert task_module.answer_reader(types.SimpleNamespace(), {}) is None
