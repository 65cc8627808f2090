"""An evaluation that is there already: is it still right, and what it is by today's answers."""

import pathlib
from typing import Any, NamedTuple

from distill_jax import records
from distill_jax.dialogues.predict import grade_again
from distill_jax.errors import UserError
from distill_jax.evaluation import runs
from distill_jax.run.evaluation_problems import Asked, Made, ask
from distill_jax.run.evaluation_result import Sampling, made_from, result_of
from distill_jax.run.run import Run
from distill_jax.run.training_annotations import read_stored
from distill_jax.text.tokenizer import load_tokenizer
from distill_jax.workdir import read_json

# What there is to do about it.
MISSING, CURRENT, UNREADABLE = "missing", "current", "unreadable"
OTHER_QUESTIONS, OTHER_GRADES = "other questions", "other grades"


class Standing(NamedTuple):
    """One of the words above; for UNREADABLE why its data cannot be read."""

    word: str
    reason: str = ""

    @property
    def stays(self) -> bool:
        """Whether its report is shown as it is."""
        return self.word in (CURRENT, UNREADABLE)


def standing(run: Run, directory: pathlib.Path, facts: dict[str, Any]) -> Standing:
    """How the evaluation in a directory stands to the data; `facts` are training_data.json.

    It is not known which questions an older report was of: its predictions say it.
    """
    report_path = directory / "report.json"
    if not report_path.exists():
        return Standing(MISSING)
    report = read_json(report_path)
    try:
        asked = _asked(run, facts)
        now = made_from(run, asked)
    except (UserError, OSError) as error:
        return Standing(UNREADABLE, str(error))
    before = report.get("made_from")
    if before == now:
        return Standing(CURRENT)
    if before is None:
        old = [(p.id, p.question) for p in runs.read_predictions(directory, report)]
        same = old == [(problem.id, problem.question) for problem, _ in asked.dialogues]
    else:
        same = before["questions"] == now["questions"]
    return Standing(OTHER_GRADES if same else OTHER_QUESTIONS)


def regraded(
    run: Run, directory: pathlib.Path, facts: dict[str, Any]
) -> tuple[list[records.Prediction], dict[str, Any], int]:
    """(predictions, report.json, how many are right or wrong otherwise than before)."""
    report, asked = read_json(directory / "report.json"), _asked(run, facts)
    old = runs.read_predictions(directory, report)
    grade = run.evaluated.grade
    new = [
        grade_again(problem, prediction, asked.reader, grade, script)
        for (problem, script), prediction in zip(asked.dialogues, old, strict=True)
    ]
    sampling = Sampling(
        report["checkpoint_steps"],
        report["seconds"],
        report["sampling"]["slots"],
        report.get("values_filled_in", 0),
    )
    predictions, result = result_of(run, asked, new, sampling)
    if "combination" in report:  # who has answered together
        result["combination"] = report["combination"]
    changed = sum(a.correct != b.correct for a, b in zip(old, predictions, strict=True))
    return predictions, result, changed


def _asked(run: Run, facts: dict[str, Any]) -> Asked:
    train, dev = read_stored(run.workdir)
    tokenizer = load_tokenizer(str(run.workdir.tokenizer))
    return ask(run, Made(train, dev, tokenizer, facts))
