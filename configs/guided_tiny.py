"""A planner, a decomposer and a solver on the built-in task: guidance, on a laptop's CPU.

The planner says which equations will be needed, then decomposer and solver take turns. The demo's
budget is shared by three students. Only the operators: --config.scheme=socratic_operators; the
same without a planner: --config.scheme=socratic. When it is trained, what the gold plan would give:

Usage: python -m distill_jax.main --config configs/guided_tiny.py --workdir runs/guided
       python -m distill_jax.evaluate --workdir runs/guided --config.sampling.given=plan
"""

from distill_jax.configs.demo import get_config as demo_config


def get_config():
    """The config."""
    config = demo_config()
    config.scheme = "socratic_equations"
    return config
