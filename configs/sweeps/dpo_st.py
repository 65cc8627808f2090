"""Self-training whose samples come from a student that prefers right answers (DPO-ST).

The recipe of https://arxiv.org/abs/2407.18248 on the built-in task, in three iterations. Each one
samples training problems, learns to prefer right answers to wrong ones, samples again, and trains a
new student from random parameters on the gold chains and on what was right. Pairs are made of the
samples of all such students so far, and what is learned is from all preferring students so far.
`st` is the same without preferences: it samples from the students themselves. `gold` learns the
gold chains alone. All arms end in a run with one budget of tokens.

Numbers of samples, pairs, their likeness, steps and beta are the paper's. Learning rates are not:
in the paper that of preferences is 1/430 of the other one, and so it is here.

Usage: python -m distill_jax.sweep --config configs/sweeps/dpo_st.py --workdir runs/dpo_st
"""

from distill_jax.configs.sweeps.self_training import (
    FEW,
    FIRST,
    GOLD,
    LAST,
    ON_TRAINING_PROBLEMS,
)
from distill_jax.sweep.definition import Ask, Run, Step, Sweep

ITERATIONS = 3
FOR_PAIRS = Ask(
    ON_TRAINING_PROBLEMS | {"sampling.samples": 5, "sampling.temperature": 0.7, "sampling.seed": 1}
)
TO_LEARN = Ask(ON_TRAINING_PROBLEMS | {"sampling.samples": 3, "sampling.temperature": 0.7})
PREFER = {
    "tokenizer.name": "{0}/tokenizer",
    "data.annotations": GOLD,  # right answers, too
    "loss.preference": 1.0,
    "loss.likelihood": 0.0,
    "train.steps": 150,
    "train.batch_size": 32,
    "optimizer.solver.learning_rate": 2.3e-6,
    "optimizer.solver.final_learning_rate": 2.3e-7,
    "optimizer.solver.warmup_steps": 15,
}


def learned(*samples: int) -> Run:
    """A new student, from the gold chains and what is right in the answers of these steps."""
    own = (f"{{{step}}}/predictions.jsonl" for step in samples)
    # An answer is a copy if it shares 0.7 of its tokens with another one.
    return Run(LAST | {"data.annotations": (GOLD, *own), "data.near": 0.7, "data.near_words": 1})


def preferring(student: int, *samples: int) -> Run:
    """The student of a step, after it has learned from pairs of the answers of these steps."""
    return Run(
        PREFER
        | {
            "model.solver.init_from": f"{{{student}}}/checkpoints/solver",
            "preferences.files": tuple(f"{{{step}}}/predictions.jsonl" for step in samples),
        }
    )


def self_training() -> tuple[Step, ...]:
    """Three iterations without preferences."""
    steps: list[Step] = [Run(FIRST)]
    asked: list[int] = []
    for _ in range(ITERATIONS):
        asked.append(len(steps))
        steps += [TO_LEARN, learned(*asked)]
    return tuple(steps)


def with_preferences() -> tuple[Step, ...]:
    """Three iterations of four steps: sample, prefer, sample, learn."""
    steps: list[Step] = [Run(FIRST)]
    for_pairs: list[int] = []
    asked: list[int] = []
    for _ in range(ITERATIONS):
        student = len(steps) - 1
        for_pairs.append(student + 1)
        asked.append(student + 3)
        steps += [FOR_PAIRS, preferring(student, *for_pairs), TO_LEARN, learned(*asked)]
    return tuple(steps)


def get_sweep() -> Sweep:
    """Three arms, two seeds."""
    return Sweep(
        config="configs/demo.py",
        arms={
            "gold": (Run(FIRST), Run(LAST | {"data.annotations": GOLD})),
            "st": self_training(),
            "dpo_st": with_preferences(),
        },
        seeds=(0, 1),
        overrides=FEW,
        baseline="st",
    )
