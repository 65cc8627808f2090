"""Ho et al. (2022, https://arxiv.org/abs/2212.10071), SVAMP: fine-tuned on answers only.

Usage: python -m distill_jax.main \\
           --config configs/paper/ho_svamp_fine_tune.py \\
           --workdir runs/ho_svamp_fine_tune
"""

from distill_jax.configs.paper.pretrained import fine_tune_cot, svamp


def get_config():
    """The config."""
    config = fine_tune_cot(svamp())
    config.scheme = "answer_only"
    return config
