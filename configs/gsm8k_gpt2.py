"""GPT-2 (124 million parameters) as both students, fine-tuned on GSM8K's Socratic annotations.

On an accelerator add `--config.train.dtype=bfloat16 --config.sampling.dtype=bfloat16`. If memory is
short, also add `--config.train.accumulation=4 --config.train.remat=True`.

Usage: python -m distill_jax.main --config configs/gsm8k_gpt2.py --workdir runs/gsm8k_gpt2 \\
           --config.train.dtype=bfloat16 --config.sampling.dtype=bfloat16
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config

GPT2 = "openai-community/gpt2"  # or a directory in Hugging Face format, with its tokenizer


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.gsm8k"
    # directory: with {train,test}{,_socratic}.jsonl; "" = the Hub data set hub_id.
    config.task_options = ConfigDict({"directory": "", "hub_id": "openai/gsm8k"})
    config.tokenizer.name = GPT2
    for student in config.model:
        config.model[student].init_from = GPT2  # brings the size: a context of 1,024
        # Pretrained weights: a tenth of the learning rate for random ones.
        config.optimizer[student].learning_rate = 1e-4
        config.optimizer[student].warmup_steps = 100
    config.data.packing = True
    config.data.seq_len = 1024
    config.data.dev_problems = 200
    config.train.steps = 1000  # of 16 packed rows, some 84 problems: 11.5 epochs
    config.train.batch_size = 16
    config.train.eval_every = 100
    config.train.save_every = 100
    config.train.keep = 1  # a checkpoint has 1.5 GB
    config.sampling.max_turns = 24
    config.sampling.max_turn_tokens = 96
    config.sampling.max_tokens = 384
    config.data.templated = False
    return config
