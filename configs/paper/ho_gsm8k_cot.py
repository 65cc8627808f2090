"""Ho et al. (2022, https://arxiv.org/abs/2212.10071), GSM8K: Fine-tune-CoT, one chain of
the teacher per problem.

Usage: python -m distill_jax.main \\
           --config configs/paper/ho_gsm8k_cot.py \\
           --workdir runs/ho_gsm8k_cot
"""

from distill_jax.configs.paper.pretrained import fine_tune_cot, gsm8k, teach


def get_config():
    """The config."""
    config = teach(fine_tune_cot(gsm8k()), "zero_shot_cot")
    config.scheme = "chain"
    return config
