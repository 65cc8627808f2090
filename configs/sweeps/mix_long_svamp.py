"""Mix Distillation on a teacher's text: from all short chains to all long ones, on SVAMP.

Every arm has the same problems and equally many rows; the students are small, and start from
scratch. LONG and SHORT are files of one teacher's chains (configs/mix_long_svamp.py says where to
find some), or of a large and a small teacher (Mix-Large).

Usage: python -m distill_jax.sweep --config configs/sweeps/mix_long_svamp.py \\
           --workdir runs/mix_long_svamp --config.task_options.directory=DIR_OF_SVAMP \\
           --config.tokenizer.name=DIR_OF_GPT2_TOKENIZER --config.data.annotations=LONG,SHORT
"""

from distill_jax.sweep.definition import Sweep

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def get_sweep():
    """Six arms, named by the share of long chains."""
    return Sweep(
        config="configs/mix_long_svamp.py",
        arms={f"long={s}": {"data.mixture": (s, round(1 - s, 1))} for s in SHARES},
        overrides={"evaluation.problems": 0, "train.steps": 280},
        baseline="long=0.0",
    )
