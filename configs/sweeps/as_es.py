"""AS-ES learning on the built-in task: chains cut into what restates and what infers.

Two scorers, each trained on half of the problems, read the chains of the other half; a piece is an
inference if its entropy is high (https://arxiv.org/abs/2403.01969). What restates becomes the
subquestion, what infers its solution: two students (dual path) or one (uni path) take turns with
them. `chain` learns the same text uncut, `true` what the equations say is an inference. The AUROC
of the entropy is in the summary.json of the step that cuts.

Usage: python -m distill_jax.sweep --config configs/sweeps/as_es.py --workdir runs/as_es
"""

from distill_jax.sweep.definition import Make, Run, Sweep

SCORER = {"scheme": "chain", "train.steps": 1_000}
SMALL = {
    "model.{}.layers": 2,
    "model.{}.width": 64,
    "model.{}.context": 320,
    "optimizer.{}.learning_rate": 2e-3,
}
UNIFIED = {"students.decomposer": "solver"}


def get_sweep():
    """Four arms, two seeds."""
    scored = (
        Run(SCORER | {"data.fold": "1/2"}),
        Run(SCORER | {"data.fold": "2/2"}),
        Make("distill_jax.run.entropies", {"scorers": ("{0}", "{1}"), "given": "question"}),
    )
    entropies = {"entropies": "{2}/entropies.jsonl"}
    cut = (*scored, Make("distill_jax.annotations.segment", entropies | {"ratio": 1.4}))
    pairs = {"scheme": "socratic", "data.annotations": "{3}/annotations.jsonl"}
    return Sweep(
        config="configs/demo.py",
        arms={
            "chain": (*cut, Run({"scheme": "chain", "data.annotations": "{3}/chains.jsonl"})),
            "dual": (*cut, Run(pairs)),
            "uni": (*cut, Run(pairs | UNIFIED)),
            "true": (
                *scored,
                Make("distill_jax.annotations.segment", entropies | {"by": "equation"}),
                Run(pairs | UNIFIED),
            ),
        },
        seeds=(0, 1),
        overrides={
            "task_options.style": "long",
            "task_options.train_problems": 1_500,
            **{
                key.format(student): value
                for student in ("decomposer", "solver")
                for key, value in SMALL.items()
            },
            "data.packing": True,
            "train.batch_size": 8,
            "data.dev_problems": 0,
            "train.eval_every": 0,
            "train.token_budget": 3_000_000,
            "evaluation.problems": 1_000,
            "sampling.max_turn_tokens": 128,
            "sampling.max_tokens": 256,
        },
        baseline="chain",
    )
