"""What report.json says of an evaluation, whether its answers are new or were graded again."""

import dataclasses
import hashlib
import inspect
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import distill_jax
from distill_jax import records
from distill_jax.dialogues import given
from distill_jax.dialogues.sampler import to_keep
from distill_jax.evaluation import guessers, summary
from distill_jax.run.evaluation_problems import Asked, asks_training_problems
from distill_jax.run.run import Run

_PACKAGE = pathlib.Path(distill_jax.__file__).parent
# What reads answers for the tasks.
_GRADERS = ("tasks/grading.py", "tasks/math_answers.py", "tasks/math_verify_process.py")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the dialogues came about, which grading them again does not change."""

    checkpoint_steps: Mapping[str, int]
    seconds: float
    slots: int
    filled_in: int  # values of the calculator


def result_of(
    run: Run, asked: Asked, predictions: Sequence[records.Prediction], sampling: Sampling
) -> tuple[list[records.Prediction], dict[str, Any]]:
    """(predictions, each with what was trained on of it; the content of report.json)."""
    predictions = [
        dataclasses.replace(p, trained_on=asked.trained_on.get(p.question, "")) for p in predictions
    ]
    config, settings = run.config, run.sampling
    guesses = guessers.guess(
        [problem for problem, _ in asked.dialogues],
        run.task.load(config.data.train_split),
        run.evaluated.grade,
    )
    circumstances = summary.Circumstances(
        task=run.evaluated.name,
        split=config.evaluation.split,
        checkpoint_steps=sampling.checkpoint_steps,
        identity=run.identity(),
        seed=config.seed,
        seconds=sampling.seconds,
        sampling=to_keep(config.sampling.to_dict()) | {"slots": sampling.slots},
        checkpoint_rule=config.evaluation.checkpoint,
        training_problems=asks_training_problems(run),
        origins=asked.origins.to_json(),
    )
    result = summary.summarise(predictions, guesses, circumstances)
    result |= {
        "problems": len(asked.problems),
        "evaluation": config.evaluation.to_dict(),
        "made_from": made_from(run, asked),
    }
    if settings.given:
        result["ended_in_given"] = _ended_in_given(asked, predictions)
    if settings.calculator:
        result["values_filled_in"] = sampling.filled_in
    return predictions, result


def made_from(run: Run, asked: Asked) -> dict[str, str]:
    """A hash each of what was asked, of the known answers, and of the program that compares them.

    The program is the source of the task, of modules beside it that it names, and of what the tasks
    of this package share.
    """
    dialogues = asked.dialogues
    return {
        "questions": _digest([[p.id, p.question, *script] for p, script in dialogues]),
        "answers": _digest([p.answer for p, _ in dialogues]),
        "grader": _digest(path.read_text("utf-8") for path in _sources(run.evaluated.module)),
    }


def _sources(task: Any) -> list[pathlib.Path]:
    own = pathlib.Path(task.__file__)
    named = {inspect.getmodule(value) for value in vars(task).values()}
    files = {vars(module).get("__file__") for module in named if module is not None}
    beside = [path for path in map(pathlib.Path, filter(None, files)) if path.parent == own.parent]
    shared = [*(_PACKAGE / name for name in _GRADERS), *(_PACKAGE / "text").glob("*.py")]
    return sorted({own, *beside, *shared})


def _digest(values: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()


def _ended_in_given(asked: Asked, predictions: Sequence[records.Prediction]) -> int:
    """How many dialogues, those of all samples, were stopped in what was given of them."""
    return sum(
        given.ended_in_given(script, dialogue.turns, dialogue.status, asked.reader.rules)
        for (_, script), prediction in zip(asked.dialogues, predictions, strict=True)
        for dialogue in prediction.samples or (prediction,)
    )
