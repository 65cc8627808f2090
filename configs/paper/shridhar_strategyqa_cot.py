"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), StrategyQA: the teacher's chain of
thought.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_strategyqa_cot.py \\
           --workdir runs/shridhar_strategyqa_cot
"""

from distill_jax.configs.paper.pretrained import strategyqa, teach


def get_config():
    """The config."""
    config = teach(strategyqa(), "cot")
    config.scheme = "chain"
    return config
