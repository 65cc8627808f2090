"""How many training problems are enough? Powers of two, at the same budget of tokens.

Usage: python -m distill_jax.sweep --config configs/sweeps/data_size.py --workdir runs/data_size
"""

from distill_jax.sweep.definition import Sweep, grid


def get_sweep():
    """Six arms, named train_problems=1250 and so on; fewer problems are seen more often."""
    return Sweep(
        config="configs/demo.py",
        arms=grid({"data.train_problems": [1250 * 2**power for power in range(6)]}),
        seeds=(0, 1, 2),
        overrides={"evaluation.problems": 500},
        baseline="train_problems=40000",
    )
