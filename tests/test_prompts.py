"""The prompts of the package: every file, its exemplars, and what is sent."""

import csv
import json
import os
import pathlib
import re

import jinja2
import pytest

from distill_jax.export.chat_template import turns_template
from distill_jax.records import read_json_lines
from distill_jax.teacher import prompt
from distill_jax.teacher.prompt import kinds, load_prompt
from distill_jax.text import calculator
from distill_jax.text.exact_values import extract_numbers, parse_value

FOLDER = pathlib.Path(prompt.__file__).with_name("prompts")
TASKS = ("generic", "gsm8k", "strategyqa", "svamp")
FEW_SHOT = ("cot", "long", "short", "socratic")
OWN = (*FEW_SHOT, "socratic_zero")  # what every task has a file for
QUESTION = "Ann has 3 bags {{ 7*7 }} with 4 apples.\n\nHow many?"
STEPS = ("3*4 = <<3*4=12>>12", "{{ answer }}")
ANSWER = "987654"

few_shot = pytest.mark.parametrize(
    ("task", "kind"), [(task, kind) for task in TASKS for kind in FEW_SHOT]
)


def exemplars(task, kind):
    """(question, steps shown, answer shown or None, reply) of a few-shot prompt."""
    result = []
    for user, reply in load_prompt(kind, task).examples:
        first, *between, _ = user.split("\n")
        answer = between[-1].removeprefix("Answer: ") if between else None
        question = re.sub(r"^(Problem|Question): ", "", first)
        result.append((question, tuple(between[1:-1]), answer, reply))
    return result


# The shipped files


def test_files():
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert found == {f"{task}/{kind}.txt" for task in TASKS for kind in OWN} | {
        "generic/student.txt",
        "generic/zero_shot_cot.txt",
    }
    assert kinds() == sorted([*OWN, "student", "zero_shot_cot"])


@pytest.mark.parametrize("task", [*TASKS, "my_task", ""])
def test_every_kind_of_every_task(task):
    for kind in kinds():
        loaded = load_prompt(kind, task)
        folder = task if task in TASKS and kind in OWN else "generic"
        assert loaded.name == f"{folder}/{kind}"
        pairs, turns = kind.startswith("socratic"), kind == "student"
        assert loaded.format == ("pairs" if pairs else "turns" if turns else "chain")
        assert (3 <= len(loaded.examples) <= 4) == (kind in FEW_SHOT)
        for steps in (STEPS, ()):
            messages = loaded.messages(QUESTION, steps, ANSWER, ())
            text = loaded.text(QUESTION, steps, ANSWER, ())
            # What is filled in is no template, and comes through as it is.
            assert messages[-1]["content"].count(QUESTION) == 1
            assert text.count(QUESTION) == 1
            shown = bool(steps) and kind == "socratic"
            for step in STEPS:
                assert (step in messages[-1]["content"]) == (step in text) == shown
            assert (ANSWER in text) == (ANSWER in str(messages)) == shown
            said = [m["content"] for m in messages]
            assert all(part == part.strip() and "\n\n\n" not in part for part in said)
            roles = [m["role"] for m in messages if m["role"] != "system"]
            assert roles == (["user", "assistant"] * 5)[: len(roles)] and roles[-1] == "user"
            assert (messages[0]["role"] == "system") == (kind in OWN)


def test_the_text_of_a_completion_ends_where_the_model_is_to_go_on():
    assert (
        load_prompt("cot", "gsm8k")
        .text("Two?", (), "", ())
        .endswith("#### 294\n\nProblem: Two?\nSolution:\n")
    )
    assert (
        load_prompt("socratic", "strategyqa")
        .text("Is ice cold?", ("It is.",), "yes", ())
        .endswith(
            "#### yes\n\nQuestion: Is ice cold?\nFacts:\nIt is.\nAnswer: yes\n"
            "Subquestions and solutions:\n"
        )
    )


@few_shot
def test_exemplars_look_as_the_template_makes_them(task, kind):
    loaded = load_prompt(kind, task)
    for (question, steps, answer, reply), (user, _) in zip(
        exemplars(task, kind), loaded.examples, strict=True
    ):
        assert loaded.calls[0].render(question=question, steps=steps, answer=answer) == user
        if steps:
            assert reply.endswith(f"\n#### {answer}")


@few_shot
def test_exemplars_end_with_an_answer_of_their_kind(task, kind):
    answers = []
    for _, _, _, reply in exemplars(task, kind):
        *steps, last = reply.split("\n")
        assert steps and all(step.strip() == step != "" and "####" not in step for step in steps)
        answers.append(re.fullmatch(r"#### (.+)", last)[1])
    number, yes_no = r"-?\d+", "yes|no"
    allowed = {"strategyqa": yes_no, "generic": f"{number}|{yes_no}|[A-Z][a-z]+"}.get(task, number)
    assert all(re.fullmatch(allowed, answer) for answer in answers)
    if task in ("strategyqa", "generic"):  # yes as often as no, numbers and yes or no and words
        assert len(set(answers)) > 1


@few_shot
def test_marks_are_true_and_stand_before_their_value(task, kind):
    found = 0
    for user, reply in load_prompt(kind, task).examples:
        for line in f"{user}\n{reply}".split("\n"):
            marks = list(re.finditer(r"([^ ]+) = \$?<<([^<>=]+)=([^<>=]+)>>([\d.]*\d)", line))
            # Every mark, and nothing else, is a whole one with its expression in front.
            assert line.count("<<") == line.count(">>") == len(marks)
            assert " = " not in re.sub(r" = \$?<<", "", line)
            for mark in marks:
                shown, expression, value, after = mark.groups()
                assert shown == expression
                assert calculator.value(expression) == value == after
            found += len(marks)
        answer = reply.rpartition("#### ")[2]
        if task != "strategyqa" and answer.isdigit():
            values = re.findall(r"<<[^<>=]+=([^<>=]+)>>", reply)
            # The long ones go on with a check.
            assert answer in (values if kind == "long" else values[-1:])
    assert (found > 0) == (task != "strategyqa")


@pytest.mark.parametrize("task", TASKS)
def test_socratic_exemplars_do_as_the_instructions_say(task):
    counts = []
    for question, _, _, reply in exemplars(task, "socratic"):
        lines = reply.split("\n")[:-1]
        subquestions, solutions = lines[::2], lines[1::2]
        counts.append(len(solutions))
        known = {*extract_numbers(question)}
        for subquestion, solution in zip(subquestions, solutions, strict=True):
            assert re.fullmatch(r"Q: [A-Z].*\?", subquestion)
            assert re.fullmatch(r"A: .*\.", solution)
            marks = re.findall(r"<<([^<>=]+)=([^<>=]+)>>", solution)
            assert len(marks) <= 1  # one operation
            for expression, value in marks:
                assert len(re.findall(r"[-+*/]", expression)) == 1
                used = set(extract_numbers(re.sub(r"[-+*/]", " , ", expression)))
                # From the problem and what was solved before; `half` and `week` are words.
                assert all(number < 10 for number in used - known)
                assert parse_value(value) not in extract_numbers(subquestion)
                known.add(parse_value(value))
        if task == "strategyqa":
            assert subquestions[-1] == f"Q: {question}"
            assert solutions[-1].lower().startswith(f"a: {reply.rpartition('#### ')[2]}, ")
    assert all(2 <= count <= 5 for count in counts)
    assert len(set(counts)) >= 2


@pytest.mark.parametrize("task", TASKS)
def test_kinds_differ_in_style_only(task):
    socratic, *others = (
        [
            (question, reply.rpartition("#### ")[2])
            for question, _, _, reply in exemplars(task, kind)
        ]
        for kind in ("socratic", "cot", "short", "long")
    )
    assert all(other == socratic for other in others)
    short, chain, long = (
        sum(len(reply) for *_, reply in exemplars(task, kind)) for kind in ("short", "cot", "long")
    )
    assert short < 0.8 * chain < chain < 0.6 * long


def test_which_exemplars_show_steps():
    for task in TASKS:
        for kind in FEW_SHOT:
            without = sum(not steps for _, steps, _, _ in exemplars(task, kind))
            assert without == (4 if kind != "socratic" else task == "generic")


# Whether the exemplars are known from elsewhere


def masked_words(text):
    """Words in lower case, numbers as 0; `number0` is how one release of SVAMP hides them."""
    text = re.sub(r"number\d+|\d+(?:[.,/]\d+)*", "0", text.lower())
    return re.findall(r"\w+", text)


def stretches(words):
    return {tuple(words[i : i + 8]): i for i in range(len(words) - 7)}


def published_questions(root):
    for split in ("train", "test"):
        for _, row in read_json_lines(root / "gsm8k" / f"{split}.jsonl"):
            yield row["question"]
    for row in json.loads((root / "svamp" / "SVAMP.json").read_text()):
        yield f"{row['Body']} {row['Question']}"
    for split in ("train", "dev"):
        with open(root / "svamp" / "mawps-asdiv-a_svamp" / f"{split}.csv", newline="") as file:
            yield from (row["Question"] for row in csv.DictReader(file))
        for row in json.loads((root / "strategyqa" / f"{split}.json").read_text()):
            yield row["question"]
    prompts = root / "teacher" / "reasoning_teacher_prompts" / "few_shot_cot_prompts.json"
    for row in json.loads(prompts.read_text()).values():
        yield from re.findall(r"Q: (.*)", row["prompt"])


def test_exemplars_are_in_no_data_set_and_no_published_prompt():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds gsm8k/train.jsonl")
    ours = [masked_words(e[0]) for task in TASKS for e in exemplars(task, "socratic")]
    assert len(ours) == 16
    counted = 0
    for question in published_questions(pathlib.Path(root)):
        counted += 1
        theirs = masked_words(question)
        known = stretches(theirs)
        for words in ours:
            assert words != theirs, question
            covered = {
                place
                for stretch, start in stretches(words).items()
                if stretch in known
                for place in range(start, start + 8)
            }
            assert len(covered) <= 0.3 * len(words), question
    assert counted > 7473 + 1319 + 1000 + 3138 + 1000 + 2061 + 229


# What is sent


def test_zero_shot_chain_of_thought_is_that_of_fine_tune_cot():
    loaded = load_prompt("zero_shot_cot", "gsm8k")
    first = "Q: Two?\nA: Let's think step by step."
    assert loaded.text("Two?", STEPS, "2", ()) == first
    assert loaded.text("Two?", (), "2", (" One and one.",)) == (
        first + " One and one.\nTherefore, the answer is"
    )
    user, assistant = {"role": "user", "content": first}, {"role": "assistant", "content": "One."}
    assert loaded.messages("Two?", (), "2", ()) == [user]
    therefore = {"role": "user", "content": "Therefore, the answer is"}
    assert loaded.messages("Two?", (), "2", ("One.",)) == [user, assistant, therefore]
    assert loaded.whole_reply((" One.", " 2.")) == " One.\nTherefore, the answer is 2."
    assert loaded.whole_reply(("One.", "2.")) == "One.\nTherefore, the answer is 2."


def test_students_are_asked_as_their_rows_are():
    loaded = load_prompt("student", "svamp")
    said = ["Two?", "How?", "So.", "And?", "Thus.\n#### 2"]
    roles = [
        ["user"],
        ["system", "user"],
        ["user", "assistant", "user"],
        ["system", "user", "assistant", "user"],
        ["user", "assistant", "user", "assistant", "user"],
    ]
    template = jinja2.Template(turns_template("<|endofturn|>"))
    for number in range(len(said)):
        replies = said[1 : number + 1]
        messages = loaded.messages("Two?", STEPS, "2", replies)
        assert [m["content"] for m in messages] == said[: number + 1]
        assert [m["role"] for m in messages] == roles[number]
        text = loaded.text("Two?", STEPS, "2", replies)
        assert text == template.render(messages=messages)
        assert text == "".join(f"{turn}<|endofturn|>" for turn in said[: number + 1])
    assert loaded.whole_reply(["12"]) == "12"
    assert set(loaded.stop) == {"<|endofturn|>", "<|endoftext|>"}
