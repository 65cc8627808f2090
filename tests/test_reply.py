"""Replies of teachers in the many ways in which they are written."""

import dataclasses
import json
import os
import pathlib
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.records import Step
from distill_jax.tasks import gsm8k
from distill_jax.teacher.answer_text import answer_text
from distill_jax.teacher.final_answer import split_answer
from distill_jax.teacher.reply import Reply, has_pairs, parse_chain, parse_dialogue, parse_pairs
from distill_jax.teacher.sentences import sentence_spans

MAY, ALL = "How many in May?", "How many in all?"
MAY_STEP = Step(MAY, "She sold 48/2 = <<48/2=24>>24 clips in May.")
ALL_STEP = Step(ALL, "She sold 48+24 = <<48+24=72>>72 clips.")
TWO = Reply((MAY_STEP, ALL_STEP), "72")


def pairs(*texts: str) -> tuple[Step, ...]:
    return tuple(map(Step, texts[::2], texts[1::2]))


@pytest.mark.parametrize(
    "question, solution",
    [
        ("Q:", "A:"),
        ("Q{}:", "A{}:"),
        ("Q{}.", "A{}."),
        ("Q{})", "A{})"),
        ("Q{} -", "A{} -"),
        ("**Q{}:**", "**A{}:**"),
        ("**Q{}**:", "**A{}**:"),
        ("- **Q:**", "- **A:**"),
        ("Question {}:", "Answer {}:"),
        ("Question {}\n", "Answer {}\n"),
        ("**Question {}**\n", "**Answer {}**\n"),
        ("### Question {}\n", "### Solution {}\n"),
        ("Question #{}:", "Answer:"),
        ("Sub-question {})", "Answer:"),
        ("{}. Sub-question:", "   Solution:"),
        ("Subquestion:", "Solution:"),
        ("#### Subquestion {}:", "**Solution**:"),
        ("> Sub question ({}):", "> Sub-answer ({}):"),
        ("Step {}: Question:", "Answer:"),
        ("QUESTION {}:", "SOLUTION:"),
        ("Q\uff1a", "A\uff1a"),  # a colon of full width
        ("Q{}:", ""),  # the solution has no label
    ],
)
def test_labels(question, solution):
    lines = []
    for number, step in enumerate(TWO.steps, 1):
        lines.append(f"{question.format(number)} {step.subquestion}")
        lines.append(f"{solution.format(number)} {step.solution}")
    assert parse_pairs("\n".join([*lines, "#### 72"])) == TWO
    assert parse_pairs("\r\n\r\n".join(["Sure! Here it is:", *lines, "**#### 72**", ""])) == TWO


@pytest.mark.parametrize(
    "text",
    [
        f"1. {MAY}\n{MAY_STEP.solution}\n2. {ALL}\n{ALL_STEP.solution}\n#### 72",
        f"1) **{MAY}**\n   - {MAY_STEP.solution}\n\n2) **{ALL}**\n   - {ALL_STEP.solution}\n\n"
        "**Answer:** 72",
        f"Step 1: {MAY} {MAY_STEP.solution}\nStep 2: {ALL} {ALL_STEP.solution}\n#### 72",
        f"{MAY} ** {MAY_STEP.solution}\n{ALL} ** {ALL_STEP.solution}\n#### 72",
        f"{MAY} {MAY_STEP.solution} {ALL} {ALL_STEP.solution} The answer is 72",
        f"{MAY}{MAY_STEP.solution}\n\n{ALL}{ALL_STEP.solution}\nThe answer is: 72.",
        f"Q: {MAY} A: {MAY_STEP.solution} Q: {ALL} A: {ALL_STEP.solution} The answer is 72.",
    ],
)
def test_without_labels_or_lines(text):
    assert parse_pairs(text) == TWO


def rows(question="subquestion", solution="solution"):
    return [{question: step.subquestion, solution: step.solution} for step in TWO.steps]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"steps": rows(), "answer": 72}),
        json.dumps({"steps": rows("question", "answer"), "final_answer": "72"}),
        f"{json.dumps(rows())}\n#### 72",
        f"Sure! Here it is:\n```json\n{json.dumps(rows(), indent=2)}\n```\nThe answer is 72.",
        json.dumps([rows()[0], {"question": ALL, "answer": ALL_STEP.solution + "\n#### 72"}]),
    ],
)
def test_json(text):
    assert parse_pairs(text) == TWO


def test_json_values_that_are_no_pairs():
    assert parse_pairs('{"steps": [{"question": "Is it so?", "answer": true}, 5]}') == Reply(
        pairs("Is it so?", "yes"), "yes"
    )
    cut_off = json.dumps({"steps": rows()})[:-20]
    for text in (cut_off, "[1, 2]", '{"answer": 72}', "[" * 5000, f"[{'9' * 5000}]"):
        assert parse_pairs(text).steps == ()


# What stands at the end of a chain -> the answer, and what is left of the chain.
ENDINGS = {
    "48+24 = 72\n#### 72": ("72", "48+24 = 72"),
    "48+24 = 72 #### 72": ("72", "48+24 = 72"),
    "48+24 = 72\n####72 clips.": ("72 clips", "48+24 = 72"),
    "48+24 = 72\n#### **$1,072.50**.": ("$1,072.50", "48+24 = 72"),
    "48+24 = 72\n#### 72\n\nLet me know if you have questions!": ("72", "48+24 = 72"),
    "48/2 = 24\n#### 24\n48+24 = 72\n#### 72": ("72", "48/2 = 24\n48+24 = 72"),
    "#### Step 1\n48+24 = 72\n#### Final answer: 72": ("72", "Step 1\n48+24 = 72"),
    "48+24 = 72\n#### Answer\n72": ("72", "48+24 = 72"),
    "She adds.\n#### 48+24 = 72": ("48+24 = 72", "She adds.\n48+24 = 72"),
    "48+24 = 72. The answer is 72.": ("72", "48+24 = 72."),
    "48+24 = 72. So, the final answer is: 72 clips. I hope this helps!": (
        "72 clips",
        "48+24 = 72.",
    ),
    "48+24 = 72The answer is 72": ("72", "48+24 = 72"),
    "She sold 72 clipsThe answer is 72": ("72", "She sold 72 clips"),
    "It is so. Therefore, the answer is (yes).": ("yes", "It is so."),
    "It is so.\nTherefore, the answer is\n**yes**": ("yes", "It is so."),
    "48+24 = 72\nFinal answer: 72": ("72", "48+24 = 72"),
    "48+24 = 72\n**Final Answer:** **72**": ("72", "48+24 = 72"),
    "48+24 = 72\n**Final Answer**\n\\[\n\\boxed{72}\n\\]": ("72", "48+24 = 72"),
    "48+24 = 72\nAnswer: 72": ("72", "48+24 = 72"),
    "48+24 = 72\n$$\\boxed{\\frac{1}{2}}$$": ("1/2", "48+24 = 72"),
    "She sold 48+24 = \\boxed{72} clips.": ("72", "She sold 48+24 = 72 clips."),
    "The final answer is $\\boxed{72\\text{ clips}}$.": ("72 clips", ""),
    "84 / 2 = 42. The answer is (84 / 2).": ("84 / 2", "84 / 2 = 42."),
    "So it is. The answer is ( 10.0 / 30.0 )": ("10.0 / 30.0", "So it is."),
    # A reason or a calculation in the sentence stays.
    "Since 1 < 5, the answer is no.": ("no", "Since 1 < 5, the answer is no."),
    "The answer is 48 + 24 = 72": ("48 + 24 = 72", "The answer is 48 + 24 = 72"),
    # Whether a calculation is true is for the grader to say.
    "The answer is 16. I made a mistake.": (None, "The answer is 16. I made a mistake."),
    "The answer is 58 - 60 = 38": ("58 - 60 = 38", "The answer is 58 - 60 = 38"),
    # No final answer.
    "So she has 72.": (None, "So she has 72."),
    "#### Solution\n48+24 = 72": (None, "Solution\n48+24 = 72"),
    "48+24 = 72\n####": (None, "48+24 = 72"),
    "The answer is ...": (None, "The answer is ..."),
}


@pytest.mark.parametrize("text", ENDINGS)
def test_final_answer(text):
    ending = split_answer(text)
    assert (ending.answer, ending.body) == ENDINGS[text]


@pytest.mark.parametrize(
    "value, answer",
    {
        "72.": "72",
        " **72** ": "72",
        '"yes".': "yes",
        "`no`": "no",
        "$72$ clips": "72 clips",
        "$72": "$72",
        "\\(\\frac{3}{4}\\)": "3/4",
        "\\$5": "$5",
        "in the U.S.": "in the U.S",
        "U.S.": "U.S.",
        "9 * 15 = 135 + 120 = 255": "9 * 15 = 135 + 120 = 255",
        "$600 + $90 = 690": "$600 + $90 = 690",
        "115 (in dollars, so 130 - 15 = 115)": "115 (in dollars, so 130 - 15 = 115)",
        "(16 * 17) * 4": "(16 * 17) * 4",
        "((2 * 3) + 1)": "((2 * 3) + 1)",
        "2020-01-02": "2020-01-02",
        "555-1234": "555-1234",
        "<": "<",
        "A*": "A*",
        "1\\frac{1}{2}": "1 1/2",
        "(a) two": "(a) two",
        "two\nlines": "two lines",
        "3-5 days": "3-5 days",
        "72)": "72",
        "-": None,
        "": None,
        "a" * 201: None,
        "1" * 100_000: None,
    }.items(),
)
def test_answer_text(value, answer):
    assert answer_text(value) == answer


def test_a_last_solution_that_only_states_the_answer_stays():
    for solution, kept in {
        "The answer is 72.": "The answer is 72.",
        "#### 72": "72",
        "\\boxed{72}": "72",
        "Final answer: 72": "72",
        "72": "72",
    }.items():
        expected = Reply((MAY_STEP, Step(ALL, kept)), "72")
        assert parse_pairs(f"Q: {MAY}\nA: {MAY_STEP.solution}\nQ: {ALL}\nA: {solution}") == expected
    assert parse_pairs(f"Q: {ALL}\n#### 72") == Reply(pairs(ALL, "72"), "72")
    assert parse_dialogue(f"{ALL} The answer is 19 + 18 = 37") == Reply(
        pairs(ALL, "The answer is 19 + 18 = 37"), "19 + 18 = 37"
    )
    # In a chain there is nothing to be learnt from it.
    assert parse_chain("The answer is 72.") == Reply((), "72")


def test_the_answer_label_in_labelled_pairs():
    text = f"Question: {ALL}\nAnswer: 48+24 = 72"
    assert parse_pairs(text) == Reply(pairs(ALL, "48+24 = 72"), None)  # a solution, no more
    assert parse_pairs(f"{text}\nAnswer: 72 clips") == Reply(pairs(ALL, "48+24 = 72"), "72 clips")
    assert parse_pairs(f"Question: {ALL}\nAnswer: 72") == Reply(pairs(ALL, "72"), "72")


def test_solutions_below_all_questions_are_told_by_their_numbers():
    text = f"Q1: {MAY}\nQ2: {ALL}\nA1: {MAY_STEP.solution}\nA2: {ALL_STEP.solution}\n#### 72"
    assert parse_pairs(text) == TWO


def test_questions_without_solution_are_left_out():
    text = f"Question: The problem.\nQ1: {MAY}\nA1: {MAY_STEP.solution}\nQ2: {ALL}"
    assert parse_pairs(text) == Reply((MAY_STEP,), None)
    assert parse_pairs("A: five\n#### 5") == Reply((), "5")


def test_several_lines_and_signs_in_a_solution():
    text = "Q: How many?\nA:\n- 2 ** 3 = 8 and 2**3 = 8\n\n* **3*4** = `12`\n#### 12"
    solution = "2 ** 3 = 8 and 2**3 = 8\n* 3*4 = 12"
    assert parse_pairs(text) == Reply(pairs("How many?", solution), "12")


def test_thinking():
    said = f"Q: {ALL}\nA: She adds.\n#### 72"
    known = Reply(pairs(ALL, "She adds."), "72")
    assert parse_pairs(f"<think>\nQ: What?\nA: 5\n#### 5\n</think>\n{said}") == known
    assert parse_pairs(f"Q: What?\nA: 5\n#### 5\n</think>{said}") == known
    assert parse_pairs(f"<thinking>a</thinking>{said}<think>b</think>") == known
    assert parse_pairs(f"<think>{said}") == parse_chain(f"{said}<think>") == Reply((), None)


def test_chain_keeps_its_lines():
    text = "Okay, let's solve this:\n```\n1. **48/2** = 24 \n\n---\n- 48+24 = 72\n```\n#### 72"
    steps = (Step(None, "1. **48/2** = 24"), Step(None, "- 48+24 = 72"))
    assert parse_chain(text) == Reply(steps, "72")
    assert parse_chain("a b<br/>c d\n<answer>72</answer>") == Reply(
        (Step(None, "a b"), Step(None, "c d")), "72"
    )
    assert parse_chain("<Solution Path>It is so. The answer is True") == Reply(
        (Step(None, "It is so."),), "True"
    )


def test_dialogue():
    text = (
        "Let us see. How many bananas are there? Mr. Ho has 290, at $3.50 each. How? That is, what "
        'is 290 / 2? "Who?" he said. Therefore, 290 / 2 = 145. x = ? The answer is 145'
    )
    assert parse_dialogue(text) == Reply(
        pairs(
            "How many bananas are there?",
            "Mr. Ho has 290, at $3.50 each. How?",
            "That is, what is 290 / 2?",
            '"Who?" he said. Therefore, 290 / 2 = 145. x = ?',
        ),
        "145",
    )
    two = parse_dialogue(
        "Who pays? Ann. How much is it? And how much is left? $1.5 of $3. #### 1.5"
    )
    assert [step.subquestion for step in two.steps] == [
        "Who pays?",
        "How much is it? And how much is left?",
    ]


@pytest.mark.parametrize(
    "text, sentences",
    {
        "Mr. Ho has $3.50. How many?": ["Mr. Ho has $3.50.", "How many?"],
        "2. How many? 72. Good": ["2. How many?", "72.", "Good"],
        "It is 5. 3. How many?": ["It is 5.", "3. How many?"],
        "Samuel L. Jackson e.g. Dr. Who": ["Samuel L. Jackson e.g. Dr. Who"],
        "It is plan A. How? At 5 p.m. He": ["It is plan A.", "How?", "At 5 p.m.", "He"],
        "Yes!No?Then": ["Yes!No?", "Then"],
        'He said "no." Then **she** said **no.** I': [
            'He said "no."',
            "Then **she** said **no.**",
            "I",
        ],
        "a\nb ...": ["a", "b ..."],
        " \n ": [],
    }.items(),
)
def test_sentences(text, sentences):
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences


def test_has_pairs():
    texts = ["Q1: a b?\nA1: c", "How many? 5.", "**How many are left?** 5", "a b ** c", "{}"]
    assert all(map(has_pairs, [*texts, json.dumps(rows())]))
    assert not any(map(has_pairs, ["", "There are 5. How many?", "48/2 = 24", "Answer: 5"]))


# Questions and solutions of which every style can say where they end.
WORDS = ["apples", "Mr. Ho", "$3.50", "1.5", "3*4", "<<3*4=12>>12", "red", "Q", "answer"]
phrase = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
question = phrase.map("How many {}?".format)
line = phrase.map("There are {} left.".format)
solution = st.lists(line, min_size=1, max_size=3)
reply = st.builds(
    lambda steps, answer: ([(q, s) for q, s in steps], answer),
    st.lists(st.tuples(question, solution), min_size=1, max_size=4),
    st.sampled_from(["72", "yes", "$3.50", "72 clips", "1/2", "-5", "1,234", "New York"]),
)


def labelled(question: str, solution: str):
    def write(steps, end):
        for number, (asked, lines) in enumerate(steps, 1):
            yield f"{question.format(number)} {asked}"
            yield "\n".join([f"{solution.format(number)} {lines[0]}", *lines[1:]])
        yield end

    return write


def joined(steps):
    return [{"question": asked, "solution": "\n".join(lines)} for asked, lines in steps]


# Style -> the parts of a reply, between which empty lines may stand.
STYLES = {
    "letters": labelled("Q:", "A:"),
    "numbered letters": labelled("Q{}:", "A{}."),
    "bold": labelled("**Q{}:**", "**A{}:**"),
    "words": labelled("Question {}:", "Answer {}:"),
    "headings": labelled("### Sub-question {})", "**Solution:**"),
    "bullets": labelled("- Subquestion:", "- Solution:"),
    "numbers": labelled("{}.", ""),
    "stars": lambda steps, end: [*(f"{q} ** {' '.join(s)}" for q, s in steps), end],
    "running": lambda steps, end: [" ".join(f"{q} {' '.join(s)}" for q, s in steps) + f" {end}"],
    "json": lambda steps, end: [json.dumps(joined(steps)), end],
    "fenced json": lambda steps, end: ["```json", json.dumps({"steps": joined(steps)}), "```", end],
}
ONE_LINE = ("stars", "running")
ENDS = ["The answer is {}.", "Therefore, the answer is {}", "The final answer is: **{}**"]
ENDS_ON_A_LINE = ["#### {}", "**#### {}**", "\\boxed{{{}}}", "**Final answer:** {}", "Answer: {}"]


@settings(max_examples=300, deadline=None)
@given(
    reply,
    st.sampled_from(list(STYLES)),
    st.data(),
    st.sampled_from(["\n", "\n\n", "\r\n", "\r\n\r\n", " \n"]),
    st.sampled_from(["", "Sure! Here are the steps:\n\n", "<think>Q: hm?\nA: 5</think>\n"]),
    st.sampled_from(["", "\n", "\n\nLet me know if you have any questions!"]),
)
def test_round_trip(written, style, data, newline, opening, closing):
    steps, answer = written
    end = data.draw(st.sampled_from(ENDS if style == "running" else ENDS + ENDS_ON_A_LINE))
    parts = STYLES[style](steps, end.format(answer))
    text = (opening + newline.join(parts) + closing).replace("\r\n", "\n")
    text = text.replace("\n", "\r\n") if "\r" in newline else text
    between = " " if style in ONE_LINE else "\n"
    expected = tuple(Step(asked, between.join(lines)) for asked, lines in steps)
    assert parse_pairs(text) == Reply(expected, answer)


@settings(deadline=None)
@given(st.lists(line, min_size=1, max_size=5), st.sampled_from(ENDS + ENDS_ON_A_LINE))
def test_round_trip_of_chains(lines, end):
    text = "\n".join([*lines, end.format("72 clips")])
    assert parse_chain(text) == Reply(tuple(Step(None, each) for each in lines), "72 clips")


PIECES = [
    *("Q:", "A:", "Q1.", "**Q2:**", "Question 3:", "Answer", "Sub-question 1)", "Solution:", "#"),
    *("####", "**", "*", "`", "```", "_", "?", ".", " ", "\n", "\r\n", "1. ", "- ", "> ", "(", ")"),
    *("The answer is", "Final answer:", "answer", "\\boxed{", "{", "}", "<think>", "</think>", "="),
    *(
        "5",
        "72.",
        "How many",
        "she has",
        "[",
        '"question": ',
        "<answer>",
        "<br>",
        "\u2028",
        "\ud800",
    ),
    *(
        " ** ",
        "Step 1:",
        "Let me know",
        "Sure!",
        "\uff1a",
        "$",
        "\\frac{1}{2}",
        "x",
        "(8/2)",
        "Mr.",
    ),
]
LABEL = re.compile(r"(?i:(?:sub-?)?(?:question|answer|solution)) ?[0-9]*:|[QA][0-9]*[:.] ")


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_whatever_is_written(text):
    for parse in (parse_pairs, parse_dialogue, parse_chain):
        found = parse(text)
        for step in found.steps:
            assert step.solution.strip() == step.solution != ""
            assert "####" not in f"{step.subquestion} {step.solution}"
            if parse is parse_chain:
                assert step.subquestion is None and "\n" not in step.solution
                continue
            assert step.subquestion and "\n" not in step.subquestion
            for part in (step.subquestion, step.solution):
                assert not part.startswith(("**", "# ", ">", "- ")) and not LABEL.match(part)
        if found.answer is not None:
            assert len(found.answer.splitlines()) == 1
            assert answer_text(found.answer) is not None
            found.answer.encode()
        json.dumps(dataclasses.asdict(found), ensure_ascii=False).encode()


@pytest.mark.parametrize("piece", [*PIECES, "", ". ", "? ", "** a", "A. ", "#### Step 1 ", "$a"])
def test_time_is_linear(piece):
    text = f"Q: How?\nA: {(piece or 'It is so.') * (200_000 // max(1, len(piece)))}\n#### 5"
    for parse in (parse_pairs, parse_dialogue, parse_chain):
        start = time.process_time()
        parse(text[:200_000])
        # A tenth of a second, or minutes if it were quadratic.
        assert time.process_time() - start < 10


DATA = os.environ.get("DISTILL_JAX_DATA", "")


@pytest.mark.skipif(not DATA, reason="set DISTILL_JAX_DATA to a folder with gsm8k/")
@pytest.mark.parametrize("split", gsm8k.SPLITS)
def test_gsm8k_comes_back(split):
    """Its own format, and the one that teachers are asked for, to the letter."""
    folder = f"{DATA}/gsm8k"
    gold = gsm8k.load_annotations(split, directory=folder)
    lines = pathlib.Path(folder, f"{split}_socratic.jsonl").read_text(encoding="utf-8").splitlines()
    for annotation, row in zip(gold, lines, strict=True):
        found = parse_pairs(json.loads(row)["answer"])
        assert found.answer is not None
        assert (found.steps, found.answer.replace(",", "")) == (annotation.steps, annotation.answer)
        asked = "".join(f"Q: {s.subquestion}\nA: {s.solution}\n" for s in annotation.steps)
        expected = Reply(annotation.steps, annotation.answer)
        assert parse_pairs(f"{asked}#### {annotation.answer}") == expected
        chain = "\n".join(step.solution for step in annotation.steps)
        plain = tuple(Step(None, step.solution) for step in annotation.steps)
        assert parse_chain(f"{chain}\n#### {annotation.answer}") == Reply(plain, annotation.answer)
