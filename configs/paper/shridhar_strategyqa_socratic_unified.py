"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), StrategyQA: Socratic, one student;
the teacher's subquestions and solutions.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_strategyqa_socratic_unified.py \\
           --workdir runs/shridhar_strategyqa_socratic_unified
"""

from distill_jax.configs.paper.pretrained import one_student, strategyqa, teach


def get_config():
    """The config."""
    config = one_student(teach(strategyqa(), "socratic"))
    config.scheme = "socratic"
    return config
