"""SVAMP's 700 training problems with a teacher's pairs of question and solution: three schemes.

FILE has annotations with subquestions, from a run of distill_jax.annotate or in a format that
docs/annotating.md names. All arms train on the problems that it answers rightly, except
answer_only, which uses all 700. The test is the other 300 (the split of Ho et al.).

Usage: python -m distill_jax.sweep --config configs/sweeps/svamp_teacher.py \\
           --workdir runs/svamp_teacher --config.task_options.directory=DIR_OF_SVAMP \\
           --config.data.annotations=FILE
"""

from distill_jax.sweep.definition import Sweep
from distill_jax.sweep.from_scratch import from_scratch


def get_sweep():
    """Three arms."""
    return Sweep(
        config="configs/svamp_tiny.py",
        arms={scheme: {"scheme": scheme} for scheme in ("answer_only", "chain", "socratic")},
        overrides=from_scratch(context=384, batch_size=4, token_budget=700_000)
        | {"data.dev_problems": 40, "sampling.max_turn_tokens": 200, "sampling.max_tokens": 320},
        baseline="answer_only",
    )
