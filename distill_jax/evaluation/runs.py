"""Finished runs on the disk: their evaluations, and what they were made from."""

import collections
import dataclasses
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.records import (
    Annotation,
    Grade,
    Prediction,
    prediction_from_dict,
    read_annotations,
    read_json_lines,
)
from distill_jax.settings import task_module
from distill_jax.settings.command_line import to_type
from distill_jax.workdir import Workdir, local_path, read_facts, read_json


@dataclasses.dataclass(frozen=True)
class Run:
    """One run with the predictions of its headline evaluation, or of another one of its own; or a
    combination of several evaluations, which has the students of all of them."""

    name: str
    path: pathlib.Path  # the run's directory, or that of a combination of evaluations
    evaluation: pathlib.Path  # the directory of predictions.jsonl and report.json
    report: dict[str, Any]  # report.json
    facts: dict[str, Any]  # training_data.json: {student: facts}
    predictions: tuple[Prediction, ...]
    # How another evaluation of the run differs from its headline; "" = the headline itself.
    variant: str = ""
    # Of each epoch, from parity_test_selection.json; () = not measured.
    parity_epochs: tuple[dict[str, Any], ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """The flat part of the config that determines the students."""
        return self.report["identity"]

    @property
    def students(self) -> list[str]:
        """The students that were evaluated; all members' if they answered together."""
        combined = self.report.get("combination")
        return list(combined["students"] if combined else self.report["checkpoint_steps"])

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
        return trained_tokens(self.facts[student] for student in self.students)

    def generated_tokens(self) -> int:
        """Tokens written for the predictions by everyone who was asked, in all samples."""
        return sum(p.cost.tokens for p in self.predictions)

    def arm(self) -> str:
        """Equal for runs that differ only in their seed, and for combinations of such runs by one
        rule with the same settings. Two evaluations of one run also have the same: see `arms`."""
        combined = self.report.get("combination")
        rule = [combined["rule"], combined["settings"]] if combined else []
        evaluation = [self.report[key] for key in ("task", "split")]
        return json.dumps([[_but_for_the_seed(m) for m in self._members()], evaluation, rule])

    def trained(self) -> set[str]:
        """The trainings of the students: one, or those of a combination's members."""
        return {json.dumps(m["identity"], sort_keys=True) for m in self._members()}

    def _members(self) -> list[dict[str, Any]]:
        combined = self.report.get("combination")
        return combined["members"] if combined else [self.report]


def trained_tokens(facts: Iterable[Mapping[str, Any]]) -> int:
    """Tokens fed to students, up to where each of them stopped; `facts` of training_data.json."""
    return sum(
        round(each["tokens"] * each.get("finished_at", each["steps"]) / max(1, each["steps"]))
        for each in facts
    )


def _but_for_the_seed(report: Mapping[str, Any]) -> str:
    identity = {key: value for key, value in report["identity"].items() if key != "seed"}
    sampling = {k: v for k, v in report["sampling"].items() if k not in ("slots", "seed")}
    text = json.dumps([identity, sampling, report["checkpoint_rule"]], sort_keys=True)
    # A run that starts from another run of its sweep names that run's directory, ARM-seedN.
    return text.replace(f"-seed{report['seed']}/", "-seed/")


def read_runs(paths: Sequence[str], names: Sequence[str] = ()) -> list[Run]:
    """The evaluations in these directories, with the given names or else those of the directories.

    A directory is that of a run, whose headline evaluation is read; of one of its evaluations; or
    of a combination. Runs of one name get their seed added. Raises UserError if a directory holds
    no evaluation, if an evaluation is given twice, if there are not as many names as paths, and if
    two runs would have one name.
    """
    if names and len(names) != len(paths):
        raise UserError(f"--names has {len(names)} names for {len(paths)} runs: give one each")
    places = [local_path(path, "RUN") for path in paths]
    labels = names or [_label(place.resolve()) for place in places]
    runs = [_read_run(place, label) for place, label in zip(places, labels, strict=True)]
    if len({os.path.realpath(run.evaluation) for run in runs}) < len(runs):
        raise UserError("a run is given twice: name every directory once")
    counts = collections.Counter(run.name for run in runs)
    runs = [
        dataclasses.replace(run, name=f"{run.name} seed {run.report['seed']}")
        if counts[run.name] > 1 and run.report["seed"] is not None
        else run
        for run in runs
    ]
    for name, times in collections.Counter(run.name for run in runs).items():
        if times > 1:
            raise UserError(f"{times} runs would be called {name!r}: tell them apart with --names")
    return runs


def on_common_problems(runs: Sequence[Run]) -> list[Run]:
    """The runs with their predictions of the problems that all of them answered, in one order.

    Problems are the same if id, question and answer are. Raises UserError if there is none.
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

    A training counts once in an arm: another evaluation of the same run, or of a copy of it, is not
    another seed, and is in a separate arm. The name of an arm is the common beginning of its runs'
    names.
    """
    groups: dict[str, list[list[Run]]] = collections.defaultdict(list)
    for run in runs:
        parts = groups[run.arm()]
        free = [part for part in parts if all(run.trained().isdisjoint(m.trained()) for m in part)]
        if free:  # evaluations with the same settings belong together
            min(free, key=lambda part: _asked_as(part[0]) != _asked_as(run)).append(run)
        else:
            parts.append([run])
    named: dict[str, list[Run]] = {}
    for members in itertools.chain.from_iterable(groups.values()):
        name = members[0].name
        if len(members) > 1:
            ending = f": {members[0].variant}" if members[0].variant else ""
            names = [run.name.removesuffix(ending) for run in members]
            name = (_shared_beginning(names) or names[0]) + ending
        while name in named:
            name += "'"
        named[name] = members
    return named


def _asked_as(run: Run) -> list[Any]:
    sampling = {key: value for key, value in run.report["sampling"].items() if key != "slots"}
    return [sampling, run.report["evaluation"]]


def _shared_beginning(names: Sequence[str]) -> str:
    """["a-seed0", "a-seed1"] -> "a"."""
    first, last = min(names), max(names)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    # The seeds themselves may begin alike: seed10, seed11.
    return re.sub(r"[-_. ]*(?:seed\d*|s)?[-_. ]*$", "", "".join(a for a, _ in same))


def gold_annotations(run: Run) -> dict[str, Annotation]:
    """{id: gold annotation} of the problems of a run, as far as question and id fit.

    From the run's held-out dev annotations, or else from the task that it was asked. Raises
    UserError if the task cannot be read.
    """
    workdir, split = Workdir(run.path), run.report["split"]
    asked = {p.id: p.question for p in run.predictions}
    own = run.identity["task"] == run.report["task"]
    held_out = own and split == "dev" and not run.identity["data.dev_split"]
    if held_out and workdir.dev_annotations.exists():
        annotations = read_annotations(workdir.dev_annotations)
    else:
        task, options = _task_of(run)
        problems = task.load(split, **options)
        annotations = task_module.gold_annotations(task, options, split, problems)
    return {a.id: a for a in annotations if asked.get(a.id) == a.question}


def grader(run: Run) -> Callable[[str, str], Grade] | None:
    """The grade() of the task that a run was asked; None where it cannot be imported."""
    try:
        return task_module.grader(*_task_of(run))
    except UserError:
        return None


def _task_of(run: Run) -> tuple[Any, dict[str, Any]]:
    """(module, options) of the task that a run was asked. UserError."""
    prefix, name, settings = "task_options.", run.report["task"], run.report["evaluation"]
    task = task_module.import_task(name)
    options: dict[str, Any] = {}
    if run.identity["task"] == name and not settings.get("task"):
        options = {
            key.removeprefix(prefix): value
            for key, value in run.identity.items()
            if key.startswith(prefix)
        }
    changed = settings.get("task_options", ())
    if not isinstance(changed, str):  # members of a combination that differ are a text
        options |= task_module.parse_options(task, changed)
    return task, task_module.check_options(task, name, options)


def with_gold_steps(run: Run, gold: Mapping[str, Annotation]) -> Run:
    """Adds the number of gold steps to problems that lack it, such as held-out ones."""
    predictions = tuple(
        dataclasses.replace(p, attributes={"steps": len(gold[p.id].steps), **p.attributes})
        if p.id in gold
        else p
        for p in run.predictions
    )
    return dataclasses.replace(run, predictions=predictions)


def _label(path: pathlib.Path) -> str:
    """ "demo" of runs/demo, "demo: NAME" of runs/demo/evaluations/NAME."""
    return f"{path.parents[1].name}: {path.name}" if _is_evaluation(path) else path.name


def _is_evaluation(path: pathlib.Path) -> bool:
    return path.parent.name == "evaluations" and (path / "predictions.jsonl").exists()


def _read_run(path: pathlib.Path, name: str) -> Run:
    workdir = Workdir(path)
    if (workdir.path / "predictions.jsonl").exists():
        return read_evaluation(pathlib.Path(os.path.abspath(path)), name)
    if not workdir.report_json.exists():
        command = to_type("main", "--workdir", path)
        finish = f"its own command, {command}"
        what = f"is not evaluated yet: finish it ({finish})" if workdir.config.exists() else (
            "is a file: give its directory" if path.is_file()
            else "holds no run: give the --workdir of one"
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
            f"{to_type('main', '--workdir', path)}, which evaluates again"
        )
    return read_evaluation(directory, name)


def read_evaluation(directory: pathlib.Path, name: str) -> Run:
    """The evaluation RUN/evaluations/NAME with its run, or a combination; UserError if it is
    damaged, or not in its run's directory."""
    report = read_json(directory / "report.json")
    predictions = read_predictions(directory, report)
    if "combination" in report:
        students = report["combination"]["students"]
        return Run(name, directory, directory, report, students, predictions)
    workdir = Workdir(directory.parents[1])
    if not workdir.config.exists():
        raise UserError(f"{directory} is not in the directory of its run: give RUN/evaluations/...")
    workdir.check_version()
    facts, parity = read_facts(workdir.training_data), workdir.parity_test_selection
    epochs = tuple(read_json(parity)["epochs"] if parity.exists() else ())
    return Run(name, workdir.path, directory, report, facts, predictions, parity_epochs=epochs)


def problem_key(prediction: Prediction) -> tuple[str, str, str]:
    """Problems with the same key are the same."""
    return prediction.id, prediction.question, prediction.answer


def read_predictions(directory: pathlib.Path, report: dict[str, Any]) -> tuple[Prediction, ...]:
    """The predictions of an evaluation; UserError if their number differs from the report's."""
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
