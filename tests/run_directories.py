"""Directories of finished runs, as the commands leave them, for tests of what reads them."""

import json

from distill_jax.evaluation.summary import Circumstances, summarise
from distill_jax.records import Cost, Prediction, Turn, to_json
from distill_jax.workdir import Workdir, write_json, write_text

ARITHMETIC = "distill_jax.tasks.arithmetic"
SAMPLING = {
    "temperature": 0.0,
    "samples": 1,
    "calculator": False,
    "given": "",
    "given_steps": 0,
    "slots": 8,
}
EVALUATION = {"split": "test", "checkpoint": "last", "problems": 0}


def identity(seed=0, scheme="socratic", task=ARITHMETIC, **changes):
    """The flat part of a config that decides what the students are."""
    options = {"difficulty": "easy", "seed": 0, "train_problems": 5, "test_problems": 12}
    options = {f"task_options.{key}": value for key, value in options.items()}
    base = {"scheme": scheme, "seed": seed, "task": task, "data.dev_split": "", "train.steps": 40}
    return base | (options if task == ARITHMETIC else {}) | changes


def solved(problem, steps, correct=True, status="finished", log_probability=-0.5, flops=1000):
    """A prediction that asks and solves `steps`, [(question, solution), ...]."""
    turns = []
    for question, solution in steps:
        turns.append(Turn("decomposer", question, 9, -0.25))
        turns.append(Turn("solver", solution, 7, log_probability))
    answer = problem.answer if correct else "999"
    return Prediction(
        id=problem.id,
        question=problem.question,
        answer=problem.answer,
        completion="\n".join(turn.text for turn in turns),
        turns=tuple(turns),
        prediction=None if status == "unparsed" else answer,
        correct=correct,
        scores={"strict": False, "flexible": correct, "normalised": correct},
        status=status,
        attributes=problem.attributes,
        answered_by="students",
        cost=Cost(prompt_tokens=20, tokens=16 * len(steps), flops=flops),
    )


def write_run(path, predictions, *, split="test", sampling=None, tokens=1000, **changes):
    """A run whose headline evaluation has these predictions; a second evaluation lies beside it.

    `tokens` were fed to each of two students, the second of which stopped half-way.
    """
    workdir = Workdir(path)
    facts = identity(**changes)
    workdir.write_config({}, facts)
    students = {
        "decomposer": {"steps": 40, "tokens": tokens, "parameters": 500, "finished_at": 40},
        "solver": {"steps": 40, "tokens": tokens, "parameters": 700, "finished_at": 20},
    }
    write_json(workdir.training_data, students)
    circumstances = Circumstances(
        task=facts["task"],
        split=split,
        checkpoint_steps={"decomposer": 40, "solver": 20},
        identity=facts,
        seed=facts["seed"],
        seconds=1.0,
        sampling=SAMPLING | (sampling or {}),
    )
    report = summarise(predictions, {}, circumstances)
    report |= {"problems": len(predictions), "evaluation": EVALUATION | {"split": split}}
    for name, content in (("other", report | {"split": "dev"}), ("headline", report)):
        directory = workdir.evaluations / f"{name}-40-20-0123abcd"
        rows = predictions if name == "headline" else predictions[:1]
        write_text(directory / "predictions.jsonl", "".join(to_json(p) + "\n" for p in rows))
        write_json(directory / "report.json", content)
    write_json(workdir.report_json, report)
    return str(path)


def write_evaluation(run, name, predictions, *, split, **changes):
    """One more evaluation of a run, as its headline but for these; returns its directory."""
    report = json.loads(Workdir(run).report_json.read_text())
    circumstances = Circumstances(
        split=split,
        **{key: report[key] for key in ("task", "checkpoint_steps", "identity", "seed")},
        seconds=1.0,
        sampling=report["sampling"] | changes,
    )
    summary = summarise(predictions, {}, circumstances)
    evaluation = {"problems": len(predictions), "evaluation": EVALUATION | {"split": split}}
    directory = Workdir(run).evaluations / name
    write_text(directory / "predictions.jsonl", "".join(to_json(p) + "\n" for p in predictions))
    write_json(directory / "report.json", summary | evaluation)
    return str(directory)


def change_json(path, **changes):
    """Replace keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
