"""Ho et al. (2022, https://arxiv.org/abs/2212.10071), SVAMP: Fine-tune-CoT with diverse
reasoning, 64 chains of the teacher per problem.

Usage: python -m distill_jax.main \\
           --config configs/paper/ho_svamp_diverse.py \\
           --workdir runs/ho_svamp_diverse
"""

from distill_jax.configs.paper.pretrained import fine_tune_cot, svamp, teach


def get_config():
    """The config."""
    config = teach(fine_tune_cot(svamp()), "zero_shot_cot")
    config.scheme = "chain"
    config.teacher.samples = 64
    config.teacher.temperature = 0.7
    return config
