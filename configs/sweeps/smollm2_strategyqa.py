"""StrategyQA with SmolLM2 as student: answers, chains, subquestions by one student or two.

All arms learn the questions that have subquestions with answers, for one epoch. No arm is given
gold subquestions: many test questions have none with answers.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_strategyqa.py \\
           --workdir runs/smollm2_strategyqa_sweep \\
           --config.task_options.directory=DIR_OF_STRATEGYQA
(first install as in configs/smollm2_gsm8k.py)
"""

from distill_jax.configs.sweeps.smollm2_gsm8k import ITERATIVE, UNIFIED
from distill_jax.sweep.definition import Sweep


def get_sweep(epochs: int = 1):
    """Four arms."""
    return Sweep(
        config="configs/smollm2_strategyqa.py",
        arms={
            "answer_only": {"scheme": "answer_only"},
            "chain": {"scheme": "chain"},
            "unified": UNIFIED,
            "iterative": ITERATIVE,
        },
        overrides={"data.annotated_only": True, "train.epochs": epochs},
        baseline="answer_only",
    )
