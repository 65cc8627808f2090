"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), SVAMP: Socratic, decomposer and
solver; the teacher's subquestions and solutions.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_svamp_socratic_iterative.py \\
           --workdir runs/shridhar_svamp_socratic_iterative
"""

from distill_jax.configs.paper.pretrained import svamp, teach


def get_config():
    """The config."""
    config = teach(svamp(), "socratic")
    config.scheme = "socratic"
    return config
