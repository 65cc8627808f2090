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
        # Students so small learn with a larger rate than base.py's in a third of the steps.
        config.optimizer[student].learning_rate = 3e-3
    config.data.packing = True
    config.train.batch_size = 8
    config.train.token_budget = 3_000_000
    return config
