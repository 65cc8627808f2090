"""Self-enhanced reasoning training: a student first learns reasoning that it had all along.

A small student from scratch has no reasoning that it does not show, so it is put there: `LATENT`
learns the answer alone for most problems and a long chain for the others, and answers most
questions without a chain. Branches that begin with other tokens than its first choice find the
chains, and become training data by four filters, with the known answers
(https://arxiv.org/abs/2502.12744). Then a teacher's chains, the short ones of the task, are learned
("RD"), by students that were and were not trained on their own.

Usage: python -m distill_jax.sweep --config configs/sweeps/sert.py --workdir runs/sert
"""

from distill_jax.sweep.definition import Make, Run, Sweep

LATENT = {
    "text_format": "sert",
    "data.annotations": ("{0}/annotations.jsonl", "{1}/annotations.jsonl"),
    "data.mixture": (0.3, 0.7),
    "train.token_budget": 2_000_000,
}
BRANCHES = {
    "workdir": "{2}",
    "branches": 3,
    "config.evaluation.problems": 1_000,
    "config.sampling.samples": 2,
    "config.sampling.temperature": 1.0,
    "config.sampling.top_p": 0.95,
    "config.sampling.top_k": 10,
    # In the order in which they are asked. Perplexities below 5 are dropped in the paper; a student
    # that has read nothing but these problems is surer of everything it writes.
    "config.harvest.unwanted": "Question:",
    "config.harvest.least_tokens": 25,
    "config.harvest.most_repetition": 0.2,
    "config.harvest.least_perplexity": 1.05,
    "config.harvest.keep": "least_repetition",
}
OF_1000 = {
    "tokenizer.name": "{2}/tokenizer",
    "data.train_problems": 1_000,
    "train.token_budget": 1_600_000,
}


def gold(style: str) -> Make:
    """The task's own solutions of all problems in one style."""
    settings = {"config": "configs/demo.py", "config.task_options.style": style}
    return Make("distill_jax.annotate", settings | {"config.data.dev_problems": 0})


def get_sweep():
    """Four arms from one student for each of two seeds."""
    parent = (gold("long"), gold("bare"), Run(LATENT))
    branches = Make("distill_jax.run.branches", BRANCHES)

    def distilled(student: str, budget: int = 1_600_000) -> Run:
        """On the teacher's chains of 1,000 problems, from the student in this directory."""
        return Run(
            OF_1000
            | {
                "text_format": "sert_teacher",
                "model.solver.init_from": f"{student}/checkpoints/solver",
                "train.token_budget": budget,
            }
        )

    own = Run(
        OF_1000
        | {
            "text_format": "sert",
            "data.annotations": "{3}/annotations.jsonl",
            "data.false_equations": "count",  # the reasoning is not checked
            "model.solver.init_from": "{2}/checkpoints/solver",
        }
    )
    return Sweep(
        config="configs/demo.py",
        arms={
            "rd": (*parent, distilled("{2}")),
            "rd_as_long": (*parent, distilled("{2}", 3_200_000)),
            "sert": (*parent, branches, own),
            "sert_rd": (*parent, branches, own, distilled("{4}")),
        },
        seeds=(0, 1),
        overrides={
            "scheme": "chain",
            "data.dev_problems": 0,
            "train.eval_every": 0,
            "evaluation.problems": 1_000,
            "sampling.max_turn_tokens": 192,
            "sampling.max_tokens": 192,
            "model.solver.context": 320,
        },
        baseline="rd_as_long",
    )
