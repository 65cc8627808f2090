"""Shridhar et al. (2023, https://arxiv.org/abs/2212.00193), SVAMP: the teacher's chain of thought.

Usage: python -m distill_jax.main \\
           --config configs/paper/shridhar_svamp_cot.py \\
           --workdir runs/shridhar_svamp_cot
"""

from distill_jax.configs.paper.pretrained import svamp, teach


def get_config():
    """The config."""
    config = teach(svamp(), "cot")
    config.scheme = "chain"
    return config
