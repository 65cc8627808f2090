"""How often the grader for LaTeX agrees with Math-Verify's own tests. Prints JSON.

    pip download --no-deps --no-binary :all: math-verify==0.9.0 && tar xzf math_verify-0.9.0.tar.gz
    python benchmarks/math_answers.py math_verify-0.9.0 --output math_answers.json

Rows are the parametrized (gold, pred, expected) of its tests, read as literals, not run.
"""

import argparse
import ast
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from distill_jax.tasks.math_answers import grade_math


def rows(directory: pathlib.Path) -> Iterator[tuple[str, str, bool]]:
    """(gold, pred, expected) of every test."""
    for path in sorted(directory.glob("tests/test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "parametrize":
                continue
            names = [name.strip() for name in str(_literal(node.args[0])).split(",")]
            if names[:2] != ["gold", "pred"] or not isinstance(node.args[1], ast.List):
                continue
            for element in node.args[1].elts:
                values = _literal(element)
                if values is not None and len(values) == len(names):
                    row = dict(zip(names, values, strict=True))
                    yield row["gold"], row["pred"], bool(row.get("expected", row.get("result")))


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def main() -> None:
    """Compare, and write the rows on which both differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sdist", type=pathlib.Path, help="the unpacked sources of Math-Verify")
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    differ, began, count = [], time.perf_counter(), 0
    for gold, prediction, expected in rows(arguments.sdist):
        count += 1
        # The answer is on one line after its mark.
        completion = "#### " + " ".join(prediction.split("\n"))
        if grade_math(completion, gold).scores["normalised"] != expected:
            differ.append({"gold": gold, "prediction": prediction, "expected": expected})
    seconds = round(time.perf_counter() - began, 1)
    result = {"rows": count, "agree": count - len(differ), "seconds": seconds, "differ": differ}
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
