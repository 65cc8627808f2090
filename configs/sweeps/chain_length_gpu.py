"""The length study of "When More is Less" (https://arxiv.org/abs/2502.07266) in its own size.

GPT-2 students of 5 to 9 layers, 64 wide per layer, learn sums modulo 10 of 12 to 80 operators with
steps of 1 to 12 for 25,000 batches of about 256 rows (2.7 billion tokens), and are evaluated on 8,
16, ..., 64 operators with each step size given. 8 operators are fewer than were learned.

Differences from the authors' training: rows are packed, 112 of 1,024 tokens in place of 256 that
are padded to the longest; a character is a token, but the step size is 3 or 4 tokens and not 1; and
an answer line ends each chain.

Budget, computed and not measured: about 1.7e17 FLOPs for 6 layers, 15 minutes on an H100 at 20 % of
its peak, and about 1.5 hours for all five. For a GPU.

Usage: python -m distill_jax.sweep --config configs/sweeps/chain_length_gpu.py \\
           --workdir runs/chain_length_gpu
"""

from distill_jax.sweep.definition import Sweep


def get_sweep():
    """Five arms, one seed."""
    arms = {
        f"layers={layers}": {
            "model.solver.layers": layers,
            "model.solver.heads": layers,
            "model.solver.width": 64 * layers,
        }
        for layers in (5, 6, 7, 8, 9)
    }
    return Sweep(
        config="configs/step_size.py",
        arms=arms,
        overrides={
            "task_options.operators": (12, 80),
            "task_options.step_sizes": tuple(range(1, 13)),
            "task_options.train_problems": 216_000,
            "task_options.held_out_problems": 9_600,  # 100 per size and step size
            "evaluation.task_options.operators": (8, 64, 8),
            "model.solver.family": "gpt2",
            "model.solver.context": 1024,
            "optimizer.solver.learning_rate": 1e-4,
            "optimizer.solver.final_learning_rate": 1e-5,
            "optimizer.solver.warmup_steps": 50,
            "optimizer.solver.weight_decay": 0.05,
            "data.dev_problems": 0,
            "train.eval_every": 0,
            "train.save_every": 2_500,
            "train.steps": 25_000,
            "train.batch_size": 112,
            "train.dtype": "bfloat16",
            "sampling.dtype": "bfloat16",
            "sampling.max_turn_tokens": 560,
            "sampling.max_tokens": 576,
        },
    )
