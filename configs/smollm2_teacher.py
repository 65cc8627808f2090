"""A teacher on this machine: SmolLM2-135M-Instruct splits short built-in problems into pairs.

It is a small model and makes mistakes; what is kept has the right answer and no false equation.
launch/smollm2_teacher.sh serves the model and asks until 200 annotations are kept.

Usage: python -m distill_jax.annotate --config configs/smollm2_teacher.py \\
           --workdir runs/smollm2_teacher --yes \\
           --config.teacher.base_url=http://127.0.0.1:8974/v1
"""

from distill_jax.configs.demo import get_config as demo_config


def get_config():
    """The config."""
    config = demo_config()
    config.task_options.difficulty = "easiest"
    config.task_options.seed = 1
    config.task_options.train_problems = 1_000
    config.data.dev_split = ""  # held out of the teacher's right solutions
    config.teacher.model = "SmolLM2-135M-Instruct"
    config.teacher.max_tokens = 256
    config.teacher.concurrency = 1  # the server remembers the beginning of one prompt
    config.teacher.timeout_s = 600.0
    return config
