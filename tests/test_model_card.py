"""The README.md of an exported student."""

import json
import re

import pytest
import yaml

from distill_jax import records
from distill_jax.export import model_card
from distill_jax.records import Annotation, Step
from distill_jax.tasks import arithmetic, gsm8k, strategyqa, svamp
from distill_jax.text import rows as text_rows
from distill_jax.text.tokenizer import END_OF_TEXT, END_OF_TURN, EndMarks
from distill_jax.text.transcript import SCHEMES


class Settings(dict):
    """A config as far as a card looks at it: keys are attributes too."""

    __getattr__ = dict.__getitem__


OURS = EndMarks(END_OF_TURN, END_OF_TEXT)


def card(
    scheme="socratic",
    report=None,
    base="",
    question="Q?",
    views=None,
    teacher="big-1",
    licences=None,
    marks=OURS,
    dtype="float32",
    **facts,
):
    if views is None:
        both = frozenset(["decomposer", "solver"])
        views = [text_rows.View("solver", both, (1,) if scheme == "socratic" else (0,))]
    steps = (Step("What first?", "1+1 = 2"), Step("And then?", "2+2 = 4"))
    config = Settings(
        task="my_task", task_options={"hard": True}, seed=3, model={"solver": {"init_from": base}}
    )
    annotation = Annotation("x/0", question, "4", steps, {"kind": "teacher", "model": teacher})
    of = model_card.CardFacts(
        "solver",
        config=config,
        scheme=SCHEMES[scheme],
        views=views,
        annotations=[json.loads(records.to_json(annotation))] * 3,
        licences=licences or {},
        facts={"steps": 1200, "epochs": 0.5, **facts},
        report=report,
        steps={"solver": 1200},
        dtype=dtype,
        example="print('in turn')",
        marks=marks,
    )
    return model_card.model_card(of)


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_says_what_the_student_is():
    result = {
        "accuracy": 0.4,
        "accuracy_interval": [0.3, 0.5],
        "accuracy_interval_method": "Wilson 95 %",
        "n": 100,
        "split": "test",
        "seed": 3,
        "checkpoint_rule": "last",
        "checkpoint_steps": {"solver": 1200},
        "sampling": {"temperature": 0.0, "calculator": True},
        "task": "my_task",
        "headline_extractor": "normalised",
        "scores": {"strict": {"accuracy": 0.25}, "normalised": {"accuracy": 0.4}},
    }
    text = card(report=result, base="openai-community/gpt2")
    assert front_matter(text) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "openai-community/gpt2",
    }
    assert "does not hold the dialogue" in text and "1,200" in text
    assert "**40.0%** (Wilson 95 % interval 30.0% to 50.0%) on n = 100" in text
    assert "overlap" not in text
    text = card(report=result | {"origins": {"published": ["a.gguf (of_b)"]}}, base="a.gguf")
    assert "Students began as a.gguf (of\\_b)\\: overlap of its training data with these" in text
    text = card(report=result, base="m/a.gguf", began_as="a.gguf (dequantised from Q4_1)")
    assert "initialised from a.gguf (dequantised from Q4\\_1), for" in text
    assert "| first parameters: a.gguf (dequantised from Q4\\_1) |" in text
    text = card(report=result, base="openai-community/gpt2")
    assert "on n = 100 problems of the split test of my\\_task, seed 3, last checkpoint" in text
    assert "calculator on" in text and "extractor *normalised*" in text
    assert "strict 25.0%, normalised 40.0%" in text
    assert "rounded" not in text and "given:" not in text
    given = {"sampling": result["sampling"] | {"given": "subquestions"}}
    text = card(report=result | given, dtype="bfloat16")
    assert "calculator on, given: subquestions. The weights are rounded to bfloat16 since." in text
    assert "only together with others" in card(report=result | {"combination": {}})
    text = card(report=result | {"checkpoint_steps": {"solver": 900}})
    assert "with other checkpoints than these" in text and "40.0%" not in text
    assert "was not evaluated" in card()
    assert "does not hold" not in card("chain")
    unified = text_rows.View("solver", frozenset(["decomposer", "solver"]), (0, 1))
    text = card(views=[unified])
    assert "writes as: decomposer, solver" in text and "One call does not hold" in text
    assert "{'role': 'assistant', 'content': 'What first?'}" in text


def test_the_card_of_a_guided_student_says_who_speaks_once():
    sees = frozenset(["planner", "decomposer", "solver"])
    text = card("socratic_equations", views=[text_rows.View("solver", sees, (1,))])
    assert "\\_equations (roles in turn: planner (once), decomposer, solver)" in text
    assert "as decomposer it reads the question, its own turns, and those of planner" in text
    assert "{'role': 'user', 'content': '1+1 | 2+2'}" in text
    planner = text_rows.View("solver", frozenset(["planner"]), (0,))
    text = card("socratic_operators", views=[planner])
    assert "The training data goes on with\n\n```text\n+ +\n```" in text


def test_the_card_names_data_licences_and_teacher():
    text = card(licences={"ASDiv-A": "CC BY-NC 4.0", "a | b": "<i>none</i>"}, teacher="big|1 *x*")
    assert "| ASDiv-A | CC BY-NC 4.0 |" in text and "hard=True" in text
    assert r"| a \| b | &lt;i&gt;none&lt;/i&gt; |" in text
    assert r"| teacher | big\|1 \*x\* |  |  | 3 |" in text
    assert "often restrict the training of other models" in text
    assert "```python\nprint('in turn')\n```" in text
    text = card(base="openai-community/gpt2")
    assert "| (not known to distill\\_jax) | look it up" in text
    assert "| first parameters: openai-community/gpt2 | that of these parameters |" in text
    for task in (arithmetic, gsm8k, strategyqa, svamp):
        assert all(isinstance(licence, str) and licence for licence in task.LICENCES.values())
    assert "CC BY-NC 4.0" in " ".join(svamp.LICENCES.values())


@pytest.mark.parametrize("base", ["", "./runs/a", "/runs/a: b", "a/b/c", "tests"])
def test_a_base_that_is_no_hub_id_is_not_in_the_front_matter(base):
    assert "base_model" not in front_matter(card(base=base))


def test_the_card_escapes_what_comes_from_data():
    evil = "```\n<script>alert(1)</script>\n# Not a heading\n```` {x}"
    text = card(question=evil, base="<b>*x*</b>|`", note="a | b\n# c <i>")
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", text)
    assert "alert" not in outside and "alert(1)" in text
    assert "<b>" not in outside and "<i>" not in outside and "&lt;i&gt;" in outside
    assert "\n# Not" not in outside and "\n# c" not in outside
    assert repr(evil) in text


def test_the_card_names_the_family_and_the_end_marks_of_the_tokenizer():
    marks = EndMarks("<|im_end|>", "<|endoftext|>")
    text = card(base="models/SmolLM2.gguf", model={"model_type": "llama"}, marks=marks)
    assert "A Llama student, initialised from models/SmolLM2.gguf" in text
    assert "each followed by `<|im_end|>`" in text and END_OF_TURN not in text
    assert "base_model" not in front_matter(text)  # the Hub knows no files
