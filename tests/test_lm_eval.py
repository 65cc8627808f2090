"""The strict and flexible scores against lm-evaluation-harness itself, on mangled solutions.

Skipped where lm-eval is not installed (extra [eval]). The outputs are GSM8K's gold solutions and
teachers' chains, cut, reordered and respelt as students do.
"""

import json
import os
import pathlib
import random

import pytest

from distill_jax.records import read_json_lines
from distill_jax.tasks.grading import grade_number

OUTPUTS = 2_000
TEACHERS = ("gsm8k_llama_level1", "gsm8k_llama_level2", "gsm8k_gemini_level2")


def dollars(text):
    return text.replace("#### ", "#### $")


def grouped(text):
    body, mark, answer = text.rpartition("#### ")
    return body + mark + (f"{int(answer):,}" if answer.lstrip("-").isdigit() else answer)


# Name -> what it makes of an output; `rng` decides where.
MANGLES = {
    "as it is": lambda text, rng: text,
    "cut": lambda text, rng: text[: rng.randrange(len(text) + 1)],
    "no marker": lambda text, rng: text.replace("#### ", ""),
    "marker without space": lambda text, rng: text.replace("#### ", "####"),
    "marker with two spaces": lambda text, rng: text.replace("#### ", "####  "),
    "marker, then a line": lambda text, rng: text.replace("#### ", "####\n"),
    "dollars": lambda text, rng: dollars(text),
    "grouped": lambda text, rng: grouped(text),
    "decimals": lambda text, rng: text + ".00",
    "full stop": lambda text, rng: text + ".",
    "two full stops": lambda text, rng: text + "..",
    "unit": lambda text, rng: text + rng.choice([" apples", "%", "km", " dollars.", " / 2"]),
    "sentence": lambda text, rng: f"{text}\nThat is {rng.randrange(100)} less than before.",
    "marked twice": lambda text, rng: f"{text}\n#### {rng.randrange(100)}",
    "marked first": lambda text, rng: f"#### {rng.randrange(100)}\n{text}",
    "negative": lambda text, rng: text.replace("#### ", "#### -"),
    "minus sign": lambda text, rng: text.replace("#### ", "#### \u2212"),
    "bold": lambda text, rng: text.replace("#### ", "#### **") + "**",
    "answer first": lambda text, rng: "\n".join(reversed(text.split("\n"))),
    "spaces": lambda text, rng: f"  {text} \n\n",
    "no digits": lambda text, rng: "".join("x" if c.isdigit() else c for c in text),
    "signs only": lambda text, rng: rng.choice(
        ["", "####", "#### ", "#### -", "$.", "#### ,", "-"]
    ),
    "one digit else": lambda text, rng: one_digit_else(text, rng),
    "shuffled words": lambda text, rng: " ".join(rng.sample(text.split(" "), text.count(" ") + 1)),
}


def one_digit_else(text, rng):
    places = [i for i, character in enumerate(text) if character in "0123456789"]
    if not places:
        return text
    place = rng.choice(places)
    return f"{text[:place]}{rng.randrange(10)}{text[place + 1 :]}"


def outputs():
    """[(mangle, output, right answer), ...], always the same ones."""
    root = pathlib.Path(os.environ["DISTILL_JAX_DATA"])
    rng = random.Random(0)
    sources = []
    for split in ("train", "test"):
        for _, row in read_json_lines(root / "gsm8k" / f"{split}.jsonl"):
            answer = row["answer"].rpartition("#### ")[2].replace(",", "")
            sources.append((row["answer"], answer))
    for teacher in TEACHERS:
        path = root / "teacher" / "eitnlp_distilling_cot" / "gsm8k" / f"{teacher}_ranked.json"
        for row in json.loads(path.read_text()):
            chain, _, answer = row["output"].rpartition("The answer is ")
            answer = answer.strip().rstrip(".").replace(",", "")
            sources += [(row["output"], answer), (f"{chain.strip()}\n#### {answer}", answer)]
    chosen = rng.sample(sources, OUTPUTS)
    names = list(MANGLES)
    return [
        (name := names[i % len(names)], MANGLES[name](text, rng), answer)
        for i, (text, answer) in enumerate(chosen)
    ]


def harness_scores(rows):
    """{"strict", "flexible"}: (extracted, score) of each row, by lm-eval's own filters and metric.

    Patterns and what the metric ignores are read from the gsm8k task that lm-eval ships.
    """
    pytest.importorskip("lm_eval", reason="lm-eval is in the extra [eval]")
    import lm_eval
    import yaml
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    task = pathlib.Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
    settings = yaml.safe_load(task.read_text())
    assert settings["metadata"]["version"] == 3.0
    (metric,) = settings["metric_list"]
    ignored = {key: metric[key] for key in ("regexes_to_ignore", "ignore_case")}
    found = {}
    for entry in settings["filter_list"]:
        regex = {k: v for k, v in entry["filter"][0].items() if k != "function"}
        responses = RegexFilter(**regex).apply([[text] for _, text, _ in rows], [{}] * len(rows))
        found[entry["name"].partition("-")[0]] = [
            (first, bool(exact_match_hf_evaluate([first], [answer], **ignored)["exact_match"]))
            for (first, *_), (_, _, answer) in zip(responses, rows, strict=True)
        ]
    return found


def disagreements(rows):
    """[(score, mangle, output, answer, extracted by lm-eval, lm-eval's score), ...]"""
    found = []
    for score, judged in harness_scores(rows).items():
        for (name, text, answer), (extracted, right) in zip(rows, judged, strict=True):
            if grade_number(text, answer).scores[score] != right:
                found.append((score, name, text, answer, extracted, right))
    return found


@pytest.fixture(scope="module")
def rows():
    if "DISTILL_JAX_DATA" not in os.environ:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds gsm8k/train.jsonl")
    return outputs()


def test_scores_agree(rows):
    judged = harness_scores(rows)
    for score in ("strict", "flexible"):
        right = sum(is_right for _, is_right in judged[score])
        assert OUTPUTS / 5 < right < OUTPUTS * 4 / 5  # both outcomes are tested
    assert disagreements(rows) == []


def test_what_is_extracted_agrees(rows):
    """With what lm-eval extracted as the right answer, ours says right wherever lm-eval does."""
    for score, judged in harness_scores(rows).items():
        taken = [
            (name, text, extracted)
            for (name, text, _), (extracted, _) in zip(rows, judged, strict=True)
            if extracted != "[invalid]"
        ]
        assert len(taken) > OUTPUTS / 3
        assert [d for d in disagreements(taken) if d[0] == score] == []
