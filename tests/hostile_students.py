"""Two tiny students who learned by heart to write HTML, markup and control characters."""

import json

from experiment_runs import run

QUESTION = "What is 2 and 3?"
SUBQUESTION = "Is <b>this</b> [red]more[/red]?"
SOLUTION = "<img src=x onerror=document.title='hacked'> \x1b[31m \u202e5"
ANSWER = "5"
ARGUMENTS = [
    "--config=configs/jsonl.py",
    "--config.tokenizer.vocab_size=400",
    "--config.train.steps=150",
    "--config.train.batch_size=8",
    "--config.train.log_every=50",
    "--config.data.dev_problems=0",
    "--config.data.max_overlap=1.0",
    "--config.data.templated=True",
    "--config.sampling.slots=4",
    *(
        f"--config.{section}.{student}.{setting}"
        for student in ("decomposer", "solver")
        for section, setting in (
            ("model", "layers=1"), ("model", "heads=2"), ("model", "width=32"),
            ("model", "context=160"), ("optimizer", "learning_rate=0.01"),
            ("optimizer", "warmup_steps=10"),
        )
    ),
]  # fmt: skip


def train(directory):
    """A finished run in `directory`/students; every dialogue is the same."""
    steps = [
        {"subquestion": SUBQUESTION, "solution": SOLUTION},
        {"subquestion": "And then?", "solution": "It is 5."},
    ]
    for split, first in (("train", 0), ("test", 100)):
        rows = [
            {"question": f"What is {n} and {n + 1}?", "answer": ANSWER, "steps": steps}
            for n in range(first, first + 40)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (directory / f"{split}.jsonl").write_text(text, encoding="utf-8")
    workdir = directory / "students"
    options = f"--config.task_options.directory={directory}"
    done = run("main", *ARGUMENTS, options, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    return workdir
