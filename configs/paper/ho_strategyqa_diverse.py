"""Ho et al. (2022, https://arxiv.org/abs/2212.10071), StrategyQA: Fine-tune-CoT with diverse
reasoning, 8 chains of the teacher per problem.

Usage: python -m distill_jax.main \\
           --config configs/paper/ho_strategyqa_diverse.py \\
           --workdir runs/ho_strategyqa_diverse
"""

from distill_jax.configs.paper.pretrained import fine_tune_cot, strategyqa, teach


def get_config():
    """The config."""
    config = teach(fine_tune_cot(strategyqa()), "zero_shot_cot")
    config.scheme = "chain"
    config.teacher.samples = 8
    config.teacher.temperature = 0.7
    return config
