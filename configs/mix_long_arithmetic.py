"""Mix-Long on the built-in task: a fifth of the problems with sentences, the rest with equations.

First write the two files, which are annotations in two styles of the task:

    for style in long short; do
        python -m distill_jax.annotate --config configs/mix_long_arithmetic.py \\
            --workdir runs/$style --config.task_options.style=$style \\
            --config.data.mixture= --config.data.dev_problems=0
    done

Every arm of a study, including the ends 1,0 and 0,1, reads the same problems equally often: the
number of steps is fixed, not that of tokens. Each trains a BPE on its own texts; to give all arms
the first one's, add --config.tokenizer.name=runs/FIRST/tokenizer to the others.

Usage: python -m distill_jax.main --config configs/mix_long_arithmetic.py --workdir runs/mix \\
           --config.data.annotations=runs/long/annotations.jsonl,runs/short/annotations.jsonl \\
           --config.data.mixture=0.2,0.8
"""

from distill_jax.configs.demo import get_config as demo_config


def get_config():
    """The config."""
    config = demo_config()
    config.scheme = "chain"
    config.task_options.train_problems = 5_000
    config.data.mixture = (0.2, 0.8)  # long, short: the paper's best
    config.data.dev_split = ""  # held out of the files' problems
    config.train.batch_size = 32
    config.train.steps = 1_500  # of 4,900 rows: 10 epochs
    config.sampling.max_turn_tokens = 160  # also for three steps in sentences
    config.sampling.max_tokens = 160
    return config
