"""Own right answers with real weights: SmolLM2 on SVAMP, one iteration of rejection sampling.

A student of one epoch of MAWPS and ASDiv-A answers its training problems, four samples of each,
with the calculator. Then the published weights learn the gold chains and those of the right answers
that have other equations (https://arxiv.org/abs/2308.01825), in as many steps as `gold` learns the
gold chains. All arms use the calculator.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_rft.py \\
           --workdir runs/smollm2_rft --config.task_options.directory=DIR_OF_SVAMP
(first install as in configs/smollm2_svamp.py)
"""

from distill_jax.sweep.definition import Ask, Run, Sweep

STEPS = 716  # 1.7 epochs of gold chains, at 2 rows of 256 tokens a step
SAMPLES = Ask(
    {
        "evaluation.split": "train",
        "evaluation.problems": 0,
        "sampling.samples": 4,
        "sampling.temperature": 0.7,
    }
)
LAST = {
    "train.epochs": 0,
    "train.steps": STEPS,
    "train.eval_every": 0,
    "data.dev_problems": 0,
    "data.annotations": "{0}/annotations.jsonl",
}
OWN = LAST | {
    "data.annotations": ("{0}/annotations.jsonl", "{1}/predictions.jsonl"),
    "harvest.keep": "different",
}


def get_sweep() -> Sweep:
    """Two arms that share their first student, and that student."""
    first = Run({})
    return Sweep(
        config="configs/smollm2_svamp.py",
        arms={
            "first": (first,),
            "gold": (first, Run(LAST)),
            "rejection_sampling": (first, SAMPLES, Run(OWN)),
        },
        overrides={"scheme": "chain", "sampling.calculator": True},
        baseline="gold",
    )
