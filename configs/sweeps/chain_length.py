"""Accuracy by step size, for two students: is it highest between the shortest and longest steps?

The length study of "When More is Less" (https://arxiv.org/abs/2502.07266) at the size of a laptop:
two students learn sums modulo 10 of 3 to 6 operators with steps of 1 to 4, and are evaluated with
each step size given. The paper's claims are that the best step size grows with the size of the
problem, and with the student. Its students saw about 2.7 billion tokens, these see 5 million
(docs/chain_length.md says what they show). The report has the tables "Accuracy by the step size
that was given" and "Accuracy by steps written", with the fit of the paper's formula.

Budget: about 25 minutes on one core.

Usage: python -m distill_jax.sweep --config configs/sweeps/chain_length.py \\
           --workdir runs/chain_length
"""

from distill_jax.sweep.definition import Sweep

SMALL = {"model.solver.width": 64}


def get_sweep():
    """Two arms, two seeds."""
    return Sweep(
        config="configs/step_size.py",
        arms={"medium": {}, "small": SMALL},
        seeds=(0, 1),
        overrides={"train.eval_every": 0, "data.dev_problems": 0},
    )
