"""Learning from a larger student's probabilities at mixtures of two rows (MixKD).

A teacher of twice the width has learned all problems, a small student learns 500 or 2,000 of them,
from random parameters with one budget: from gold chains (`gold`), from the teacher's probabilities
beside them (`kd`), and from mixtures of two rows, with the cross entropy of both (`kd_sm`), with
the teacher's probabilities after the mixture (`kd_tmkd`), or with all of these (`all`). The claim
of https://arxiv.org/abs/2011.00593 is that mixtures help most where problems are few.

Usage: python -m distill_jax.sweep --config configs/sweeps/mixkd.py --workdir runs/mixkd
"""

from distill_jax.configs.sweeps.on_policy import CHAINS, SMALL, TEACHER
from distill_jax.sweep.definition import Run, Sweep

KD = {"loss.teacher": "{0}", "loss.divergence": 1.0}
MIXED = {"loss.mixup": 0.4}
METHODS = {
    "gold": {},
    "kd": KD,
    "kd_sm": KD | MIXED | {"loss.mixed_likelihood": 1.0},
    "kd_tmkd": KD | MIXED | {"loss.mixed_divergence": 1.0},
    "all": KD | MIXED | {"loss.mixed_likelihood": 1.0, "loss.mixed_divergence": 1.0},
}


def get_sweep():
    """Ten arms, three seeds."""
    return Sweep(
        config="configs/demo.py",
        arms={
            f"{method}_{problems}": (
                TEACHER,
                Run(
                    SMALL
                    | {"data.train_problems": problems, "train.token_budget": 1_500_000}
                    | changes
                ),
            )
            for problems in (500, 2_000)
            for method, changes in METHODS.items()
        },
        seeds=(0, 1, 2),
        overrides=CHAINS,
        baseline="kd_500",
    )
