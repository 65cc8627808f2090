"""Two tiny students learn the built-in task on a laptop's CPU in a few minutes.

Usage: python -m distill_jax.main --config configs/demo.py --workdir runs/demo
"""

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The demo config."""
    config = base_config()
    config.task_options.train_problems = 40_000
    config.data.dev_split = "dev"
    for student in config.model:
        config.model[student].layers = 3
        config.model[student].heads = 2
        config.model[student].context = 192
    return config
