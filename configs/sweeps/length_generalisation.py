"""Does decomposition pay on longer problems than any that were learned?

Students of SmolLM2-135M learn made problems of up to four people, names, swaps or events (up to
three events for dates), and are asked fresh ones of up to twice that length; the comparison of each
task has the accuracy by number of steps. The same from scratch is made_tasks.py.

Usage: python -m distill_jax.sweep --config configs/sweeps/length_generalisation.py \\
           --workdir runs/length_generalisation --arms='made_coins-*'
"""

from typing import Any

from distill_jax.configs.sweeps.tasks12 import METHODS, task
from distill_jax.sweep.definition import Sweep

# The shortest and the longest story that is learned; the longest that is asked is twice as long.
LEARNED = {
    "made_coins": (2, 4),
    "made_letters": (2, 4),
    "made_objects": (2, 4),
    "made_dates": (1, 3),
}


def arms() -> dict[str, dict[str, Any]]:
    """Four methods on four tasks: learn up to a length, be asked up to twice that."""
    return {
        f"{name}-{method}": task(name)
        | {
            "task_options.lengths": lengths,
            "evaluation.task_options.lengths": (lengths[0], 2 * lengths[1]),
        }
        | dict(changes)
        for name, lengths in LEARNED.items()
        for method, changes in METHODS.items()
    }


def get_sweep():
    """Four methods on four tasks, two seeds."""
    return Sweep(
        config="configs/tasks12.py",
        arms={
            name: changes | {"task_options.train_problems": 1000}
            for name, changes in arms().items()
        },
        seeds=(0, 1),
        overrides={
            "train.epochs": 2,
            "data.seq_len": 512,
            "evaluation.problems": 400,
            "sampling.max_turn_tokens": 448,
            "sampling.max_tokens": 640,
            "sampling.max_turns": 40,
        },
    )
