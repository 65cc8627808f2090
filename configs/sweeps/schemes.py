"""Compares the schemes on the built-in task, with equal budgets and three seeds each.

Usage: python -m distill_jax.sweep --config configs/sweeps/schemes.py --workdir runs/schemes
"""

from distill_jax.sweep.definition import Sweep


def get_sweep():
    """Five arms; train.token_budget is what each may feed, summed over its students."""
    return Sweep(
        config="configs/demo.py",
        arms={
            "answer_only": {"scheme": "answer_only"},
            "chain": {"scheme": "chain"},
            # One student asks and solves.
            "socratic_unified": {"scheme": "socratic", "students.decomposer": "solver"},
            "socratic_iterative": {"scheme": "socratic"},
            # The decomposer reads only the problem, never a solution.
            "socratic_iterative_blind": {"scheme": "socratic", "reads.decomposer": ()},
        },
        seeds=(0, 1, 2),
        overrides={
            "evaluation.problems": 500,
            "train.token_budget": 2_000_000,
            "data.packing": True,  # so that almost all of a row is useful in every arm
            "train.batch_size": 8,
        },
        baseline="answer_only",
    )
