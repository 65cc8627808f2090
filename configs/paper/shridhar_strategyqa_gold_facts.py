"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), StrategyQA: gold facts.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_strategyqa_gold_facts.py \\
           --workdir runs/shridhar_strategyqa_gold_facts
"""

from distill_jax.configs.paper.pretrained import strategyqa


def get_config():
    """The config."""
    config = strategyqa()
    config.scheme = "chain"
    return config
