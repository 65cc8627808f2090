"""Should a small student learn only what is easy for its teacher?

The data of "When in Doubt, Summon the Titans" (https://arxiv.org/abs/2110.10305). The demo's solver
learns chains, and answers the first 4,000 training problems eight times each. A
smaller student then learns the chains of all of these, or only those of the easy ones (right, with
a margin of 0.5 or more between the two most frequent answers), or these and to answer `?` to the
others. All students read the same number of tokens, so fewer problems are met more often: the
report's table "Training data" has the epochs. What the student is unsure of goes to the teacher:

    python -m distill_jax.combine --rule switch runs/titans/easy-seed0/2 runs/titans/all-seed0/0 \\
        --threshold 0.5 --output combined/easy

Budget: 43 minutes on one core of an AMD EPYC, a part of it beside another program.

Usage: python -m distill_jax.sweep --config configs/sweeps/titans.py --workdir runs/titans
"""

from distill_jax.sweep.definition import Ask, Run, Sweep

PROBLEMS = 4_000
SMALL = {
    "tokenizer.name": "{0}/tokenizer",
    "model.solver.layers": 2,
    "model.solver.width": 64,
    "data.train_problems": PROBLEMS,
    "train.token_budget": 2_500_000,
}
EASY = {"easy.files": ("{1}/predictions.jsonl",), "easy.margin": 0.5}


def get_sweep():
    """Three arms, three seeds."""
    teacher = Run({"train.token_budget": 1_500_000})
    asked = Ask(
        {
            "evaluation.split": "train",
            "evaluation.problems": PROBLEMS,
            "sampling.samples": 8,
            "sampling.temperature": 0.7,
        }
    )
    return Sweep(
        config="configs/demo.py",
        arms={
            "all": (teacher, asked, Run(SMALL)),
            "easy": (teacher, asked, Run(SMALL | EASY)),
            "abstain": (teacher, asked, Run(SMALL | EASY | {"easy.hard": "abstain"})),
        },
        seeds=(0, 1, 2),
        overrides={
            "scheme": "chain",
            "task_options.difficulty": "easy",  # harder ones are beyond the small student
            "data.dev_problems": 0,
            "data.packing": True,
            "train.batch_size": 8,
            "train.eval_every": 0,
            "evaluation.problems": 1_000,
        },
    )
