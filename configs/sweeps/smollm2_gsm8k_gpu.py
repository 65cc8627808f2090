"""GSM8K with SmolLM2 on a GPU: three epochs, three seeds.

The arms are those of configs/sweeps/smollm2_gsm8k.py;
launch/smollm2_studies.sh runs this and the two others.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_gsm8k_gpu.py \\
           --workdir runs/smollm2_gsm8k_gpu --config.task_options.directory=DIR_OF_GSM8K
"""

from distill_jax.configs.sweeps import smollm2_gsm8k


def get_sweep():
    """Its arms."""
    return smollm2_gsm8k.on_gpu(smollm2_gsm8k.get_sweep(epochs=3))
