"""Annotations of a run: what is said of them, and rows that can be found by what messages say."""

import importlib
import json
from collections import Counter

import pytest

from distill_jax.annotations.subsets import held_out_questions, hold_out
from distill_jax.errors import NoSplit, UserError
from distill_jax.records import Annotation, Prediction, Sample, Step, Turn, to_json
from distill_jax.run import from_first, training_annotations
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.text import rows
from distill_jax.text.tokenizer import train_tokenizer
from distill_jax.tracking.terminal import Terminal
from distill_jax.training.batches import StudentRows
from distill_jax.workdir import Workdir


def own_rows(count, without_steps=0):
    steps = [{"subquestion": "How many?", "solution": "4"}]
    made = [
        {"question": f"What is {n} + 1?", "answer": n + 1, "steps": steps} for n in range(count)
    ]
    return made + [{"question": f"Why {n}?", "answer": n} for n in range(without_steps)]


def inputs_of(directory, train, **overrides):
    lines = "".join(json.dumps(row) + "\n" for row in train)
    (directory / "train.jsonl").write_text(lines)
    (directory / "dev.jsonl").write_text(lines)
    (directory / "test.jsonl").write_text('{"question": "Is ice cold?", "answer": true}\n')
    config = command_line.load_config("configs/jsonl.py")
    flat = {"task_options.directory": str(directory)} | overrides
    command_line.apply_overrides(config, flat)
    return make_run(config, Workdir(directory / "w"))


@pytest.mark.parametrize(
    ("overrides", "usage"),
    [
        ({}, "33 problems: 30 with steps, 0 rejected, 3 held out for dev; 27 to train on"),
        (
            {"data.train_problems": "5", "data.dev_problems": "0"},
            "33 problems: 30 with steps, 0 rejected, 0 held out for dev; 5 to train on",
        ),
        ({"scheme": "answer_only"}, "33 problems: 0 rejected, 3 held out for dev; 30 to train on"),
        (
            {"scheme": "answer_only", "data.annotated_only": "True"},
            "33 problems: 30 with steps, 0 rejected, 3 held out for dev; 27 to train on",
        ),
        (
            {"data.dev_split": "dev", "data.dev_problems": "4"},
            "33 problems: 30 with steps, 0 rejected; dev: 33 problems: 30 with steps, 0 rejected, "
            "4 used; 26 to train on",
        ),
    ],
)
def test_what_became_of_own_rows_is_said(overrides, usage, tmp_path):
    assert (
        training_annotations.collect(
            inputs_of(tmp_path, own_rows(30, 3), **overrides), Terminal()
        ).usage
        == usage
    )


def test_steps_that_do_not_lead_to_the_answer_are_pointed_at(tmp_path, capsys):
    inputs = inputs_of(tmp_path, own_rows(30), **{"data.dev_problems": "0"})
    training_annotations.write_annotations(
        inputs, training_annotations.collect(inputs, Terminal()), Terminal()
    )
    said = "29 of 30 end in a step that does not name the answer, and are trained on: look at "
    assert said + "jsonl/train/0 (answer 1)" in capsys.readouterr().out
    training_annotations.write_annotations(
        inputs, training_annotations.collect(inputs, Terminal()), Terminal()
    )
    assert said not in capsys.readouterr().out  # once is enough


def test_a_missing_dev_file_is_named_with_the_remedy(tmp_path):
    inputs = inputs_of(tmp_path, own_rows(30))
    data = training_annotations.collect(inputs, Terminal())
    training_annotations.write(inputs, data, from_first.tokenizer(inputs, data.train), Terminal())
    assert training_annotations.collect(inputs, Terminal()).train == data.train
    inputs.workdir.dev_annotations.unlink()
    with pytest.raises(UserError, match=r"annotations\.dev\.jsonl is missing: put it back, or"):
        training_annotations.collect(inputs, Terminal())


def test_a_row_that_is_too_long_is_named_by_its_annotation_and_question(tmp_path):
    long = {
        "question": "Why? " * 50,
        "answer": 7,
        "steps": [{"subquestion": None, "solution": "7"}],
    }
    inputs = inputs_of(tmp_path, [*own_rows(5), long], scheme="chain")
    annotations = training_annotations.collect(inputs, Terminal()).train
    tokenizer = train_tokenizer([a.question for a in annotations], 300)
    encoded = rows.encode_rows(annotations, inputs.scheme, inputs.views, tokenizer)["solver"]
    with pytest.raises(
        UserError, match=r"\(longest: jsonl/train/5 \('Why\? Why\? .*\.\.\.'\) with"
    ):
        StudentRows(encoded, "solver", 30, 0.0)


@pytest.mark.parametrize(
    ("templated", "test", "reasons"),
    [
        ("False", "What is 99 + 1?", {"leak with other numbers"}),
        ("True", "What is 99 + 1?", set()),
        ("True", "what  is 7 + 1?", {"leak"}),
    ],
)
def test_questions_of_the_evaluation_are_not_trained_on(templated, test, reasons, tmp_path):
    other = {"question": "Is ice cold?", "answer": True, "steps": own_rows(1)[0]["steps"]}
    inputs = inputs_of(tmp_path, [*own_rows(30), other], **{"data.templated": templated})
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": test, "answer": 8}) + "\n")
    data = training_annotations.collect(inputs, Terminal())
    assert {each.reason for each in data.rejected} == reasons
    left = len(data.train) + len(data.dev)
    assert left == {frozenset(): 31, frozenset({"leak"}): 30}.get(frozenset(reasons), 1)


@pytest.mark.parametrize("evaluated", ["dev", "train", "test"])
def test_no_question_of_the_test_split_is_trained_on_whatever_is_evaluated(evaluated, tmp_path):
    overrides = {"evaluation.split": evaluated, "data.templated": "True"}
    inputs = inputs_of(tmp_path, own_rows(30), **overrides)
    (tmp_path / "test.jsonl").write_text('{"question": "what is  7 + 1?", "answer": 8}\n')
    data = training_annotations.collect(inputs, Terminal())
    assert [(each.reason, each.id) for each in data.rejected] == [("leak", "jsonl/train/7")]
    assert len(data.train) + len(data.dev) == 29


def test_no_question_of_the_test_split_is_trained_on_if_another_task_is_evaluated(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "test.jsonl").write_text('{"question": "What is 3 + 1?", "answer": 4}\n')
    overrides = {"data.templated": "True", "evaluation.task": "distill_jax.tasks.jsonl"}
    overrides["evaluation.task_options"] = f"directory={other}"
    inputs = inputs_of(tmp_path, own_rows(30), **overrides)
    (tmp_path / "test.jsonl").write_text('{"question": "What is 7 + 1?", "answer": 8}\n')
    data = training_annotations.collect(inputs, Terminal())
    assert {each.id for each in data.rejected} == {"jsonl/train/3", "jsonl/train/7"}


def test_a_test_split_may_be_missing_but_not_unreadable(tmp_path):
    overrides = {"evaluation.split": "dev", "data.templated": "True"}
    inputs = inputs_of(tmp_path, own_rows(30), **overrides)
    (tmp_path / "test.jsonl").write_text("{]\n")
    with pytest.raises(UserError, match=r"test\.jsonl:1: not JSON .* --config\.data\.test_split="):
        training_annotations.collect(inputs, Terminal())
    (tmp_path / "test.jsonl").unlink()
    assert training_annotations.collect(inputs, Terminal()).rejected == []
    with pytest.raises(UserError, match=r"config\.data\.test_split='train' is what is trained on"):
        inputs_of(tmp_path, own_rows(30), **{"data.test_split": "train"})
    off = inputs_of(tmp_path, own_rows(30), **overrides, **{"data.test_split": ""})
    (tmp_path / "test.jsonl").write_text("{]\n")
    assert training_annotations.collect(off, Terminal()).rejected == []
    assert off.identity()["data.test_split"] == "" and "data.test_split" not in inputs.identity()


@pytest.mark.parametrize("task", ["arithmetic", "gsm8k", "strategyqa", "svamp"])
def test_tasks_say_that_they_have_no_such_split(task):
    module = importlib.import_module(f"distill_jax.tasks.{task}")
    with pytest.raises(NoSplit, match=f"^{task} has no split 'exam': choose "):
        module.load("exam")


def test_what_is_written_says_what_was_kept_and_why_not(tmp_path):
    wrong = {"question": "What is 2 * 2?", "answer": 4}
    inputs = inputs_of(tmp_path, [*own_rows(30), wrong], scheme="chain")
    annotations = [
        {"question": row["question"], "answer": row["answer"], "steps": row["steps"]}
        for row in own_rows(30)
    ] + [{"question": "What is 2 * 2?", "answer": 5, "steps": own_rows(1)[0]["steps"]}]
    lines = "".join(json.dumps(row) + "\n" for row in annotations)
    (tmp_path / "train.annotations.jsonl").write_text(lines)
    data = training_annotations.collect(inputs, Terminal())
    training_annotations.write_annotations(inputs, data, Terminal())
    summary = json.loads(inputs.workdir.summary.read_text())
    assert summary == {
        "kept": 30,
        "problems": 30,
        "tasks": {"jsonl/train": {"kept": 30, "wrong answer": 1}},
        "reasons": {"wrong answer": 1},
        "steps": {"1": 30},
        "sources": {"gold": 30},
    }
    [rejected] = inputs.workdir.rejected_annotations.read_text().splitlines()
    rejected = json.loads(rejected)
    assert (rejected["id"], rejected["reason"]) == ("jsonl/train/30", "wrong answer")
    assert rejected["detail"] == "answer '5' is not '4'"
    assert rejected["annotation"]["steps"][0]["solution"] == "4"
    assert training_annotations.collect(inputs, Terminal()).train == data.train


def test_annotations_come_from_the_files_of_the_config(tmp_path):
    rows = [
        {"prompt": f"What is {n} + 1?", "completion": f"It is {n + 1}.\n#### {n + 1 + (n == 3)}"}
        for n in range(12)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = {"scheme": "chain", "data.annotations": str(tmp_path / "mine.jsonl")}
    data = training_annotations.collect(inputs_of(tmp_path, own_rows(10), **overrides), Terminal())
    assert sorted(a.id for a in [*data.train, *data.dev]) == [
        f"jsonl/train/{n}" for n in range(10) if n != 3
    ]
    reasons = [each.reason for each in data.rejected]
    assert sorted(reasons) == ["unknown problem", "unknown problem", "wrong answer"]
    assert data.train[0].source["kind"] == "imported"
    overrides["data.annotations"] = "nope.jsonl"
    with pytest.raises(UserError, match=r"config\.data\.annotations: nope\.jsonl: no such file"):
        training_annotations.collect(inputs_of(tmp_path, own_rows(10), **overrides), Terminal())


def test_copies_of_a_question_of_dev_are_not_trained_on():
    def annotation(name, copy_of=None):
        source = {"kind": "gold"} | ({"copy_of": copy_of} if copy_of else {})
        return Annotation(name, f"What is {name}?", "1", (Step(None, "1"),), source)

    originals = [annotation(f"t/{n}") for n in range(10)]
    copies = [annotation(f"t/{n}/{k}", f"t/{n}") for n in range(10) for k in range(3)]
    train, dev = hold_out([*originals, *copies], 5)
    assert len(dev) == 1 and dev[0] in originals  # a tenth of the originals
    assert train == [
        a
        for a in [*originals, *copies]
        if a.id != dev[0].id and not a.id.startswith(f"{dev[0].id}/")
    ]


def test_what_training_leaves_may_be_held_out():
    """A teacher was paid for 6 + 200 problems; without a number, at most a tenth is held out."""
    questions = [f"What is {n}?" for n in range(206)]
    assert len(held_out_questions(questions, 200, train_problems=6)) == 200
    assert len(held_out_questions(questions, 200)) == 20
    assert len(held_out_questions(questions, 200, train_problems=200)) == 20
    assert len(held_out_questions(questions, 5, train_problems=6)) == 5
    assert held_out_questions(questions, 5) < held_out_questions(questions[::-1], 7)


def test_with_nothing_kept_the_rejected_ones_are_there_with_their_reasons(tmp_path):
    rows = [{"prompt": f"What is {n} + 1?", "completion": "It is so.\n#### -1"} for n in range(5)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = {"scheme": "chain", "data.annotations": str(tmp_path / "mine.jsonl")}
    inputs = inputs_of(tmp_path, own_rows(5), **overrides)
    with pytest.raises(UserError, match=r"no annotation to train on .*; all 5 are in .*rejected"):
        training_annotations.collect(inputs, Terminal())
    lines = inputs.workdir.rejected_annotations.read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["wrong answer"] * 5
    assert not inputs.workdir.annotations.exists()


def test_files_without_dev_problems_need_held_out_ones(tmp_path):
    row = {"prompt": "What is 1 + 1?", "completion": "1 + 1 = 2\n#### 2"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row) + "\n")
    overrides = {"data.annotations": str(tmp_path / "mine.jsonl"), "scheme": "chain"}
    overrides |= {"data.dev_split": "dev", "data.dev_problems": "3"}
    inputs = inputs_of(tmp_path, own_rows(5), **overrides)
    (tmp_path / "dev.jsonl").write_text(json.dumps({"question": "Why?", "answer": 4}) + "\n")
    remedy = "set config.data.dev_split= to hold out training problems instead"
    with pytest.raises(UserError, match=f"no annotation of a dev problem .*: {remedy}"):
        training_annotations.collect(inputs, Terminal())


def test_thoughts_of_files_are_the_chain_if_the_config_says_so(tmp_path):
    rows = [
        {"prompt": f"What is {n} + 1?", "completion": f"<think>I add 1.</think>So.\n#### {n + 1}"}
        for n in range(5)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = {"scheme": "chain", "data.annotations": str(tmp_path / "mine.jsonl")}
    said = inputs_of(tmp_path, own_rows(5), **overrides)
    thought = inputs_of(tmp_path, own_rows(5), **overrides, **{"teacher.reasoning": "steps"})
    assert [a.steps for a in training_annotations.collect(said, Terminal()).train] == [
        (Step(None, "So."),)
    ] * 5
    assert [a.steps for a in training_annotations.collect(thought, Terminal()).train] == [
        (Step(None, "I add 1."),)
    ] * 5
    # Runs from before there was the key are not others because of it.
    assert "teacher.reasoning" not in said.identity()
    assert thought.identity() == said.identity() | {"teacher.reasoning": "steps"}
    overrides |= {"scheme": "socratic", "teacher.reasoning": "steps"}
    with pytest.raises(UserError, match=r"chains without subquestions, which scheme 'socratic'"):
        training_annotations.collect(inputs_of(tmp_path, own_rows(5), **overrides), Terminal())


def students_answers(directory, rows, split="train"):
    """predictions.jsonl with these samples: {question: [(solution, answer), ...]}."""
    lines = []
    for number, (question, answers) in enumerate(rows.items()):
        samples = tuple(
            Sample(
                place,
                f"{solution}\n#### {answer}",
                (Turn("solver", f"{solution}\n#### {answer}", tokens, -0.5 * tokens),),
                answer,
                answer == rows[question][0][1],
                {},
                "finished",
                -0.5 * tokens,
                tokens,
            )
            for place, (solution, answer, tokens) in enumerate(answers)
        )
        first = samples[0]
        lines.append(
            Prediction(
                f"jsonl/{split}/{number}", question, answers[0][1], first.completion, first.turns,
                first.prediction, True, {}, "finished", samples=samples,
            )
        )  # fmt: skip
    path = directory / "predictions.jsonl"
    path.write_text("".join(to_json(line) + "\n" for line in lines))
    return str(path)


def test_own_samples_are_sifted_and_counted_beside_gold_ones(tmp_path):
    """Gold comes first, so that a sample which says the same is its copy."""
    gold = [
        {"question": f"What is {n} + 1?", "answer": str(n + 1), "steps": own_rows(1)[0]["steps"]}
        for n in range(12)
    ]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    samples = students_answers(
        tmp_path,
        {
            "What is 0 + 1?": [("0 + 1 = 1", "1", 20), ("0 + 1 = 1 now", "1", 21), ("4", "1", 20)],
            "What is 1 + 1?": [("1 + 1 = 2", "2", 9), ("Why? 1 + 1 = 2", "2", 20), ("3", "3", 20)],
            "What is 2 + 1?": [("2 + 1 = 4", "3", 20), ("a b a b a b", "3", 20)],
        },
    )
    overrides = {
        "scheme": "chain",
        "data.dev_problems": "0",
        "data.annotations": f"{tmp_path / 'gold.jsonl'},{samples}",
        "harvest.keep": "different",
        "harvest.least_tokens": "10",
        "harvest.most_repetition": "0.3",
        "harvest.unwanted": "Why",
    }
    data = training_annotations.collect(inputs_of(tmp_path, own_rows(12), **overrides), Terminal())
    assert len(data.train) == 12 + 1
    [own] = [each for each in data.train if each.source["kind"] == "student"]
    assert (own.steps[0].solution, own.source["sample"]) == ("0 + 1 = 1", 0)
    assert Counter(each.reason for each in data.rejected) == {
        "another of the problem kept": 1,  # the same equation
        "duplicate": 1,  # of the gold one
        "too short": 1,
        "unwanted pattern": 1,
        "wrong answer": 1,
        "false calculation": 1,
        "repetitive": 1,
    }
    # All of it is off by default, and then no part of what the run is.
    overrides = {key: overrides[key] for key in ("scheme", "data.dev_problems", "data.annotations")}
    run = inputs_of(tmp_path, own_rows(12), **overrides)
    assert not [key for key in run.identity() if key.startswith(("harvest.", "data.near"))]
    assert (
        len(training_annotations.collect(run, Terminal()).train) == 12 + 3
    )  # near copies are dropped


def test_how_alike_is_a_copy_is_a_key(tmp_path):
    rows = {"What is 1 + 1?": [("a b c", "2", 9), ("b c d", "2", 9), ("c b a", "2", 9)]}
    overrides = {"scheme": "chain", "data.annotations": students_answers(tmp_path, rows)}
    overrides |= {"data.near": "0.5", "data.near_words": "1", "data.dev_problems": "0"}
    # {a, b, c} and {b, c, d} have half of their union in common.
    run = inputs_of(tmp_path, own_rows(3), **overrides)
    assert len(training_annotations.collect(run, Terminal()).train) == 1
    run = inputs_of(tmp_path, own_rows(3), **overrides | {"data.near": "0.51"})
    assert len(training_annotations.collect(run, Terminal()).train) == 2
    run = inputs_of(tmp_path, own_rows(3), **overrides | {"data.near": "1.1"})
    assert len(training_annotations.collect(run, Terminal()).train) == 3  # no copies


def test_answers_to_the_evaluation_are_refused(tmp_path):
    rows = {"Is ice cold?": [("It is.", "yes", 9)], "What is 1 + 1?": [("1 + 1 = 2", "2", 9)]}
    overrides = {"scheme": "chain", "data.annotations": students_answers(tmp_path, rows, "test")}
    with pytest.raises(UserError, match=r"the evaluation \(the first is jsonl/test/0\): ask the"):
        training_annotations.collect(inputs_of(tmp_path, own_rows(9), **overrides), Terminal())


def test_students_may_learn_the_texts_of_choices_without_letters(tmp_path):
    """The known answers stay; what is no choice is left out."""
    own = own_rows(2) + [
        {
            "question": f"What has Ann? Answer choices: (A) ball {n}, (B) pen {n}.",
            "answer": f"(B) pen {n}",
            "steps": [{"subquestion": "So?", "solution": f"Ann: (B) pen {n}."}],
        }
        for n in range(3)
    ]
    off = {"data.choice_letters": "False", "data.dev_problems": "0"}
    run = inputs_of(tmp_path, own, **off)
    data = training_annotations.collect(run, Terminal())
    assert [(a.answer, a.steps[-1].solution) for a in data.train] == [
        (f"pen {n}", f"Ann: pen {n}.") for n in range(3)
    ]
    assert Counter(each.reason for each in data.rejected) == {"no choice": 2}
    assert "answer '1' is no choice that a text alone can name" in data.rejected[0].detail
    assert (
        "data.choice_letters" in run.identity() and run.task.load("train")[-1].answer == "(B) pen 2"
    )
