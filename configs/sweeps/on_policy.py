"""Learning from a larger student's probabilities: at gold solutions, or at one's own.

A large student teaches a small one that already writes a little. All arms continue from the same
small student with about as many tokens: gold, from gold solutions; kd, from the teacher's
probabilities at gold solutions (KL(teacher || student)); gkd, from its probabilities at what the
student writes itself (generalised knowledge distillation, https://arxiv.org/abs/2306.13649), with
the Jensen-Shannon divergence of beta=0.5 or with KL(student || teacher), beta=1. A round is one
answer to each of 32 problems, and one update of about 1,745 tokens.

Usage: python -m distill_jax.sweep --config configs/sweeps/on_policy.py --workdir runs/on_policy
"""

from distill_jax.sweep.definition import Run, Sweep

FEW = {"data.train_problems": 2_000}
# The teacher is a student of twice the width.
TEACHER = Run(
    {
        "model.solver.layers": 2,
        "train.token_budget": 3_500_000,
        "data.packing": True,
        "train.batch_size": 8,
    }
)
SMALL = {
    "model.solver.layers": 2,
    "model.solver.width": 64,
    "optimizer.solver.learning_rate": 2e-3,
    "tokenizer.name": "{0}/tokenizer",
}
FIRST = Run(
    FEW | SMALL | {"train.token_budget": 2_000_000, "data.packing": True, "train.batch_size": 8}
)
GO_ON = (
    FEW
    | SMALL
    | {
        "train.batch_size": 32,
        "optimizer.solver.learning_rate": 1e-3,
        "train.token_budget": 1_500_000,
        "model.solver.init_from": "{1}/checkpoints/solver",
    }
)
CHAINS = {
    "scheme": "chain",
    "data.dev_problems": 0,
    "train.eval_every": 0,
    "evaluation.problems": 1_000,
}
DISTILL = {"loss.teacher": "{0}", "loss.divergence": 1.0, "loss.likelihood": 0.0}
OWN = {"rollouts.rounds": 860, "rollouts.updates": 1, "rollouts.samples": 1}


def get_sweep():
    """Four arms, three seeds."""
    way = TEACHER, FIRST
    return Sweep(
        config="configs/demo.py",
        arms={
            "gold": (*way, Run(GO_ON)),
            "kd": (*way, Run(GO_ON | DISTILL)),
            "gkd_beta=0.5": (*way, Run(GO_ON | DISTILL | OWN | {"loss.beta": 0.5})),
            "gkd_beta=1": (*way, Run(GO_ON | DISTILL | OWN | {"loss.beta": 1.0})),
        },
        seeds=(0, 1, 2),
        overrides=CHAINS,
        baseline="gold",
    )
