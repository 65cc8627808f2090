"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), GSM8K: Socratic, the decomposer
guided by a planner's operators.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_gsm8k_socratic_operators.py \\
           --workdir runs/shridhar_gsm8k_socratic_operators
"""

from distill_jax.configs.paper.pretrained import gsm8k


def get_config():
    """The config."""
    config = gsm8k()
    config.scheme = "socratic_operators"
    return config
