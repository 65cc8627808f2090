"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), GSM8K: gold steps.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_gsm8k_gold_steps.py \\
           --workdir runs/shridhar_gsm8k_gold_steps
"""

from distill_jax.configs.paper.pretrained import gsm8k


def get_config():
    """The config."""
    config = gsm8k()
    config.scheme = "chain"
    return config
