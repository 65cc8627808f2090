"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), GSM8K: the teacher's chain of thought.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_gsm8k_cot.py \\
           --workdir runs/shridhar_gsm8k_cot
"""

from distill_jax.configs.paper.pretrained import gsm8k, teach


def get_config():
    """The config."""
    config = teach(gsm8k(), "cot")
    config.scheme = "chain"
    return config
