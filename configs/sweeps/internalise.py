"""Do students that learned with subquestions still need them? Their words are taken away.

From one student that asks and solves, per seed: `stepwise` takes the words of the subquestions away
one after the other (https://arxiv.org/abs/2405.14838), `abrupt` all at once; `nothing_learned` is
that student as it is. All of these are asked with nothing given (sampling.given=nothing), `chain`
is trained from the beginning with the tokens of both runs, and `socratic` writes its subquestions.
With a budget of 4 million tokens all but `nothing_learned` solve 99 %, so nothing can be compared.

Usage: python -m distill_jax.sweep --config configs/sweeps/internalise.py --workdir runs/internalise
"""

from distill_jax.sweep.definition import Ask, Run, Sweep

BUDGET = 1_500_000
ASKING = {"students.decomposer": "solver", "train.token_budget": BUDGET}
WITHOUT = {
    "tokenizer.name": "{0}/tokenizer",
    "model.solver.init_from": "{0}/checkpoints/solver",
    "optimizer.solver.learning_rate": 1e-3,
    "data.removal.role": "decomposer",
    "data.removal.all_beyond": 40,
    "sampling.given": "nothing",
}


def get_sweep():
    """Five arms, two seeds."""
    asking = Run(ASKING)
    return Sweep(
        config="configs/demo.py",
        arms={
            "socratic": (asking,),
            "nothing_learned": (asking, Ask({"sampling.given": "nothing"})),
            # An epoch is 2,500 steps, this run 1,120: one more token every 20, all after 800.
            "stepwise": (asking, Run(ASKING | WITHOUT | {"data.removal.per_epoch": 125.0})),
            "abrupt": (
                asking,
                Run(ASKING | WITHOUT | {"data.removal.per_epoch": 0.0, "data.removal.start": 40}),
            ),
            "chain": {"scheme": "chain", "train.token_budget": 2 * BUDGET},
        },
        seeds=(0, 1),
        overrides={
            "model.solver.layers": 2,
            "model.solver.width": 64,
            "optimizer.solver.learning_rate": 2e-3,
            "data.packing": True,
            "train.batch_size": 8,
            "data.dev_problems": 0,
            "train.eval_every": 0,
            "evaluation.problems": 1_000,
        },
        baseline="chain",
    )
