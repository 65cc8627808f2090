"""Mix-Long on SVAMP: a fifth of the problems with a long chain of the teacher, the rest short.

Mix Distillation (https://arxiv.org/abs/2502.12143) on files that a teacher has written. They are
not part of this project. Long and short chains of GPT-4o for the same problems are in
https://github.com/EIT-NLP/Distilling-CoT-Reasoning, data/SVAMP_ChatGPT_level5_ranked.json and
level1; their questions that are in the test split of Ho et al. are left out.

Every arm of a study, including the ends 1,0 and 0,1, reads the same problems equally often: the
number of steps is fixed, not that of tokens, and packing is off. Offline, give directories:

Usage: python -m distill_jax.main --config configs/mix_long_svamp.py --workdir runs/mix_long \\
           --config.data.annotations=LONG_FILE,SHORT_FILE --config.data.mixture=0.2,0.8 \\
           --config.task_options.directory=DIR_OF_SVAMP \\
           --config.tokenizer.name=DIR_OF_GPT2_TOKENIZER

On an accelerator, start from pretrained weights: --config.train.dtype=bfloat16
--config.model.solver.init_from=openai-community/gpt2 --config.optimizer.solver.learning_rate=1e-4
"""

from distill_jax.configs.svamp_tiny import get_config as svamp_config


def get_config():
    """The config."""
    config = svamp_config()
    config.data.mixture = (0.2, 0.8)  # long, short: the paper's best
    config.data.packing = False
    for student in config.model:
        config.model[student].context = 384  # the longest row of level 5 has 338 tokens
    config.train.batch_size = 16
    config.train.steps = 560  # of 437 rows (levels 5 and 1): 20 epochs
    config.train.eval_every = 56
    config.train.save_every = 112
    config.sampling.max_turn_tokens = 320  # the longest chain of level 5 has 300
    config.sampling.max_tokens = 320
    return config
