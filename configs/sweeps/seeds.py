"""The demo with three seeds: how much depends on chance?

Usage: python -m distill_jax.sweep --config configs/sweeps/seeds.py --workdir runs/seeds
"""

from distill_jax.sweep.definition import Sweep


def get_sweep():
    """One arm that changes nothing."""
    return Sweep(config="configs/demo.py", arms={"demo": {}}, seeds=(0, 1, 2))
