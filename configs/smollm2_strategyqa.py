"""SmolLM2-135M-Instruct on StrategyQA: subquestions with their facts as answers.

Only 676 of the questions have subquestions with answers (distill_jax/tasks/strategyqa.py).

Usage: python -m distill_jax.main --config configs/smollm2_strategyqa.py \\
           --workdir runs/smollm2_strategyqa --config.task_options.directory=DIR_OF_STRATEGYQA
(first install as in configs/smollm2_gsm8k.py)
"""

from ml_collections import ConfigDict

from distill_jax.configs.smollm2_gsm8k import get_config as gsm8k_config


def get_config():
    """The config."""
    config = gsm8k_config()
    config.task = "distill_jax.tasks.strategyqa"
    # directory: with train.json and dev.json; "" = the Hub data set hub_id.
    config.task_options = ConfigDict(
        {
            "directory": "",
            "hub_id": "tasksource/strategy-qa",
            "protocol": "ho",
            "gold": "decomposition",
        }
    )
    config.data.dev_problems = 60
    config.train.eval_every = 20
    config.sampling.max_turn_tokens = 160
    config.sampling.max_tokens = 256
    return config
