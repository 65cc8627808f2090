"""Rewards with real weights: SmolLM2 on SVAMP, right answers, and right answers that are short.

A student of GPT-4o's or another teacher's chains for SVAMP's 700 training problems answers 16 of
them in each of 40 rounds, 8 times each, and learns from what it wrote, as in
configs/sweeps/rloo_length.py. FILE has the teacher's annotations (docs/annotating.md). The test is
the other 300 problems.

Usage: python -m distill_jax.sweep --config configs/sweeps/smollm2_rloo.py \\
           --workdir runs/smollm2_rloo --config.task_options.directory=DIR_OF_SVAMP \\
           --config.data.annotations=FILE
(first install as in configs/smollm2_gsm8k.py)
"""

from distill_jax.sweep.definition import Run, Sweep

FIRST = Run(
    {
        "data.seq_len": 1024,
        "train.batch_size": 2,
        "train.accumulation": 2,
        "train.epochs": 3,
        "train.eval_every": 0,
    }
)


def rounds(alpha: float) -> Run:
    """The student of FIRST learns from its own samples."""
    return Run(
        {
            "model.solver.init_from": "{0}/checkpoints/solver",
            "tokenizer.name": "{0}/tokenizer",
            "loss.policy": 1.0,
            "loss.likelihood": 0.0,
            "rollouts.rounds": 40,
            "rollouts.problems": 16,
            "rollouts.samples": 8,
            "rollouts.max_turn_tokens": 160,
            "rollouts.max_tokens": 160,
            "rollouts.reward_options": f"alpha={alpha}",
            "rollouts.reference_kl": 1e-3,
            "data.packing": False,
            "data.seq_len": 0,
            "train.epochs": 0,
            "train.batch_size": 64,
            "train.accumulation": 8,
            "train.eval_every": 0,
            "train.save_every": 10,
            "optimizer.solver.learning_rate": 1e-5,
            "optimizer.solver.final_learning_rate": 1e-5,
            "optimizer.solver.warmup_steps": 4,
            "optimizer.solver.b2": 0.95,
            "optimizer.solver.weight_decay": 0.0,
        }
    )


def get_sweep() -> Sweep:
    """The student before, and after rounds without and with a price for length."""
    return Sweep(
        config="configs/smollm2_svamp_pairs.py",
        arms={"sft": (FIRST,)} | {f"alpha={alpha}": (FIRST, rounds(alpha)) for alpha in (0.0, 0.4)},
        overrides={
            "scheme": "chain",
            "data.dev_problems": 0,
            "data.annotated_only": True,
            "sampling.max_turn_tokens": 160,
            "sampling.max_tokens": 160,
        },
        baseline="sft",
    )
