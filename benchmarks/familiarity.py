"""Do the students' own probabilities separate foreign questions from the task's? Prints JSON.

    python -m benchmarks.familiarity --workdir runs/demo

AUC: the chance that a foreign question (foreign_questions.txt) has a dialogue with a lower mean
log-probability than a test question has; told: the share of questions for which people are told
that they may be unlike what was learned. Test questions are those that the run's evaluation did not
ask. Harder problems of the same task are between the two.
"""

import argparse
import collections
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import distill_jax
from distill_jax.evaluation.calibration import auroc
from distill_jax.evaluation.familiarity import mean_log_probability
from distill_jax.run.solution import Solution
from distill_jax.tasks import arithmetic

FOREIGN = pathlib.Path(__file__).with_name("foreign_questions.txt")


def foreign_questions() -> list[tuple[str, str]]:
    """(kind, question) of every line."""
    lines = FOREIGN.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(kind, question) for kind, question in pairs]


def measure(familiar: Sequence[Solution], others: Sequence[Solution]) -> dict[str, Any]:
    """AUC of `others` against `familiar`, and what people are told of `others`."""
    means = [mean_log_probability(solution.turns) or 0.0 for solution in (*familiar, *others)]
    area = auroc(means, [True] * len(familiar) + [False] * len(others))
    told = sum(bool(solution.unfamiliar) for solution in others) / len(others)
    return {"questions": len(others), "auc": area, "told": told}


def main() -> None:
    """Ask all of them, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True, help="a run of configs/demo.py")
    parser.add_argument("--questions", type=int, default=300, help="of the test split, at most")
    arguments = parser.parse_args()

    students = distill_jax.load(arguments.workdir)
    known = distill_jax.read_run(arguments.workdir).report["problems"]
    split = slice(known, known + arguments.questions)
    test = students.solve([p.question for p in arithmetic.load("test")[split]])
    foreign = foreign_questions()
    solutions = students.solve([question for _, question in foreign])
    kinds = collections.defaultdict(list)
    for (kind, _), solution in zip(foreign, solutions, strict=True):
        kinds[kind].append(solution)
    told = sum(bool(solution.unfamiliar) for solution in test) / len(test)
    usual = {"questions": len(test), "told": told}
    result: dict[str, Any] = {
        "test": usual,
        "foreign": measure(test, solutions),
        "by_kind": {kind: measure(test, some) for kind, some in kinds.items()},
    }
    for difficulty in ("medium", "hard"):
        harder = arithmetic.load("test", difficulty=difficulty)[: arguments.questions]
        result[difficulty] = measure(test, students.solve([p.question for p in harder]))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
