"""A tiny solver on SVAMP's equations as steps, to show that real data works on a CPU.

It is far too small and too briefly trained to solve these problems; expect no more than the cheap
guessers get. SVAMP has no subquestions, so the scheme is `chain` and the solver writes all steps.
Offline, give directories in the upstream formats:

Usage: python -m distill_jax.main --config configs/svamp_tiny.py --workdir runs/svamp_tiny \\
           --config.task_options.directory=DIR_OF_SVAMP \\
           --config.tokenizer.name=DIR_OF_GPT2_TOKENIZER
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.svamp"
    # directory: with SVAMP.json; "" = the Hub data set hub_id. protocol: ho, or mawps_asdiv, which
    # needs a directory with mawps-asdiv-a_svamp/train.csv too (see distill_jax/tasks/svamp.py).
    config.task_options = ConfigDict(
        {"directory": "", "hub_id": "ChilleD/SVAMP", "protocol": "ho", "renumbered": 0}
    )
    config.scheme = "chain"
    config.tokenizer.name = "openai-community/gpt2"
    for student in config.model:
        config.model[student].layers = 2
        config.model[student].heads = 2
        config.model[student].width = 64
        config.model[student].context = 256  # the longest row has 222 tokens (mawps_asdiv)
        config.optimizer[student].learning_rate = 3e-3
        config.optimizer[student].warmup_steps = 30
    config.data.packing = True
    config.train.steps = 300
    config.train.batch_size = 4
    config.train.eval_every = 100
    config.train.save_every = 50
    config.sampling.max_turn_tokens = 96
    config.sampling.max_tokens = 96
    config.data.templated = False
    return config
