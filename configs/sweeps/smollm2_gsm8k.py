"""GSM8K with SmolLM2 as student: answers, chains, and subquestions by one student or two.

All arms learn the same problems for one epoch; `unified_twice` has two, and so reads about as many
tokens as the two students of `iterative` together. `_calculator` asks the students of an arm again,
and fills in the values of their equations; `iterative_gold_subquestions` gives them OpenAI's
subquestions. On two cores this takes a day or more; for a GPU see launch/smollm2_studies.sh.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_gsm8k.py \\
           --workdir runs/smollm2_gsm8k_sweep --config.task_options.directory=DIR_OF_GSM8K
(first install as in configs/smollm2_gsm8k.py)
"""

import dataclasses

from distill_jax.sweep.definition import Ask, Run, Step, Sweep

CHAIN = {"scheme": "chain"}
UNIFIED = {"scheme": "socratic", "students.decomposer": "solver"}
ITERATIVE = {"scheme": "socratic"}
CALCULATOR = Ask({"sampling.calculator": True})


def get_sweep(epochs: int = 1):
    """Five arms that train, and four further evaluations."""
    return Sweep(
        config="configs/smollm2_gsm8k.py",
        arms={
            "answer_only": {"scheme": "answer_only"},
            **with_calculator("chain", CHAIN),
            **with_calculator("unified", UNIFIED),
            "unified_twice": UNIFIED | {"train.epochs": 2 * epochs},
            **with_calculator("iterative", ITERATIVE),
            "iterative_gold_subquestions": (
                Run(ITERATIVE),
                Ask({"sampling.given": "subquestions"}),
            ),
        },
        overrides={"data.annotated_only": True, "train.epochs": epochs},
        baseline="chain",
    )


def with_calculator(name: str, arm: dict[str, object]) -> dict[str, tuple[Step, ...]]:
    """An arm, and the same with the calculator: trained once."""
    return {name: (Run(arm),), f"{name}_calculator": (Run(arm), CALCULATOR)}


def on_gpu(sweep: Sweep) -> Sweep:
    """The same with three seeds, in bfloat16, whole batches at a time."""
    changed = {
        "train.dtype": "bfloat16",
        "sampling.dtype": "bfloat16",
        "train.accumulation": 1,
        "train.loss_chunk": 2048,
    }
    return dataclasses.replace(sweep, seeds=(0, 1, 2), overrides={**sweep.overrides, **changed})
