"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), StrategyQA: Socratic, decomposer and
solver; the teacher's subquestions and solutions.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_strategyqa_socratic_iterative.py \\
           --workdir runs/shridhar_strategyqa_socratic_iterative
"""

from distill_jax.configs.paper.pretrained import strategyqa, teach


def get_config():
    """The config."""
    config = teach(strategyqa(), "socratic")
    config.scheme = "socratic"
    return config
