"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), GSM8K: answer only.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_gsm8k_answer_only.py \\
           --workdir runs/shridhar_gsm8k_answer_only
"""

from distill_jax.configs.paper.pretrained import gsm8k


def get_config():
    """The config."""
    config = gsm8k()
    config.scheme = "answer_only"
    return config
