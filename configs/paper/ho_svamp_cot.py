"""Ho et al. (2022, https://arxiv.org/abs/2212.10071), SVAMP: Fine-tune-CoT, one chain of
the teacher per problem.

Usage: python -m distill_jax.main \\
           --config configs/paper/ho_svamp_cot.py \\
           --workdir runs/ho_svamp_cot
"""

from distill_jax.configs.paper.pretrained import fine_tune_cot, svamp, teach


def get_config():
    """The config."""
    config = teach(fine_tune_cot(svamp()), "zero_shot_cot")
    config.scheme = "chain"
    return config
