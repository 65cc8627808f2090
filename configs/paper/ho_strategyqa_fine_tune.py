"""Ho et al. (2022, https://arxiv.org/abs/2212.10071), StrategyQA: fine-tuned on answers only.

Usage: python -m distill_jax.main \\
           --config configs/paper/ho_strategyqa_fine_tune.py \\
           --workdir runs/ho_strategyqa_fine_tune
"""

from distill_jax.configs.paper.pretrained import fine_tune_cot, strategyqa


def get_config():
    """The config."""
    config = fine_tune_cot(strategyqa())
    config.scheme = "answer_only"
    return config
