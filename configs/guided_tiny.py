"""A planner, a decomposer and a solver on the built-in task: guidance, on a laptop's CPU.

The planner says which equations will be needed; then decomposer and solver take turns. Three
students share the demo's budget. With --config.scheme=socratic_operators the planner says only the
operators; with --config.scheme=socratic there is no planner. The second command evaluates the
trained students with the gold plan:

Usage: python -m distill_jax.main --config configs/guided_tiny.py --workdir runs/guided
       python -m distill_jax.evaluate --workdir runs/guided --config.sampling.given=plan
"""

from distill_jax.configs.demo import get_config as demo_config


def get_config():
    """The config."""
    config = demo_config()
    config.scheme = "socratic_equations"
    return config
