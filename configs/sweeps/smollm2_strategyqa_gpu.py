"""StrategyQA with SmolLM2 on a GPU: three epochs, three seeds.

The arms are those of configs/sweeps/smollm2_strategyqa.py;
launch/smollm2_studies.sh runs this and the two others.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_strategyqa_gpu.py \\
           --workdir runs/smollm2_strategyqa_gpu --config.task_options.directory=DIR_OF_STRATEGYQA
"""

from distill_jax.configs.sweeps import smollm2_strategyqa
from distill_jax.configs.sweeps.smollm2_gsm8k import on_gpu


def get_sweep():
    """Its arms."""
    return on_gpu(smollm2_strategyqa.get_sweep(epochs=3))
