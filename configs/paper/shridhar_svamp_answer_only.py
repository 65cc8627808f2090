"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), SVAMP: answer only.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_svamp_answer_only.py \\
           --workdir runs/shridhar_svamp_answer_only
"""

from distill_jax.configs.paper.pretrained import svamp


def get_config():
    """The config."""
    config = svamp()
    config.scheme = "answer_only"
    return config
