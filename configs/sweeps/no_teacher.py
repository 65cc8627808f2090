"""What a student gains without any teacher, before what it gains from one is praised.

The question of https://arxiv.org/abs/2107.14762, on text. Gold chains exist for 2,000 of 10,000
problems: `gold` learns them, at three learning rates, `own` adds the student's own right answers to
5,000 (configs/sweeps/self_training.py), and `teacher` learns chains for all, as if a teacher had
written them. (own - gold) / (teacher - gold), with the best of the three gold arms, is the share of
the gain that needs no teacher. All arms end with the same tokens.

Usage: python -m distill_jax.sweep --config configs/sweeps/no_teacher.py --workdir runs/no_teacher
"""

from distill_jax.configs.sweeps.self_training import (
    FEW,
    FIRST,
    GOLD,
    LAST,
    ON_TRAINING_PROBLEMS,
    SAMPLES,
)
from distill_jax.sweep.definition import Ask, Run, Sweep

RATES = (3e-4, 1e-3, 3e-3)


def get_sweep():
    """Six arms, two seeds."""
    first, budget = Run(FIRST), {"train.token_budget": LAST["train.token_budget"]}
    return Sweep(
        config="configs/demo.py",
        arms={
            "answer_only": budget | {"scheme": "answer_only"},
            **{
                f"gold_rate={rate}": (
                    first,
                    Run(LAST | {"data.annotations": GOLD, "optimizer.solver.learning_rate": rate}),
                )
                for rate in RATES
            },
            "own": (
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
            "teacher": (first, Run(LAST)),
        },
        seeds=(0, 1),
        overrides=FEW,
        baseline="gold_rate=0.001",
    )
