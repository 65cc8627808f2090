"""How many operators should a step have? Sums modulo 10 at the size of a laptop.

The synthetic task of "When More is Less" (https://arxiv.org/abs/2502.07266): the student writes how
many operators each step will have, `<2>`, and then a chain with such steps. It learns all step
sizes, and is evaluated with each of them given (docs/chain_length.md).

Usage: python -m distill_jax.main --config configs/step_size.py --workdir runs/step_size
       python -m distill_jax.evaluate --workdir runs/step_size --config.sampling.given=
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.step_size"
    config.task_options = ConfigDict(
        {
            "operators": (3, 6),  # sizes: from, to, and every how many
            "step_sizes": (1, 2, 3, 4),
            "best_steps": "",  # a file with the step size of each size; "" = step_sizes
            "seed": 0,  # of the problems
            "train_problems": 30_000,
            "held_out_problems": 1_600,  # of dev, and of test
        }
    )
    config.scheme = "planned_chain"
    # The paper's single model: one row, in which the step size is learned too.
    config.students.planner = "solver"
    config.reads.planner = ("solver",)
    config.reads.solver = ("planner",)
    config.tokenizer.vocab_size = 258  # a character is a token
    for student in config.model:
        # With learned positions it has not learned to add after 8 million tokens.
        config.model[student].family = "llama"
        config.model[student].layers = 2
        config.model[student].context = 160
    config.optimizer.solver.learning_rate = 2e-3
    config.data.dev_split = "dev"
    config.data.packing = True
    config.train.batch_size = 4
    config.train.token_budget = 5_000_000
    # 4 sizes x 4 step sizes x 100 problems.
    config.evaluation.task_options = ("operators=3,6",)
    config.evaluation.problems = 0
    config.sampling.given = "plan"
    config.sampling.max_turn_tokens = 96
    config.sampling.max_tokens = 104
    return config
