"""Two tiny students on StrategyQA's decompositions and facts, to show that real data works on a
CPU.

They are far too small and too briefly trained to know anything: expect the accuracy of the guesser
that always says the more frequent answer. Offline, give directories in the upstream formats:

Usage: python -m distill_jax.main --config configs/strategyqa_tiny.py \\
           --workdir runs/strategyqa_tiny --config.task_options.directory=DIR_OF_STRATEGYQA \\
           --config.tokenizer.name=DIR_OF_GPT2_TOKENIZER

To train on all questions with their facts as a chain, add
`--config.scheme=chain --config.task_options.gold=facts`.
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.strategyqa"
    # directory: with train.json and dev.json; "" = the Hub data set hub_id. protocol: official, ho.
    # gold: decomposition (some rows, with subquestions) or facts (see tasks/strategyqa.py).
    config.task_options = ConfigDict(
        {
            "directory": "",
            "hub_id": "tasksource/strategy-qa",
            "protocol": "official",
            "gold": "decomposition",
        }
    )
    config.tokenizer.name = "openai-community/gpt2"
    for student in config.model:
        config.model[student].layers = 2
        config.model[student].heads = 2
        config.model[student].width = 64
        config.model[student].context = 256  # the longest row has 187 tokens
        config.optimizer[student].learning_rate = 3e-3
        config.optimizer[student].warmup_steps = 30
    config.data.packing = True
    config.train.steps = 300
    config.train.batch_size = 4
    config.train.eval_every = 100
    config.train.save_every = 50
    config.data.templated = False
    return config
