"""Your own problems: DIR/train.jsonl with steps, DIR/test.jsonl (see README, Your own data).

Usage: python -m distill_jax.main --config configs/jsonl.py --workdir runs/mine \\
           --config.task_options.directory=DIR
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.jsonl"
    # answers: plain (numbers, yes/no, text) or math (LaTeX as well, needs the extra [math]).
    config.task_options = ConfigDict({"directory": "", "answers": "plain"})
    for student in config.model:
        config.model[student].context = 512
    config.tokenizer.vocab_size = 4096
    config.data.templated = False
    return config
