"""STaR and rejection sampling on the built-in task: what own right answers are worth.

2,000 problems have gold chains, 5,000 are asked. A student that is trained on the gold ones answers
all of them, and what is right is learned beside the gold chains by a new student: greedy answers,
twice over (STaR, https://arxiv.org/abs/2203.14465, without rationalisation); or four samples of
each, of which those with other equations count (rejection sampling fine-tuning,
https://arxiv.org/abs/2308.01825). All arms end in a run from random parameters with one budget.
Calibrate once: FIRST should solve 50 to 80 % of dev.

Usage: python -m distill_jax.sweep --config configs/sweeps/self_training.py \\
           --workdir runs/self_training
"""

from distill_jax.sweep.definition import Ask, Run, Sweep

FIRST = {"data.train_problems": 2_000, "train.token_budget": 1_500_000}
GOLD = "{0}/annotations.jsonl"
ON_TRAINING_PROBLEMS = {"evaluation.split": "train", "evaluation.problems": 5_000}
SAMPLES = {"sampling.samples": 4, "sampling.temperature": 0.7}
LAST = {"tokenizer.name": "{0}/tokenizer", "train.token_budget": 3_000_000}
# What all sweeps of self-training have in common.
FEW = {
    "scheme": "chain",
    "task_options.train_problems": 10_000,
    "data.dev_problems": 0,
    "train.eval_every": 0,
    "data.packing": True,
    "train.batch_size": 8,
    "evaluation.problems": 1_000,
}


def get_sweep():
    """Three arms, two seeds."""
    first = Run(FIRST)
    greedy = Ask(ON_TRAINING_PROBLEMS)
    return Sweep(
        config="configs/demo.py",
        arms={
            "gold": (first, Run(LAST | {"data.annotations": GOLD})),
            "star": (
                first,
                greedy,
                Run(LAST | {"data.annotations": (GOLD, "{1}/predictions.jsonl")}),
                greedy,
                Run(LAST | {"data.annotations": (GOLD, "{3}/predictions.jsonl")}),
            ),
            "rejection_sampling": (
                first,
                Ask(ON_TRAINING_PROBLEMS | SAMPLES),
                Run(
                    LAST
                    | {
                        "data.annotations": (GOLD, "{1}/predictions.jsonl"),
                        "harvest.keep": "different",
                    }
                ),
            ),
        },
        seeds=(0, 1),
        overrides=FEW,
        baseline="gold",
    )
