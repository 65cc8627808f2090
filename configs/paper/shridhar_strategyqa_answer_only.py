"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), StrategyQA: answer only.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_strategyqa_answer_only.py \\
           --workdir runs/shridhar_strategyqa_answer_only
"""

from distill_jax.configs.paper.pretrained import strategyqa


def get_config():
    """The config."""
    config = strategyqa()
    config.scheme = "answer_only"
    return config
