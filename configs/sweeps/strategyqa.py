"""StrategyQA with small students from scratch: answers, facts, and subquestions with their facts.

Such students know nothing of the world: expect the share of the more frequent answer. Only 676 of
the questions have subquestions with answers (distill_jax/tasks/strategyqa.py).

Usage: python -m distill_jax.sweep --config configs/sweeps/strategyqa.py \\
           --workdir runs/strategyqa --config.task_options.directory=DIR_OF_STRATEGYQA
"""

from distill_jax.sweep.definition import Sweep
from distill_jax.sweep.from_scratch import from_scratch


def get_sweep():
    """Three arms."""
    return Sweep(
        config="configs/strategyqa_tiny.py",
        arms={
            "answer_only": {"scheme": "answer_only"},
            "chain": {"scheme": "chain", "task_options.gold": "facts"},
            "socratic": {"scheme": "socratic", "task_options.gold": "decomposition"},
        },
        overrides=from_scratch(context=256, batch_size=4, token_budget=400_000)
        | {"task_options.protocol": "ho", "data.dev_problems": 60},
        baseline="answer_only",
    )
