"""Two tiny students on GSM8K's own Socratic annotations, to show that real data works on a CPU.

They are far too small and too briefly trained to solve these problems: expect an accuracy near
zero, like the cheap guessers. Offline, give directories in the upstream formats:

Usage: python -m distill_jax.main --config configs/gsm8k_tiny.py --workdir runs/gsm8k_tiny \\
           --config.task_options.directory=DIR_OF_GSM8K \\
           --config.tokenizer.name=DIR_OF_GPT2_TOKENIZER
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.gsm8k"
    # directory: with {train,test}{,_socratic}.jsonl; "" = the Hub data set hub_id.
    config.task_options = ConfigDict({"directory": "", "hub_id": "openai/gsm8k"})
    config.tokenizer.name = "openai-community/gpt2"
    for student in config.model:
        config.model[student].layers = 2
        config.model[student].heads = 2
        config.model[student].width = 64
        config.model[student].context = 640  # the longest row has 564 tokens
        config.optimizer[student].learning_rate = 3e-3
        config.optimizer[student].warmup_steps = 30
    config.data.packing = True
    config.data.dev_problems = 200
    config.train.steps = 300
    config.train.batch_size = 4
    config.train.eval_every = 100
    config.train.save_every = 50
    config.sampling.max_turns = 24
    config.sampling.max_turn_tokens = 96
    config.sampling.max_tokens = 384
    config.data.templated = False
    return config
