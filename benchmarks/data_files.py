"""Problems of a given length as a JSONL task, made from a seed: what benchmarks/data.py reads."""

import json
import pathlib
import random
import re
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEST_PROBLEMS = 1000
STEPS = 3


def write_task(directory: pathlib.Path, problems: int, words: int) -> None:
    """train.jsonl of so many problems and test.jsonl of 1,000.

    A problem has about `words` words, half in its question and half in three steps, whose
    equations are true; the first of them has a calculator mark. The words are those of the pages in
    docs/, as often as they occur there. One training question in 20 shares ten words with a
    question of the test, as families of word problems do; one in 1,000 is a question of the test.
    """
    source = _words()
    rng = random.Random(0)
    test = [_problem(rng, source, words) for _ in range(TEST_PROBLEMS)]
    _write(directory / "test.jsonl", test)
    train = []
    for number in range(problems):
        row = _problem(rng, source, words)
        if number % 1000 == 0:
            row["question"] = rng.choice(test)["question"]
        elif number % 20 == 0:
            shared = rng.choice(test)["question"].split()[5:15]
            row["question"] = " ".join([*shared, row["question"]])
        train.append(row)
    _write(directory / "train.jsonl", train)


def _words() -> list[str]:
    pages = sorted((ROOT / "docs").glob("*.md"))
    text = " ".join(page.read_text(encoding="utf-8") for page in pages)
    return re.findall(r"(?<= )[A-Za-z]+[.,]?(?= )", text)


def _problem(rng: random.Random, source: list[str], words: int) -> dict[str, Any]:
    asked = rng.choices(source, k=words // 2)
    value = rng.randint(2, 99)
    asked[rng.randrange(len(asked))] = str(value)
    steps = []
    for number in range(STEPS):
        more = rng.randint(2, 99)
        asked[rng.randrange(len(asked))] = str(more)
        said = rng.choices(source, k=words // 2 // STEPS - 5)
        half = len(said) // 2
        mark = f"<<{value}+{more}={value + more}>>" if number == 0 else ""
        solution = f"{' '.join(said[half:])} {value} + {more} = {mark}{value + more}"
        steps.append({"subquestion": f"{' '.join(said[:half])}?", "solution": solution})
        value += more
    return {"question": f"{' '.join(asked)}?", "answer": str(value), "steps": steps}


def _write(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
