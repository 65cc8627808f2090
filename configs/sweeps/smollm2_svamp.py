"""SVAMP from MAWPS and ASDiv-A with SmolLM2-135M-Instruct: equations as steps, or answers only.

Every arm but the last is trained for one epoch. `chain_renumbered` has as many steps as `chain`,
from more rows: up to four copies of each with other numbers (distill_jax/tasks/mawps_asdiv.py).
The checkpoint is the last. When it is done, evaluate again with the calculator:
python -m distill_jax.evaluate --workdir RUN --config.sampling.calculator=True

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_svamp.py \\
           --workdir runs/smollm2_svamp --config.task_options.directory=DIR_OF_SVAMP
"""

from distill_jax.sweep.definition import Sweep


def get_sweep():
    """Three arms, two seeds."""
    return Sweep(
        config="configs/smollm2_svamp.py",
        arms={
            "chain": {"scheme": "chain"},
            "answer_only": {"scheme": "answer_only"},
            "chain_renumbered": {
                "scheme": "chain",
                "task_options.renumbered": 4,
                "train.epochs": 0,
                "train.steps": 477,  # an epoch of `chain`
            },
        },
        seeds=(0, 1),
        baseline="answer_only",
    )
