"""Finished runs as they lie on disk: their evaluations, and what they were made from."""

import collections
import dataclasses
import itertools
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation.breakdowns import written_tokens
from distill_jax.records import (
    Annotation,
    Prediction,
    annotation_from_dict,
    prediction_from_dict,
    read_json_lines,
)
from distill_jax.settings import task_module
from distill_jax.workdir import Workdir, read_json


@dataclasses.dataclass(frozen=True)
class Run:
    """One run with the predictions of its headline evaluation, or of another one of its own."""

    name: str
    path: pathlib.Path
    report: dict[str, Any]  # report.json
    facts: dict[str, Any]  # training_data.json: {student: facts}
    predictions: tuple[Prediction, ...]
    # In what another evaluation of the run differs from its headline; "" = the headline itself.
    variant: str = ""
    # Of each epoch, parity_test_selection.json; () = not looked at.
    parity_epochs: tuple[dict[str, Any], ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """The flat part of the config that decides what the students are."""
        return self.report["identity"]

    @property
    def students(self) -> list[str]:
        """The students that were evaluated."""
        return list(self.report["checkpoint_steps"])

    @property
    def given(self) -> str:
        """config.sampling.given of the evaluation."""
        return self.report["sampling"]["given"]

    @property
    def accuracy(self) -> float:
        """Of the predictions, by the headline extractor; there is at least one."""
        return sum(p.correct for p in self.predictions) / len(self.predictions)

    def trained_tokens(self) -> int:
        """Non-padding tokens fed, summed over students, up to where each of them stopped."""
        facts = [self.facts[student] for student in self.students]
        return sum(
            round(each["tokens"] * each.get("finished_at", each["steps"]) / each["steps"])
            for each in facts
        )

    def generated_tokens(self) -> int:
        """Tokens written for the predictions, those of all samples included."""
        return sum(
            sum(sample.tokens for sample in p.samples) if p.samples else written_tokens(p)
            for p in self.predictions
        )

    def arm(self) -> str:
        """Equal for runs that differ in nothing but their seed."""
        identity = {key: value for key, value in self.identity.items() if key != "seed"}
        sampling = {k: v for k, v in self.report["sampling"].items() if k not in ("slots", "seed")}
        evaluation = [self.report[key] for key in ("task", "split", "checkpoint_rule")]
        return json.dumps([identity, sampling, evaluation], sort_keys=True)


def read_runs(paths: Sequence[str], names: Sequence[str] = ()) -> list[Run]:
    """The runs in these directories, named as said, or else after their directories.

    Runs of one name get their seed added. Raises UserError where a directory holds no evaluated
    run, where there are not as many names as paths, and where two runs would have one name.
    """
    if names and len(names) != len(paths):
        raise UserError(f"--names has {len(names)} names for {len(paths)} runs: give one each")
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise UserError("a run is given twice: name every directory once")
    labels = names or [pathlib.Path(path).resolve().name for path in paths]
    runs = [_read_run(path, label) for path, label in zip(paths, labels, strict=True)]
    counts = collections.Counter(run.name for run in runs)
    runs = [
        dataclasses.replace(run, name=f"{run.name} seed {run.report['seed']}")
        if counts[run.name] > 1
        else run
        for run in runs
    ]
    for name, times in collections.Counter(run.name for run in runs).items():
        if times > 1:
            raise UserError(f"{times} runs would be called {name!r}: tell them apart with --names")
    return runs


def on_common_problems(runs: Sequence[Run]) -> list[Run]:
    """The runs with their predictions of the problems that all of them answered, in one order.

    A problem is the same where id, question and answer are. Raises UserError where there is none.
    """
    answered = [{problem_key(p): p for p in run.predictions} for run in runs]
    common = [key for key in answered[0] if all(key in each for each in answered)]
    if not common:
        tasks = ", ".join(f"{r.name} ({r.report['task']} {r.report['split']})" for r in runs)
        raise UserError(f"no problem was answered by all runs: compare runs of one task: {tasks}")
    return [
        dataclasses.replace(run, predictions=tuple(each[key] for key in common))
        for run, each in zip(runs, answered, strict=True)
    ]


def arms(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """{name: runs} of the runs that differ only in their seed, in the order of the runs.

    An arm is called after what the names of its runs begin with in common.
    """
    groups: dict[str, list[Run]] = collections.defaultdict(list)
    for run in runs:
        groups[run.arm()].append(run)
    named: dict[str, list[Run]] = {}
    for members in groups.values():
        name = members[0].name
        if len(members) > 1:
            ending = f": {members[0].variant}" if members[0].variant else ""
            names = [run.name.removesuffix(ending) for run in members]
            name = (_shared_beginning(names) or names[0]) + ending
        while name in named:
            name += "'"
        named[name] = members
    return named


def _shared_beginning(names: Sequence[str]) -> str:
    """["a-seed0", "a-seed1"] -> "a"."""
    first, last = min(names), max(names)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    # The seeds themselves may begin alike: seed10, seed11.
    return re.sub(r"[-_. ]*(?:seed\d*|s)?[-_. ]*$", "", "".join(a for a, _ in same))


def gold_annotations(run: Run) -> dict[str, Annotation]:
    """{id: gold annotation} of the problems of a run, as far as question and id fit.

    From the run's held-out dev annotations, or else from its task; {} where the evaluation was of
    a task whose options the run does not record. Raises UserError where the task cannot be read.
    """
    workdir, split = Workdir(run.path), run.report["split"]
    asked = {p.id: p.question for p in run.predictions}
    annotations: list[Annotation] = []
    if run.identity["task"] == run.report["task"]:
        held_out = split == "dev" and not run.identity["data.dev_split"]
        if held_out and workdir.dev_annotations.exists():
            rows = read_json_lines(workdir.dev_annotations)
            annotations = [annotation_from_dict(row) for _, row in rows]
        else:
            prefix = "task_options."
            options = {
                key.removeprefix(prefix): value
                for key, value in run.identity.items()
                if key.startswith(prefix)
            }
            task = task_module.import_task(run.report["task"])
            options = task_module.check_options(task, run.report["task"], options)
            annotations = task.load_annotations(split, **options)
    return {a.id: a for a in annotations if asked.get(a.id) == a.question}


def with_gold_steps(run: Run, gold: Mapping[str, Annotation]) -> Run:
    """Problems that do not say their number of gold steps, such as held-out ones, get it."""
    predictions = tuple(
        dataclasses.replace(p, attributes={"steps": len(gold[p.id].steps), **p.attributes})
        if p.id in gold
        else p
        for p in run.predictions
    )
    return dataclasses.replace(run, predictions=predictions)


def _read_run(path: str, name: str) -> Run:
    workdir = Workdir(path)
    if not workdir.report_json.exists():
        finish = f"its own command, python -m distill_jax.main --config ... --workdir {path}"
        what = f"is not evaluated yet: finish it ({finish})" if workdir.config.exists() else (
            "holds no run: give the --workdir of one"
        )  # fmt: skip
        raise UserError(f"{path} {what}")
    workdir.check_version()
    report = read_json(workdir.report_json)
    # The headline is a copy of the report of one of the evaluations.
    found = sorted(workdir.evaluations.glob("*/report.json"))
    directory = next((file.parent for file in found if read_json(file) == report), None)
    if directory is None:
        raise UserError(
            f"{workdir.report_json} is that of none of {workdir.evaluations}/*: run "
            f"python -m distill_jax.main with its --config and --workdir {path} again"
        )
    return read_evaluation(directory, name)


def read_evaluation(directory: pathlib.Path, name: str) -> Run:
    """A run with the predictions of the evaluation RUN/evaluations/NAME; UserError where they are
    damaged."""
    workdir = Workdir(directory.parents[1])
    report = read_json(directory / "report.json")
    predictions = read_predictions(directory, report)
    facts, parity = read_json(workdir.training_data), workdir.parity_test_selection
    epochs = read_json(parity)["epochs"] if parity.exists() else ()
    return Run(name, workdir.path, report, facts, predictions, parity_epochs=tuple(epochs))


def problem_key(prediction: Prediction) -> tuple[str, str, str]:
    """A problem is the same where these are."""
    return prediction.id, prediction.question, prediction.answer


def read_predictions(directory: pathlib.Path, report: dict[str, Any]) -> tuple[Prediction, ...]:
    """Those of an evaluation; UserError where they are not as many as its report says."""
    path, predictions = directory / "predictions.jsonl", []
    for number, row in read_json_lines(path):
        try:
            predictions.append(prediction_from_dict(row))
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}:{number}: not a prediction ({error}): delete its directory and evaluate "
                "again"
            ) from None
    if len(predictions) != report["n"] or not predictions:
        raise UserError(
            f"{directory}: {len(predictions)} predictions, {report['n']} in report.json: delete "
            "this directory and evaluate again"
        )
    return tuple(predictions)
