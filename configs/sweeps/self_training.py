"""What own right answers are worth, and which share of a teacher's gain needs no teacher.

Gold chains exist for 1,000 of 10,000 problems of the built-in task. `gold` learns them, at three
learning rates. Then a student answers 5,000 problems, and what is right is learned beside the gold
chains by a new student: greedy answers, twice over (`star`, https://arxiv.org/abs/2203.14465,
without rationalisation); or four samples of each, of which those with other equations count
(`rejection_sampling`, https://arxiv.org/abs/2308.01825). `teacher` learns chains for all 10,000, as
if a teacher had written them, `answer_only` their bare answers. The share of distillation's gain
that needs no teacher (the question of https://arxiv.org/abs/2107.14762, on text) is
(rejection_sampling - gold) / (teacher - gold), with the best learning rate of gold.

All arms end in a run from random parameters with one budget. self_training_2000.py has the same
with twice as many gold chains, from which these students learn nearly all there is to learn.

Usage: python -m distill_jax.sweep --config configs/sweeps/self_training.py \\
           --workdir runs/self_training
"""

from collections.abc import Mapping
from typing import Any

from distill_jax.sweep.definition import Ask, Run, Sweep

FIRST = {"data.train_problems": 1_000, "train.token_budget": 3_000_000}
GOLD = "{0}/annotations.jsonl"
ON_TRAINING_PROBLEMS = {"evaluation.split": "train", "evaluation.problems": 5_000}
SAMPLES = {"sampling.samples": 4, "sampling.temperature": 0.7}
LAST = {"tokenizer.name": "{0}/tokenizer", "train.token_budget": 4_000_000}
# What all sweeps of self-training have in common.
FEW = {
    "scheme": "chain",
    "model.solver.layers": 2,
    "model.solver.width": 64,
    "task_options.train_problems": 10_000,
    "data.dev_problems": 0,
    "train.eval_every": 0,
    "data.packing": True,
    "train.batch_size": 8,
    "evaluation.problems": 1_000,
}


def get_sweep(first: Mapping[str, Any] = FIRST) -> Sweep:
    """Seven arms, two seeds; `first`: what the student that is asked differs in."""
    begun = Run(first)
    greedy, samples = Ask(ON_TRAINING_PROBLEMS), Ask(ON_TRAINING_PROBLEMS | SAMPLES)
    gold = LAST | {"data.annotations": GOLD}
    own = LAST | {"data.annotations": (GOLD, "{1}/predictions.jsonl")}
    again = LAST | {"data.annotations": (GOLD, "{3}/predictions.jsonl")}
    different = own | {"harvest.keep": "different"}

    def rate(value: float) -> dict[str, float]:
        return {"optimizer.solver.learning_rate": value}

    return Sweep(
        config="configs/demo.py",
        arms={
            "answer_only": (begun, Run(LAST | {"scheme": "answer_only"})),
            "gold_rate=0.0003": (begun, Run(gold | rate(3e-4))),
            "gold": (begun, Run(gold)),
            "gold_rate=0.003": (begun, Run(gold | rate(3e-3))),
            "star": (begun, greedy, Run(own), greedy, Run(again)),
            "rejection_sampling": (begun, samples, Run(different)),
            "teacher": (begun, Run(LAST)),
        },
        seeds=(0, 1),
        overrides=FEW,
        baseline="gold",
    )
