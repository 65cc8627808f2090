"""Self-training from 2,000 gold chains in place of 1,000; the arms of self_training.py.

Usage: python -m distill_jax.sweep --config configs/sweeps/self_training_2000.py \\
           --workdir runs/self_training_2000
"""

from distill_jax.configs.sweeps import self_training


def get_sweep():
    """Its arms."""
    return self_training.get_sweep(self_training.FIRST | {"data.train_problems": 2_000})
