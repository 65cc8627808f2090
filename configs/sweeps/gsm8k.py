"""GSM8K, small students from scratch: the real data's path, three schemes at one budget.

Students of a million parameters that never read anything else know no English: expect a few per
cent at most. The same arms from GPT-2 are those of configs/paper/shridhar_gsm8k_*.py.

Usage: python -m distill_jax.sweep --config configs/sweeps/gsm8k.py --workdir runs/gsm8k \\
           --config.task_options.directory=DIR_OF_GSM8K
"""

from distill_jax.sweep.definition import Sweep
from distill_jax.sweep.from_scratch import from_scratch


def get_sweep():
    """Three arms."""
    return Sweep(
        config="configs/gsm8k_tiny.py",
        arms={scheme: {"scheme": scheme} for scheme in ("answer_only", "chain", "socratic")},
        overrides=from_scratch(context=640, batch_size=2, token_budget=1_200_000),
        baseline="answer_only",
    )
