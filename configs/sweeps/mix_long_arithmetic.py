"""Mix Distillation on the built-in task: from all equations (short) to all sentences (long).

First write the two files, as configs/mix_long_arithmetic.py says. Every arm trains a BPE on
its own text.

Usage: python -m distill_jax.sweep --config configs/sweeps/mix_long_arithmetic.py \\
           --workdir runs/mix_long \\
           --config.data.annotations=runs/long/annotations.jsonl,runs/short/annotations.jsonl
"""

from distill_jax.configs.sweeps.mix_long_svamp import SHARES
from distill_jax.sweep.definition import Sweep


def get_sweep():
    """Six arms, named by the share of long chains."""
    return Sweep(
        config="configs/mix_long_arithmetic.py",
        arms={f"long={s}": {"data.mixture": (s, round(1 - s, 1))} for s in SHARES},
        overrides={"evaluation.problems": 500, "train.steps": 500},
        baseline="long=0.0",
    )
