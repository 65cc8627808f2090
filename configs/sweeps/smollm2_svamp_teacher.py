"""SVAMP's 700 training problems with a teacher's pairs, and SmolLM2 as student.

FILE has annotations with subquestions, from a run of distill_jax.annotate or in a format that
docs/annotating.md names. All arms learn the problems that it answers rightly, for one epoch; the
test is the other 300 (the split of Ho et al.). `iterative_lora`: decomposer and solver are adapters
of the same base, and learn at five times the rate. `_votes` asks every problem five times. There
are no gold subquestions for the test problems.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_svamp_teacher.py \\
           --workdir runs/smollm2_svamp_teacher --config.task_options.directory=DIR_OF_SVAMP \\
           --config.data.annotations=FILE
(first install as in configs/smollm2_gsm8k.py)
"""

from distill_jax.configs.sweeps.smollm2_gsm8k import ITERATIVE, UNIFIED, with_calculator
from distill_jax.sweep.definition import Ask, Run, Sweep

VOTES = Ask({"sampling.samples": 5, "sampling.temperature": 0.7})
LORA = ITERATIVE | {
    f"{section}.{student}.{key}": value
    for student in ("decomposer", "solver")
    for section, key, value in (
        ("lora", "rank", 16),
        ("lora", "alpha", 32.0),
        ("optimizer", "learning_rate", 5e-4),
        ("optimizer", "final_learning_rate", 5e-4),
    )
}


def get_sweep(epochs: int = 1):
    """Six arms that train, two seeds, and further evaluations."""
    return Sweep(
        config="configs/smollm2_svamp_pairs.py",
        arms={
            "answer_only": {"scheme": "answer_only"},
            **with_calculator("chain", {"scheme": "chain"}),
            "chain_votes": (Run({"scheme": "chain"}), VOTES),
            **with_calculator("unified", UNIFIED),
            "unified_votes": (Run(UNIFIED), VOTES),
            "unified_twice": UNIFIED | {"train.epochs": 2 * epochs},
            **with_calculator("iterative", ITERATIVE),
            "iterative_votes": (Run(ITERATIVE), VOTES),
            "iterative_lora": LORA,
        },
        seeds=(0, 1),
        overrides={"data.annotated_only": True, "train.epochs": epochs},
        baseline="chain",
    )
