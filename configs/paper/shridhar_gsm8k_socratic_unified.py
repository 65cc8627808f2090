"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), GSM8K: Socratic, one student;
OpenAI's subquestions for the gold steps.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_gsm8k_socratic_unified.py \\
           --workdir runs/shridhar_gsm8k_socratic_unified
"""

from distill_jax.configs.paper.pretrained import gsm8k, one_student


def get_config():
    """The config."""
    config = one_student(gsm8k())
    config.scheme = "socratic"
    return config
