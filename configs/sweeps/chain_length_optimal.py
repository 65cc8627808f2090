"""Are chains of the best length alone better than those of all lengths?

Optimal-length training of "When More is Less" (https://arxiv.org/abs/2502.07266), where a student
of 6 layers that learned only the best step size of each problem size was better than one of 9
layers that had learned all. First a student learns all step sizes; the best one for each problem
size is measured on dev; then a new student, with the same budget, learns these alone. All students
choose the step size of the test problems themselves.

Budget: about 25 minutes on one core.

Usage: python -m distill_jax.sweep --config configs/sweeps/chain_length_optimal.py \\
           --workdir runs/chain_length_optimal
"""

from distill_jax.configs.sweeps.chain_length import SMALL
from distill_jax.sweep.definition import Ask, Make, Run, Sweep

# All sizes, since each needs its best step size.
ON_DEV = {
    "sampling.given": "plan",
    "evaluation.split": "dev",
    "evaluation.task_options.operators": (3, 6),
}


def steps(size):
    """Learn all, choose the best on dev, learn these alone."""
    return (
        Run(size),
        Ask(ON_DEV),
        Make("distill_jax.evaluation.lengths", {"evaluations": "{1}"}),
        Run(size | {"task_options.best_steps": "{2}/best_steps.json"}),
    )


def get_sweep():
    """Four arms, one seed."""
    return Sweep(
        config="configs/step_size.py",
        arms={
            "medium_all": {},
            "medium_best": steps({}),
            "small_all": SMALL,
            "small_best": steps(SMALL),
        },
        overrides={"train.eval_every": 0, "data.dev_problems": 0, "sampling.given": ""},
        baseline="medium_all",
    )
