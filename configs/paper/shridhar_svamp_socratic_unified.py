"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), SVAMP: Socratic, one student;
the teacher's subquestions and solutions.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_svamp_socratic_unified.py \\
           --workdir runs/shridhar_svamp_socratic_unified
"""

from distill_jax.configs.paper.pretrained import one_student, svamp, teach


def get_config():
    """The config."""
    config = one_student(teach(svamp(), "socratic"))
    config.scheme = "socratic"
    return config
