"""Learning to be short from own samples: rewards with a penalty for length, on the built-in task.

The experiment of "Training Language Models to Reason Efficiently"
(https://arxiv.org/abs/2502.04463), with a small student: it first learns from long and short
chains, half of the problems each, so that it writes both. Then it answers training problems in
rounds, 32 problems with 8 samples each, and learns from what it wrote: a right answer is worth 1,
less up to `alpha` the longer it is among the right ones of its problem. With alpha=0 only right and
wrong count; sft is the student before. As in the paper: leave-one-out advantages, whitened, two
updates a round, a constant learning rate after a short warm-up, and a small price for leaving the
student of the beginning. The learning rates of the paper are for models of billions of parameters;
calibrate this one once.

The same with other students: --config.scheme=socratic, where decomposer and solver learn one after
the other.

Usage: python -m distill_jax.sweep --config configs/sweeps/rloo_length.py \\
           --workdir runs/rloo_length
"""

from distill_jax.sweep.definition import Make, Run, Sweep

ALPHAS = (0.0, 0.1, 0.4)
PROBLEMS = {"task_options.train_problems": 5_000, "data.dev_problems": 0}


def chains(style):
    """The gold chains of all problems in one style."""
    changes = PROBLEMS | {"task_options.style": style}
    overrides = {f"config.{key}": value for key, value in changes.items()}
    return Make("distill_jax.annotate", {"config": "configs/demo.py", **overrides})


FIRST = Run(
    {
        "data.annotations": ("{0}/annotations.jsonl", "{1}/annotations.jsonl"),
        "data.mixture": (0.5, 0.5),
        "train.token_budget": 3_000_000,
    }
)


def rounds(alpha):
    """The student of FIRST learns from its own samples."""
    changes = {
        "data.annotations": "{2}/annotations.jsonl",
        "tokenizer.name": "{2}/tokenizer",
        "loss.policy": 1.0,
        "loss.likelihood": 0.0,
        "rollouts.rounds": 60,
        "rollouts.reward_options": f"alpha={alpha}",
        "rollouts.reference_kl": 1e-3,
        "train.batch_size": 128,
        "train.log_every": 2,
        "train.save_every": 20,
    }
    for student in ("decomposer", "solver"):
        changes |= {
            f"model.{student}.init_from": "{2}/checkpoints/" + student,
            f"optimizer.{student}.learning_rate": 1e-4,
            f"optimizer.{student}.final_learning_rate": 1e-4,
            f"optimizer.{student}.warmup_steps": 4,
            f"optimizer.{student}.b2": 0.95,
            f"optimizer.{student}.weight_decay": 0.0,
        }
    return Run(changes)


def get_sweep():
    """Four arms, two seeds: all arms of a seed share its first student."""
    way = chains("long"), chains("short"), FIRST
    arms = {"sft": way} | {f"alpha={alpha}": (*way, rounds(alpha)) for alpha in ALPHAS}
    return Sweep(
        config="configs/demo.py",
        arms=arms,
        seeds=(0, 1),
        overrides=PROBLEMS
        | {
            "scheme": "chain",
            "train.eval_every": 0,
            "evaluation.problems": 1_000,
            **{f"{section}.max_turn_tokens": 160 for section in ("sampling", "rollouts")},
            **{f"{section}.max_tokens": 160 for section in ("sampling", "rollouts")},
        },
        baseline="sft",
    )
