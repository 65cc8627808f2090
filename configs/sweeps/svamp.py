"""SVAMP from MAWPS and ASDiv-A with small students from scratch: answers, or equations as steps.

Each arm has the 3,138 rows of the training file, or also up to nine copies of each row with other
numbers (distill_jax/tasks/mawps_asdiv.py), at the same budget. The checkpoint is the best on
questions held out of the training file; the test is all of SVAMP. When it is done, evaluate again
with the calculator: python -m distill_jax.evaluate --workdir RUN --config.sampling.calculator=True

Usage: python -m distill_jax.sweep --config configs/sweeps/svamp.py --workdir runs/svamp \\
           --config.task_options.directory=DIR_OF_SVAMP
"""

from distill_jax.sweep.definition import Sweep
from distill_jax.sweep.from_scratch import from_scratch


def get_sweep():
    """Four arms."""
    schemes, copies = ("answer_only", "chain"), {"": 0, "_renumbered": 9}
    return Sweep(
        config="configs/svamp_tiny.py",
        arms={
            f"{scheme}{name}": {"scheme": scheme, "task_options.renumbered": count}
            for scheme in schemes
            for name, count in copies.items()
        },
        overrides=from_scratch(context=256, batch_size=4, token_budget=8_000_000)
        | {
            "task_options.protocol": "mawps_asdiv",
            "data.dev_problems": 300,
            # Students learn to copy numbers only after about two million tokens: no time for
            # dropout.
            "optimizer.solver.learning_rate": 1.5e-3,
            "train.eval_every": 400,
        }
        | {f"model.solver.{kind}_dropout": 0.0 for kind in ("embedding", "attention", "residual")},
        baseline="answer_only",
    )
