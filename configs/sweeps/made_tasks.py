"""Made coins, letters, objects and dates with students of the demo's size, from scratch.

Four methods at one budget on each task, on problems as long as those of the data; nothing is
downloaded. The report is one over tasks. Shares its arms with length_generalisation.py.

Usage: python -m distill_jax.sweep --config configs/sweeps/made_tasks.py --workdir runs/made_tasks
"""

from distill_jax.configs.sweeps.tasks12 import FRESH, METHODS, task
from distill_jax.sweep.definition import Sweep

MADE = tuple(FRESH.values())
FROM_SCRATCH = {
    "data.packing": True,
    "train.batch_size": 8,
    "train.token_budget": 3_000_000,
    "evaluation.problems": 500,
    "sampling.max_turn_tokens": 256,
    "sampling.max_tokens": 448,
    "sampling.max_turns": 32,
} | {f"model.{student}.context": 640 for student in ("decomposer", "solver")}


def get_sweep():
    """Four methods on four tasks, two seeds."""
    return Sweep(
        config="configs/demo.py",
        arms={
            f"{name}-{method}": task(name) | dict(changes)
            for name in MADE
            for method, changes in METHODS.items()
        },
        seeds=(0, 1),
        overrides=FROM_SCRATCH,
    )
