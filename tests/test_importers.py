"""Files with teacher answers in the layouts that people have."""

import collections
import json
import os

import pytest

from distill_jax.annotations.import_formats import FORMATS
from distill_jax.annotations.importers import import_file
from distill_jax.annotations.matching import Questions
from distill_jax.annotations.summary import summarise
from distill_jax.annotations.verify import Rejected
from distill_jax.errors import UserError
from distill_jax.records import Problem, Step
from distill_jax.tasks import gsm8k, strategyqa, svamp
from distill_jax.teacher.reply import Reply, parse_turns

CLIPS = "Ann sold 48 clips in May, and half as many in June. How many in all?"
ICE = "Is ice cold?"
PROBLEMS = [
    Problem("a/clips", CLIPS, "72", "train"),
    Problem("a/ice", ICE, "yes", "train"),
]
CHAIN = "48/2 = <<48/2=24>>24\n48+24 = <<48+24=72>>72"
CHAIN_STEPS = (Step(None, "48/2 = <<48/2=24>>24"), Step(None, "48+24 = <<48+24=72>>72"))
PAIRS = "Q: How many in June?\nA: 48/2 = 24\nQ: How many in all?\nA: 48+24 = 72\n#### 72"
PAIR_STEPS = (Step("How many in June?", "48/2 = 24"), Step("How many in all?", "48+24 = 72"))
MESSAGES = [
    {"role": "system", "content": "Solve it."},
    {"role": "user", "content": f"Question: {CLIPS}\nAnswer:"},
    {"role": "assistant", "content": PAIRS},
]


def write(path, rows):
    """JSON Lines or JSON, by the name of the file."""
    lines = "".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else ""
    path.write_text(lines or json.dumps(rows))
    return path


# Name of the format -> a row of it, for CLIPS with the answer 72.
CHAIN_ROWS = {
    "GSM8K, chains": {"question": CLIPS, "answer": f"{CHAIN}\n#### 72"},
    "alpaca, chains": {"instruction": CLIPS, "input": "", "output": f"{CHAIN}\nThe answer is 72"},
    "Mentor-KD, chains": {
        "input": f"{CLIPS}\n",
        "chain": CHAIN,
        "answer": "72",
        "initial_correct": True,
    },
    "open-r1, chains": {
        "problem": CLIPS,
        "answer": "70",  # the known one, which is not the teacher's
        "generations": [f"<think>\nWait.\n</think>\n{CHAIN}\n\\boxed{{72}}"],
        "finish_reasons": ["stop"],
        "messages": [{"role": "user", "content": "something else"}],
    },
    "NeMo-Skills, chains": {
        "problem": CLIPS,
        "expected_answer": "70",
        "generation": f"{CHAIN}\n\\boxed{{72}}",
    },
    "distilabel, chains": {
        "instruction": f"Solve:\n{CLIPS}",
        "generation": f"{CHAIN}\n#### 72",
        "model_name": "a-model",
    },
    "prompt and completion, chains": {
        "prompt": f"Q: Is it so?\nA: yes\n\nQ: {CLIPS}\nA: Let's think step by step.",
        "completion": f"{CHAIN}\nTherefore, the answer is 72.",
    },
    "ShareGPT, chains": {
        "conversations": [
            {"from": "human", "value": CLIPS},
            {"from": "gpt", "value": f"{CHAIN}\n#### 72"},
        ]
    },
    "Fine-tune-CoT, chains": {
        "sample_index": 0,
        "completion_index": 0,
        "question": CLIPS,
        "answer": "70",
        "reasoning_prompt": f"Q: {CLIPS}\nA: Let's think step by step.",
        "reasoning_completion": f"\n\n{CHAIN}",
        "reasoning_finish_reason": "stop",
        "prompt": "...",
        "completion": " 72.\n\nQ: Another",
        "finish_reason": "stop",
    },
}
PAIR_ROWS = {
    "chat messages, subquestions and solutions": {"messages": MESSAGES},
    "prompt and completion, subquestions and solutions": {
        "prompt": MESSAGES[:2],
        "completion": MESSAGES[2:],
    },
    "GSM8K, subquestions and solutions": {
        "question": CLIPS,
        "answer": "How many in June? ** 48/2 = 24\nHow many in all? ** 48+24 = 72\n#### 72",
    },
    "alpaca, subquestions and solutions": {
        "instruction": "Solve the problem.",
        "input": CLIPS,
        "output": "How many in June? 48/2 = 24. How many in all? 48+24 = 72. The answer is 72",
    },
}
# In running text the full stops belong to the solutions.
DOTTED = tuple(Step(step.subquestion, f"{step.solution}.") for step in PAIR_STEPS)
ROWS = [
    *((name, row, CHAIN_STEPS) for name, row in CHAIN_ROWS.items()),
    *((name, row, DOTTED if "alpaca" in name else PAIR_STEPS) for name, row in PAIR_ROWS.items()),
]


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
@pytest.mark.parametrize("name, row, steps", ROWS, ids=[name for name, _, _ in ROWS])
def test_formats(tmp_path, name, row, steps, suffix):
    found = import_file(write(tmp_path / f"rows.{suffix}", [row]), PROBLEMS)
    assert (found.format, found.rows, found.rejected) == (name, 1, [])
    (annotation,) = found.annotations
    assert (annotation.id, annotation.question) == ("a/clips", CLIPS)
    assert (annotation.answer, annotation.steps) == ("72", steps)
    source = {"kind": "imported", "file": f"rows.{suffix}", "format": name, "sample": 0}
    if "model_name" in row:
        source["model"] = "a-model"
    if "finish_reason" in row or "finish_reasons" in row:
        source["finish_reason"] = "stop"
    assert annotation.source == source


def test_own_annotations(tmp_path):
    steps = [{"subquestion": "How many in all?", "solution": "48+24 = 72"}]
    source = {"kind": "teacher", "model": "a-model", "sample": 3}
    rows = [
        {"id": "a/clips", "question": CLIPS, "answer": "72", "steps": steps, "source": source},
        {"id": "a/ice", "answer": True, "steps": [{"subquestion": None, "solution": "It is."}]},
        {"id": "a/ice", "answer": "yes", "steps": []},
        {"id": "a/ice", "answer": "yes", "steps": "It is."},
    ]
    found = import_file(write(tmp_path / "annotations.jsonl", rows), PROBLEMS)
    assert found.format == "annotations of distill_jax"
    first, second = found.annotations
    assert (first.id, first.steps, first.source) == (
        "a/clips",
        (Step("How many in all?", "48+24 = 72"),),
        source,
    )
    assert (second.id, second.question, second.answer) == ("a/ice", ICE, "yes")
    assert second.source["kind"] == "imported" and second.source["sample"] == 0
    assert [(r.id, r.reason) for r in found.rejected] == [
        ("a/ice", "no steps"),
        ("", "unreadable row"),
    ]
    assert "annotations.jsonl:4: field 'steps' is not a list" in found.rejected[1].detail


def test_fine_tune_cot_file(tmp_path):
    """The whole file as its authors write it; the third sample was cut off."""
    first = CHAIN_ROWS["Fine-tune-CoT, chains"]
    cut_off = first | {"completion_index": 1, "reasoning_finish_reason": "length"}
    student = {
        "sample_index": 1,
        "completion_index": 0,
        "question": ICE,
        "answer": "yes",
        "prompt": f"{ICE} ###",
        "completion": " It is frozen. --> yes END",
    }
    value = {
        "metadata": {"base_model": "text-davinci-002", "dataset_key": "a"},
        "data": {"0": [first, cut_off], "1": [student]},
    }
    (tmp_path / "D_a.json").write_text(json.dumps(value, indent=4))
    found = import_file(tmp_path / "D_a.json", PROBLEMS)
    assert (found.format, found.rows) == ("Fine-tune-CoT, chains", 3)
    assert [(a.id, a.answer, a.steps) for a in found.annotations] == [
        ("a/clips", "72", CHAIN_STEPS),
        ("a/ice", "yes", (Step(None, "It is frozen."),)),
    ]
    (rejected,) = found.rejected
    assert (rejected.reason, rejected.source["sample"]) == ("truncated", 1)
    assert rejected.source["model"] == "text-davinci-002"


def test_distilling_step_by_step(tmp_path):
    """Texts in parts, without questions; they run on into the prompt's next example."""
    questions = [CLIPS.replace(" How", "\nHow"), "Unknown?", ICE]
    (tmp_path / "palm").mkdir()
    (tmp_path / "svamp_train.json").write_text(
        "".join(json.dumps({"input": q, "label": "( 48.0 + 24.0 )"}) + "\n" for q in questions)
    )
    write(tmp_path / "palm/train_CoT_0.json", [f"{CHAIN}. The answer is (48 + 24).\n\nQ: What?\nA"])
    texts = ["So. The answer is (7).", "It is frozen. The answer is (yes).\n\nQ"]
    path = write(tmp_path / "palm/train_CoT_1.json", texts)
    found = import_file(tmp_path / "palm/train_CoT_0.json", PROBLEMS)
    assert found.format == "Distilling step-by-step, chains"
    (annotation,) = found.annotations
    assert (annotation.id, annotation.answer) == ("a/clips", "48 + 24")
    assert [step.solution for step in annotation.steps] == [
        *CHAIN.splitlines()[:1],
        "48+24 = <<48+24=72>>72.",
    ]
    found = import_file(path, PROBLEMS)
    assert [(a.id, a.answer) for a in found.annotations] == [("a/ice", "yes")]
    assert [(r.reason, r.question) for r in found.rejected] == [("unknown problem", "Unknown?")]
    write(path, [*texts, "One more."])
    with pytest.raises(UserError, match=r"train_CoT_1.json: 1 \+ 3 texts for 3 questions"):
        import_file(path, PROBLEMS)
    (tmp_path / "svamp_train.json").unlink()
    with pytest.raises(UserError, match=r"no \*_train.json beside it"):
        import_file(path, PROBLEMS)


def test_what_is_rejected(tmp_path):
    def row(question, output, **more):
        return {"instruction": question, "output": output, **more}

    rows = [
        row(CLIPS, f"{CHAIN}\n#### 72"),
        row(CLIPS, CHAIN, finish_reason="length"),
        row(CLIPS, "", finish_reason="content_filter"),
        row(CLIPS, CHAIN),
        row(CLIPS, "#### 72"),
        row("How many apples?", f"{CHAIN}\n#### 72", model="a-model"),
        row(CLIPS, None),
        {"instruction": CLIPS},
        row(CLIPS, f"{CHAIN}\n#### 71", finish_reason="stop"),
    ]
    found = import_file(write(tmp_path / "rows.json", rows), PROBLEMS)
    assert found.rows == 9
    assert [(a.answer, a.source["sample"]) for a in found.annotations] == [("72", 0), ("71", 5)]
    assert [(r.id, r.reason, r.source.get("sample")) for r in found.rejected] == [
        ("a/clips", "truncated", 1),
        ("a/clips", "content filter", 2),
        ("a/clips", "no answer", 3),
        ("a/clips", "no steps", 4),
        ("", "unknown problem", None),
        ("", "unreadable row", None),
        ("", "unreadable row", None),
    ]
    assert [r.detail.partition(": ")[0] for r in found.rejected] == [
        f"rows.json row {index}" for index in range(1, 8)
    ]
    assert found.rejected[2].text == CHAIN and found.rejected[2].question == CLIPS
    assert found.rejected[4].source["model"] == "a-model"
    assert "field 'output' is missing" in found.rejected[6].detail
    assert all("\n" not in r.detail for r in found.rejected)


def test_samples_of_one_row(tmp_path):
    row = CHAIN_ROWS["open-r1, chains"] | {
        "generations": [f"{CHAIN}\n#### 72", CHAIN, None, f"{CHAIN}\n#### 71"],
        "finish_reasons": ["stop", "length", None, "stop"],
    }
    found = import_file(write(tmp_path / "rows.jsonl", [row, {**row, "problem": ICE}]), PROBLEMS)
    assert found.rows == 8
    samples = [(a.id, a.source["sample"]) for a in found.annotations]
    assert samples == [("a/clips", 0), ("a/clips", 3), ("a/ice", 0), ("a/ice", 3)]
    assert [r.reason for r in found.rejected] == ["truncated", "not finished"] * 2


@pytest.mark.parametrize("answer", ["-", "?", "!=", "😀", "a" * 250])
def test_own_annotations_keep_an_answer_as_it_is(tmp_path, answer):
    problem = Problem("ice", "Which sign?", answer, "train")
    row = {"id": "ice", "answer": f" {answer}", "steps": [{"solution": "One looks."}]}
    found = import_file(write(tmp_path / "rows.jsonl", [row]), [problem])
    assert [(each.id, each.answer) for each in found.annotations] == [("ice", answer)]
    kept = summarise(found.annotations, [Rejected("", "unknown problem", "", "Why?")])
    assert kept["tasks"] == {
        "(ids without a task)": {"kept": 1},
        "(no problem)": {"unknown problem": 1},
    }


def test_mentor_kd_says_which_chains_are_wrong(tmp_path):
    row = CHAIN_ROWS["Mentor-KD, chains"]
    rows = [
        row | {"initial_correct": False},  # `answer` is the known one, not the chain's
        row | {"initial_correct": False, "completion": "71"},
    ]
    found = import_file(write(tmp_path / "rows.json", rows), PROBLEMS)
    assert [r.reason for r in found.rejected] == ["no answer"]
    assert [a.answer for a in found.annotations] == ["71"]


def test_the_last_exchange_of_a_conversation_counts(tmp_path):
    other = [{"role": "user", "content": ICE}, {"role": "assistant", "content": "#### no"}]
    parts = [{"type": "text", "text": PAIRS[:20]}, {"type": "text", "text": PAIRS[20:]}]
    rows = [
        {"messages": [*other, *MESSAGES[1:2], {"role": "assistant", "content": parts}]},
        {"messages": [*MESSAGES, {"role": "user", "content": ICE}]},
    ]
    found = import_file(write(tmp_path / "rows.jsonl", rows), PROBLEMS)
    assert [a.steps for a in found.annotations] == [PAIR_STEPS]
    assert [r.reason for r in found.rejected] == ["unreadable row"]
    assert found.rejected[0].detail == "rows.jsonl:2: no message of assistant below one of user"


@pytest.mark.parametrize("between", [None, "Go on."])
def test_messages_that_ask_and_answer_in_turn_are_pairs(tmp_path, between):
    said = ["How many in June?", "48/2 = 24", "**How many in all?**", "48+24 = 72\n#### 72"]
    nudge = [] if between is None else [{"from": "human", "value": between}]
    turns = [[{"from": "gpt", "value": text}, *nudge] for text in said]
    asked = {"from": "human", "value": CLIPS}
    rows = [{"conversations": [asked, *(message for turn in turns for message in turn)]}]
    # A chain beside them is read as one.
    rows += [CHAIN_ROWS["ShareGPT, chains"]] * 2
    found = import_file(write(tmp_path / "f.jsonl", rows), PROBLEMS)
    assert [each.steps for each in found.annotations] == [PAIR_STEPS, CHAIN_STEPS, CHAIN_STEPS]
    assert {each.answer for each in found.annotations} == {"72"} and not found.rejected


@pytest.mark.parametrize(
    ("said", "steps", "answer"),
    [
        (["How many in June?", "24", "How many in all?", "24+48", "The answer is 72."],
         (("How many in June?", "24"), ("How many in all?", "24+48")), "72"),
        (["Q1: How many in June?", "A1: 24", "Q2: How many in all?", "A2: 72"],
         (("How many in June?", "24"), ("How many in all?", "72")), "72"),
        (["<think>Hm?</think>How many in June?", "<think>Is it?</think>48/2 = 24."],
         (("How many in June?", "48/2 = 24."),), None),
        (["How many in June?", "And in all?"], None, None),
        (["24 in June.", "72 in all.", "#### 72"], None, None),
        (["24 in June."], None, None),
        (["How many in June?"], None, None),
        (["How many in June?", "24", "How many in all?"], None, None),
        ([], None, None),
    ],
)  # fmt: skip
def test_turns_by_hand(said, steps, answer):
    reply = parse_turns(said)
    if steps is None:
        assert reply is None
    else:
        assert reply == Reply(tuple(Step(*pair) for pair in steps), answer)


def test_messages_that_ask_without_an_answer_are_rejected(tmp_path):
    messages = [
        {"role": "user", "content": CLIPS},
        {"role": "assistant", "content": "How many in June?"},
        {"role": "assistant", "content": "48/2 = 24 of them."},
    ]
    found = import_file(write(tmp_path / "f.jsonl", [{"messages": messages}]), PROBLEMS)
    assert [each.reason for each in found.rejected] == ["no answer"]


def test_the_file_decides_between_pairs_and_chains(tmp_path):
    chain, pairs = CHAIN_ROWS["GSM8K, chains"], PAIR_ROWS["GSM8K, subquestions and solutions"]
    found = import_file(write(tmp_path / "rows.jsonl", [chain, chain, pairs]), PROBLEMS)
    assert found.format == "GSM8K, chains"
    assert found.annotations[2].steps[0] == Step(None, "How many in June? ** 48/2 = 24")
    found = import_file(write(tmp_path / "rows.jsonl", [chain, pairs, pairs]), PROBLEMS)
    assert found.format == "GSM8K, subquestions and solutions"
    assert [r.reason for r in found.rejected] == ["no steps"]


@pytest.mark.parametrize(
    "prompt, identifier",
    {
        CLIPS: "a/clips",
        "  ANN sold 48 clips in May and half as many in June -\nhow many, in all ?\n": "a/clips",
        f"Question: {CLIPS}\nAnswer:": "a/clips",
        f"Q: {ICE}\nA: yes\n\nQ: {CLIPS}\nA: Let's think step by step.": "a/clips",
        f"{CLIPS} ###": "a/clips",
        f"Below is a task.\n\n### Instruction:\n{CLIPS}\n\n### Response:": "a/clips",
        f"Reason step by step, and put your final answer within \\boxed{{}}. {CLIPS}": "a/clips",
        f"{CLIPS}\nPlease reason step by step, and put your final answer within \\boxed{{}}.": (
            "a/clips"
        ),
        f"Solve the problem. Problem: {CLIPS}\nSubquestions and solutions:": "a/clips",
        ICE.replace("ice", "ｉｃｅ"): "a/ice",  # noqa: RUF001 (letters of full width)
        f"I ask you: {ICE}": None,
        f"{ICE} And steam?": None,
        CLIPS.replace("48", "49"): None,
        CLIPS.replace("48", "4.8"): None,
        "": None,
        "?": None,
        "A:": None,
    }.items(),
)
def test_matching(prompt, identifier):
    found = Questions(PROBLEMS).find("", prompt)
    assert (found and found.id) == identifier


def test_matching_by_id():
    questions = Questions([*PROBLEMS, Problem("a/cold", f"Snow is white.\n{ICE}", "yes", "train")])
    ids = {
        ("a/ice", ""): "a/ice",
        ("a/ice", "asked in other words"): "a/ice",
        ("a/ice", CLIPS): "a/clips",  # what was asked counts more
        ("7", ICE): "a/ice",
        ("7", ""): None,
        ("", f"Examples.\nSnow is white.\n{ICE}"): "a/cold",  # the longest question
        ("", f"Snow is black.\n{ICE}"): "a/ice",
    }
    for (identifier, prompt), expected in ids.items():
        found = questions.find(identifier, prompt)
        assert (found and found.id) == expected


def test_questions_that_only_a_sign_tells_apart():
    asked = [
        "2 + 2?",
        "2 * 2?",
        "Round 1.5",
        "Round -1.5",
        "+ + + 1 7 3 3",
        "+ 1 + 7 + 3 3",
        "🍎+🍎?",
    ]
    problems = [Problem(f"s/{n}", question, "4", "train") for n, question in enumerate(asked)]
    questions = Questions([*problems, Problem("s/again", asked[0], "4", "train")])
    for problem in problems:
        assert questions.find(problem.id, problem.question) == problem
        assert questions.find("", f"Q: {problem.question.upper()} \nA:") == problem
    assert questions.find("s/again", asked[0]).id == "s/again"
    # Without the sign it could be either; then the id decides, or nothing does.
    assert questions.find("", "2 2") is None
    assert questions.find("s/1", "2 2").id == "s/1"


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("none.json", None, "none.json: no such file"),
        ("none.jsonl", None, "none.jsonl: no such file"),
        ("a.json", b"\xff\xfe", "neither JSON nor JSON Lines"),
        ("a.jsonl", b"\xff\xfe", "not UTF-8"),
        ("a.json", b'[{"a": 1},', "a.json:1: not JSON"),
        ("a.json", b"[" * 100_000, "JSON that cannot be read"),
        ("a.json", b"[]", "no rows"),
        ("a.jsonl", b"\n", "no rows"),
        ("a.json", b"5", "no rows"),
        ("a.json", b'{"rows": []}', "no rows"),
        ("a.json", b'[{"a": 1}, 5]', "a.json row 1: an object is expected, not 5"),
        ("a.json", b'["text"]', "only Distilling step-by-step has such files"),
        ("a.json", b'[{"text": 1, "label": 2}]', "has the keys text, label: recognised are"),
        ("a.jsonl", b'{"text": 1}', r"GSM8K \(question, answer\)"),
        ("a.jsonl", b"{}", "has the keys none"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        import_file(tmp_path / name, PROBLEMS)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        import_file(tmp_path, PROBLEMS)


def test_half_a_surrogate_pair_does_not_stop_the_writing(tmp_path):
    row = json.dumps({"question": CLIPS, "answer": f"\ud800 {CHAIN}\n#### 72\ud800"})
    (tmp_path / "rows.jsonl").write_text(row)
    (annotation,) = import_file(tmp_path / "rows.jsonl", PROBLEMS).annotations
    assert annotation.steps[0].solution.encode() == b"? 48/2 = <<48/2=24>>24"


def test_every_format_has_a_row_here():
    assert {form.name for form in FORMATS} == {
        *(name.partition(",")[0] for name, _, _ in ROWS),
        "annotations of distill_jax",
        "predictions of distill_jax",  # test_predictions_as_annotations.py
    }


DATA = os.environ.get("DISTILL_JAX_DATA", "")
TEACHER = f"{DATA}/teacher"
CHAINS, INTERLEAVED = "alpaca, chains", "alpaca, subquestions and solutions"
STEP_BY_STEP = "Distilling step-by-step, chains"

# Of every file: format, samples, why some are rejected, annotations with the right answer.
REAL = {
    "eitnlp_distilling_cot/gsm8k/gsm8k_gemini_level2_ranked.json": (
        *(CHAINS, 7433, {"unknown problem": 1, "no answer": 1, "no steps": 1}, 7071),
    ),
    "eitnlp_distilling_cot/gsm8k/gsm8k_llama_level1_ranked.json": (
        *(CHAINS, 7442, {"unknown problem": 1, "no answer": 5}, 7405),
    ),
    "eitnlp_distilling_cot/gsm8k/gsm8k_llama_level2_ranked.json": (
        *(CHAINS, 7442, {"unknown problem": 1, "no answer": 9}, 7413),
    ),
    "eitnlp_distilling_cot/strategyqa/stqa_gemini_level2_ranked.json": (
        *(CHAINS, 2000, {"no answer": 1}, 1970),
    ),
    "eitnlp_distilling_cot/strategyqa/stqa_llama_level2_ranked.json": (
        *(CHAINS, 1996, {"no answer": 2}, 1976),
    ),
    "eitnlp_distilling_cot/strategyqa/strategyQA_chatgpt_level_1_ranked.json": (
        *(CHAINS, 1998, {"no steps": 17}, 1902),
    ),
    "eitnlp_distilling_cot/strategyqa/strategyQA_chatgpt_level_3_ranked.json": (
        *(CHAINS, 1999, {"no answer": 1, "no steps": 7}, 1916),
    ),
    "eitnlp_distilling_cot/svamp/0_SVAMP_chatgpt_level3BSM.json": (
        *(INTERLEAVED, 699, {"no steps": 6}, 677),
    ),
    "eitnlp_distilling_cot/svamp/SVAMP_ChatGPT_level1_ranked.json": (
        *(CHAINS, 700, {"no steps": 3}, 688),
    ),
    "eitnlp_distilling_cot/svamp/SVAMP_ChatGPT_level3_ranked.json": (
        *(CHAINS, 699, {"no steps": 1}, 687),
    ),
    "eitnlp_distilling_cot/svamp/SVAMP_ChatGPT_level5_ranked.json": (
        *(CHAINS, 699, {"no steps": 5}, 687),
    ),
    "eitnlp_distilling_cot/svamp/SVAMP_gemini_level2_ranked.json": (CHAINS, 700, {}, 694),
    "eitnlp_distilling_cot/svamp/SVAMP_llama_level2_ranked.json": (CHAINS, 700, {}, 696),
    "mentor_kd_gpt35/svamp_3_train.json": ("Mentor-KD, chains", 1953, {}, 1953),
    "dss_palm540b_svamp/train_CoT_0.json": (STEP_BY_STEP, 500, {"no answer": 6}, 375),
    "dss_palm540b_svamp/train_CoT_1.json": (STEP_BY_STEP, 300, {"no answer": 5}, 219),
    "dss_palm540b_svamp/test_CoT_0.json": (STEP_BY_STEP, 200, {"no answer": 2}, 155),
}


@pytest.fixture(scope="module")
def problems():
    """All problems of the three tasks, so that a file cannot say what it is about."""
    if not DATA:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds teacher/")
    found = svamp.load("test", directory=f"{DATA}/svamp", protocol="mawps_asdiv")  # all 1,000
    found += gsm8k.load("train", directory=f"{DATA}/gsm8k")
    for split in strategyqa.SPLITS:
        found += strategyqa.load(split, directory=f"{DATA}/strategyqa")
    return found


@pytest.mark.parametrize("name", REAL)
def test_real_files(name, problems):
    form, rows, reasons, right = REAL[name]
    found = import_file(f"{TEACHER}/{name}", problems)
    assert (found.format, found.rows) == (form, rows)
    assert dict(collections.Counter(each.reason for each in found.rejected)) == reasons
    assert len(found.annotations) == rows - sum(reasons.values())
    known = {problem.id: problem.answer for problem in problems}
    tasks = {"strategyqa": strategyqa, "gsm8k": gsm8k, "svamp": svamp}
    scores = [
        tasks[a.id.partition("/")[0]].grade(f"#### {a.answer}", known[a.id]).scores["normalised"]
        for a in found.annotations
    ]
    assert sum(scores) == right
    asked = [step.subquestion is not None for a in found.annotations for step in a.steps]
    assert all(asked) if form == INTERLEAVED else not any(asked)


def test_gsm8k_files_are_recognised(problems):
    found = import_file(f"{DATA}/gsm8k/train.jsonl", problems)
    assert (found.format, len(found.annotations), found.rejected) == ("GSM8K, chains", 7473, [])
    found = import_file(f"{DATA}/gsm8k/train_socratic.jsonl", problems)
    assert (found.format, found.rejected) == ("GSM8K, subquestions and solutions", [])
    gold = gsm8k.load_annotations("train", directory=f"{DATA}/gsm8k")
    assert [(a.id, a.steps) for a in found.annotations] == [(a.id, a.steps) for a in gold]


THOUGHT = "She halves 48.\nThen she adds."
THOUGHT_STEPS = (Step(None, "She halves 48."), Step(None, "Then she adds."))


def answering(message):
    return {"messages": [{"role": "user", "content": CLIPS}, {"role": "assistant", **message}]}


SAID = f"{CHAIN}\n#### 72"
# Rows of a reasoning model: thoughts in the text or beside it.
THINKING_ROWS = {
    "harmony": answering(
        {
            "content": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
            f"<|channel|>final<|message|>{SAID}<|return|>"
        }
    ),
    "reasoning_content": answering({"content": SAID, "reasoning_content": THOUGHT}),
    "reasoning": answering({"content": SAID, "reasoning": THOUGHT}),
    "thinking": answering({"content": SAID, "thinking": THOUGHT}),
    "parts": answering(
        {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": SAID}]}
    ),
    "ShareGPT": {
        "conversations": [
            {"from": "human", "value": CLIPS},
            {"from": "gpt", "value": f"[THINK]{THOUGHT}[/THINK]{SAID}"},
        ]
    },
    "row": {"question": CLIPS, "answer": SAID, "reasoning": THOUGHT},
    "open-r1": {"problem": CLIPS, "generations": [f"<think>{THOUGHT}</think>{SAID}"]},
    "completion": {"prompt": CLIPS, "completion": f"◁think▷{THOUGHT}◁/think▷{SAID}"},
    "output": {"instruction": CLIPS, "output": f"<|channel>thought\n{THOUGHT}<channel|>{SAID}"},
}


@pytest.mark.parametrize("row", THINKING_ROWS.values(), ids=THINKING_ROWS)
def test_thoughts_in_files_are_dropped_or_the_chain(tmp_path, row):
    path = write(tmp_path / "rows.jsonl", [row])
    (dropped,) = import_file(path, PROBLEMS).annotations
    assert (dropped.steps, dropped.answer) == (CHAIN_STEPS, "72")
    found = import_file(path, PROBLEMS, reasoning="steps")
    (chain,) = found.annotations
    assert (chain.steps, chain.answer) == (THOUGHT_STEPS, "72")
    assert found.format.endswith("thoughts as steps")


def test_thoughts_that_are_cut_off_or_steps_of_a_file_are_not_learned(tmp_path):
    rows = [{"question": CLIPS, "answer": f"<thought>{SAID}"}]
    found = import_file(write(tmp_path / "rows.jsonl", rows), PROBLEMS, reasoning="steps")
    assert [r.reason for r in found.rejected] == ["unfinished thought"]
    steps = [{"subquestion": None, "solution": f"<reasoning>{THOUGHT}</reasoning>"}]
    rows = [{"id": "a/clips", "answer": "72", "steps": steps}]
    found = import_file(write(tmp_path / "own.jsonl", rows), PROBLEMS)
    assert [r.reason for r in found.rejected] == ["reasoning in steps"]


def test_how_samples_of_a_file_ended(tmp_path):
    def row(**fields):
        return {"question": CLIPS, "answer": SAID, **fields}

    said = [row(finish_reason="eos"), row(stop_reason="end_turn"), row()]
    cut = [row(finish_reason="MAX_TOKENS"), row(stop_reason="max_tokens"), row(finish_reason="x")]
    null = row(finish_reason=None)
    found = import_file(write(tmp_path / "a.jsonl", [*said, *cut, null]), PROBLEMS)
    assert [a.source["sample"] for a in found.annotations] == [0, 1, 2]
    assert [r.reason for r in found.rejected] == ["truncated"] * 2 + ["not finished"] * 2
    # A column of nulls says nothing of any row.
    assert len(import_file(write(tmp_path / "b.jsonl", [null, null]), PROBLEMS).annotations) == 2
