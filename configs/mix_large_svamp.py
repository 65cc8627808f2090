"""Mix-Large on SVAMP: a fifth of the problems from the stronger teacher, the rest from the weaker.

As configs/mix_long_svamp.py, with files of two teachers, such as GPT-4o's
SVAMP_ChatGPT_level3_ranked.json (or Gemini's) and SVAMP_llama_level2_ranked.json of Llama 3 70B.
They also differ in length; the table "Training data" of the report on several runs shows how much.

Usage: python -m distill_jax.main --config configs/mix_large_svamp.py --workdir runs/mix_large \\
           --config.data.annotations=STRONG_FILE,WEAK_FILE --config.data.mixture=0.2,0.8 \\
           --config.task_options.directory=DIR_OF_SVAMP \\
           --config.tokenizer.name=DIR_OF_GPT2_TOKENIZER
"""

from distill_jax.configs.mix_long_svamp import get_config as mix_long_config


def get_config():
    """The config."""
    return mix_long_config()
