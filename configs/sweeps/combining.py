"""Small students and larger ones on the built-in task, to be combined.

Three students of size s cost as much as one of the next larger arm when they are asked: 3 x s 0.91
against s_larger 1.00 MFLOP a token (ensembles of small models, https://arxiv.org/abs/2005.00570).
Every member is trained on the whole budget, so that three cost three times as much to train.
benchmarks/combining.py then makes the votes, the ensembles, and the switches from s to large out of
these runs, and the report on all of them.

Usage: python -m distill_jax.sweep --config configs/sweeps/combining.py --workdir runs/combining
"""

from distill_jax.sweep.definition import Sweep


def get_sweep():
    """Three arms, three seeds."""

    def solver(layers: int, width: int, tokens: int):
        return {
            "model.solver.layers": layers,
            "model.solver.width": width,
            "train.token_budget": tokens,
        }

    return Sweep(
        config="configs/demo.py",
        arms={
            "s": solver(2, 64, 3_500_000),
            "s_larger": solver(2, 128, 3_500_000),
            "large": solver(3, 128, 4_000_000),
        },
        seeds=(0, 1, 2),
        overrides={
            "scheme": "chain",
            "task_options.difficulty": "easy",  # at medium, s solves 3 % after 6 million tokens
            "data.packing": True,
            "train.batch_size": 8,
            "evaluation.problems": 1_000,
        },
        baseline="large",
    )
