"""GSM8K with small students from scratch: three schemes at the same budget.

Students of a million parameters that have never read anything else do not know English: expect a
few per cent at most. The same arms with GPT-2 are configs/paper/shridhar_gsm8k_*.py.

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
