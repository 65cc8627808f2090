"""The tasks of Fine-tune-CoT with SmolLM2-135M: which need steps, and which need questions?

An arm is called TASK-METHOD, or TASK-PROTOCOL-METHOD for the splits that are not the authors'. Arms
made_TASK-METHOD ask the students of TASK 2,000 fresh problems; no student is trained for them. All
arms are very many: choose some with --arms, tasks and methods in any combination. The report is one
over tasks, with the published accuracies beside ours, and a comparison for each task.

DIR holds the files of the chosen tasks: those of docs/tasks.md, and mawps-asdiv-a_svamp/train.csv
for the equations of the word problems, which are one student's.

Usage: python -m distill_jax.sweep --config configs/sweeps/tasks12.py --workdir runs/tasks12 \\
           --config.task_options.directory=DIR --arms='coin_flip-*,made_coins-*,word_problems-*'
"""

from collections.abc import Mapping
from typing import Any

from distill_jax.sweep.definition import Arm, Ask, Run, Sweep

METHODS: Mapping[str, Mapping[str, Any]] = {
    "answer_only": {"scheme": "answer_only"},
    "chain": {"scheme": "chain"},
    # One student asks and solves, or two do.
    "unified": {"scheme": "socratic", "students.decomposer": "solver"},
    "iterative": {"scheme": "socratic"},
}
# Rule-made tasks, and the fresh problems like theirs.
FRESH = {
    "coin_flip": "made_coins",
    "last_letter_concatenation": "made_letters",
    "date_understanding": "made_dates",
    "tracking_shuffled_objects": "made_objects",
}
GROUPED = ("date_understanding", "tracking_shuffled_objects")
_NO_TEMPLATES = {"data.templated": False}  # questions that differ in numbers alone are leaks


def task(name: str) -> dict[str, Any]:
    """The change of a config that chooses a task of this package."""
    return {"task": f"distill_jax.tasks.{name}"}


def get_sweep():
    """All arms, two seeds."""
    arms: dict[str, Arm] = {}
    for name in FRESH:
        for method, changes in METHODS.items():
            arms[f"{name}-{method}"] = task(name) | changes
    for name in GROUPED:
        for method, changes in METHODS.items():
            grouped = {"task_options.protocol": "grouped"}
            arms[f"{name}-grouped-{method}"] = task(name) | changes | grouped
    for name, fresh in FRESH.items():
        for method, changes in METHODS.items():
            ask = Ask({"evaluation.task": f"distill_jax.tasks.{fresh}"})
            arms[f"{fresh}-{method}"] = (Run(task(name) | changes), ask)
    for name in ("word_problems", "svamp"):  # no subquestions
        for method in ("answer_only", "chain"):
            arms[f"{name}-{method}"] = task(name) | METHODS[method] | _NO_TEMPLATES
    arms["commonsense_qa-answer_only"] = (
        task("commonsense_qa") | METHODS["answer_only"] | _NO_TEMPLATES | {"train.epochs": 1}
    )
    ho = {"task_options.protocol": "ho"}
    facts = task("strategyqa") | ho | _NO_TEMPLATES
    for method, changes in METHODS.items():
        long = {"data.seq_len": 640} if METHODS[method]["scheme"] != "answer_only" else {}
        arms[f"gsm8k-{method}"] = task("gsm8k") | changes | long | _NO_TEMPLATES
        steps = {"task_options.gold": "decomposition"} if changes["scheme"] == "socratic" else {}
        arms[f"strategyqa-{method}"] = facts | changes | steps
    return Sweep(config="configs/tasks12.py", arms=arms, seeds=(0, 1))
