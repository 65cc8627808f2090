"""SmolLM2-135M-Instruct on SVAMP's 700 training problems with a teacher's subquestions.

SVAMP itself has no subquestions: FILE has annotations with them (docs/annotating.md). The test is
the other 300 problems (the split of Ho et al.).

Usage: python -m distill_jax.main --config configs/smollm2_svamp_pairs.py \\
           --workdir runs/smollm2_svamp_pairs --config.task_options.directory=DIR_OF_SVAMP \\
           --config.data.annotations=FILE
(first install as in configs/smollm2_gsm8k.py)
"""

from ml_collections import ConfigDict

from distill_jax.configs.smollm2_gsm8k import get_config as gsm8k_config


def get_config():
    """The config."""
    config = gsm8k_config()
    config.task = "distill_jax.tasks.svamp"
    config.task_options = ConfigDict(
        {"directory": "", "hub_id": "ChilleD/SVAMP", "protocol": "ho", "renumbered": 0}
    )
    config.data.dev_problems = 40
    config.data.seq_len = 512  # the longest dialogue has 433 tokens with GPT-4o's pairs
    config.train.batch_size = 1  # as many tokens a step as configs/smollm2_svamp.py
    config.train.accumulation = 1
    config.train.eval_every = 50
    config.train.save_every = 50
    config.sampling.max_turn_tokens = 192
    config.sampling.max_tokens = 384
    return config
