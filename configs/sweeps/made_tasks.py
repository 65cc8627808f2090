"""Made coins, letters, objects and dates with small students from scratch.

Four methods at one budget on each task; nothing is downloaded. As in length_generalisation.py,
problems of up to four people, names, swaps or events are learned, and fresh ones of up to twice
that length are asked. Students are of the Llama family: of learned positions, those beyond the
longest training row would stay as they began. The report is one over tasks.

Usage: python -m distill_jax.sweep --config configs/sweeps/made_tasks.py --workdir runs/made_tasks
"""

from distill_jax.configs.sweeps.length_generalisation import arms
from distill_jax.sweep.definition import Sweep

FROM_SCRATCH = {
    "data.dev_problems": 0,
    "data.packing": True,
    "data.seq_len": 384,
    "train.batch_size": 4,
    "train.eval_every": 0,
    "train.token_budget": 3_000_000,
    "evaluation.problems": 500,
    "sampling.max_turn_tokens": 256,
    "sampling.max_tokens": 448,
    "sampling.max_turns": 32,
    **{
        f"model.{student}.{key}": value
        for student in ("decomposer", "solver")
        for key, value in (("family", "llama"), ("context", 640))
    },
}


def get_sweep():
    """Four methods on four tasks, two seeds."""
    return Sweep(config="configs/demo.py", arms=arms(), seeds=(0, 1), overrides=FROM_SCRATCH)
