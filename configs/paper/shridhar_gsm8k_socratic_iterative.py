"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), GSM8K: Socratic, decomposer and
solver; OpenAI's subquestions for the gold steps.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_gsm8k_socratic_iterative.py \\
           --workdir runs/shridhar_gsm8k_socratic_iterative
"""

from distill_jax.configs.paper.pretrained import gsm8k


def get_config():
    """The config."""
    config = gsm8k()
    config.scheme = "socratic"
    return config
