"""The pairs of answers that a run learns from: config.preferences."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from distill_jax import distributed, records
from distill_jax.annotations.leaks import Leaks
from distill_jax.annotations.preferences import Pair, pair_from_dict, pairs_of_all
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Prediction, Sample
from distill_jax.run.annotation_sources import leak_problems
from distill_jax.run.own_predictions import Reader
from distill_jax.run.run import Run
from distill_jax.run.training_annotations import RunData, write_lines
from distill_jax.text.false_equations import false_equations, false_marks
from distill_jax.text.transcript import render
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

_KEY = "config.preferences.files"


class RunPairs(NamedTuple):
    """The pairs that students train on, and those of dev problems, to measure."""

    train: list[Pair]
    dev: list[Pair]
    said: str = ""  # what they were made of, in one line; "" if they were not made now


def collect(run: Run, data: RunData) -> RunPairs | None:
    """The pairs of process 0, in every process; None if config.loss.preference is 0.

    They are those of the directory if it has some; otherwise they are made of the files. Raises
    UserError if a file is none of predictions, or of questions that may not be trained on, and if
    there is no pair.
    """
    if not run.config.loss.preference:
        return None
    if distributed.processes() == 1:
        return _read(run, data)

    def first() -> list[Any]:
        train, dev, said = _read(run, data)
        return [*([dataclasses.asdict(each) for each in part] for part in (train, dev)), said]

    train, dev, said = distributed.from_first(first)
    return RunPairs(list(map(pair_from_dict, train)), list(map(pair_from_dict, dev)), said)


def write(run: Run, pairs: RunPairs | None, terminal: Terminal) -> None:
    """Process 0 writes the pairs, if they were made now."""
    if pairs is None or not pairs.said or not distributed.is_first():
        return
    terminal.say(pairs.said)
    write_lines(run.workdir.dev_preferences, pairs.dev)
    # The last one, so that if it exists, the other one does.
    write_lines(run.workdir.preferences, pairs.train)


def learned_from(workdir: Workdir) -> list[Annotation]:
    """The problems whose pairs the run in a directory has learned from, without their answers."""
    if not workdir.preferences.exists():
        return []
    questions = {pair.id: pair.question for pair in _stored(workdir.preferences)}
    return [Annotation(name, asked, "", (), {"kind": "own"}) for name, asked in questions.items()]


def _read(run: Run, data: RunData) -> RunPairs:
    workdir = run.workdir
    if not workdir.preferences.exists() or run.takes_over:
        return _make(run, data)
    return RunPairs(_stored(workdir.preferences), _stored(workdir.dev_preferences))


def _stored(path: pathlib.Path) -> list[Pair]:
    found = []
    for number, row in records.json_lines(path):
        try:
            found.append(pair_from_dict(row))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}:{number}: not a pair ({error}): put back a copy of the file"
            ) from None
    return found


def _make(run: Run, data: RunData) -> RunPairs:
    settings, rules, evaluated = run.config.preferences, run.config.data, leak_problems(run)
    problems = run.task.load(rules.train_split)
    own_split = run.task.load(rules.dev_split) if rules.dev_split and data.dev else []
    reader = Reader(_KEY, [*problems, *own_split], evaluated, run.scheme)
    predictions = [each for name in settings.files for each in reader.read(name)]
    asked = {each.id: each for each in predictions}
    leaks = Leaks(evaluated, templated=rules.templated, most=rules.max_overlap)
    kept, leaked, _ = leaks.drop(
        [Annotation(p.id, p.question, p.answer, (), {"kind": "own"}) for p in asked.values()]
    )
    may = {each.id for each in kept}
    false = false_equations if rules.false_equations == "reject" else false_marks
    usable = [_without_false_steps(each, false) for each in predictions if each.id in may]
    # The first annotation of each problem.
    gold = {each.id: render(each, run.scheme) for each in reversed([*data.train, *data.dev])}
    pairs = pairs_of_all(usable, gold, settings.near, settings.per_problem)
    measured = {each.question for each in data.dev}
    dev = [pair for pair in pairs if pair.question in measured]
    trained = {problem.id for problem in problems}
    train = [p for p in pairs if p.id in trained and p.question not in measured]
    said = [
        f"preferences: {len(asked)} problems were answered",
        f"{len(leaked)} of them dropped as questions of the evaluation" if leaked else "",
        f"{reader.unknown} answered questions are none of this run" if reader.unknown else "",
        f"{len(train)} pairs of {len({pair.id for pair in train})} problems to train on",
        f"{len(dev)} pairs of dev problems" if dev else "",
    ]
    if not train:
        raise UserError(
            f"{_KEY}: no problem has a right and a wrong answer ({len(asked)} problems "
            f"were answered, {reader.unknown} questions are none of this run): ask for more "
            "samples, --config.sampling.samples=5 --config.sampling.temperature=0.7"
        )
    return RunPairs(train, dev, ", ".join(filter(None, said)))


def _samples(prediction: Prediction) -> Sequence[Prediction | Sample]:
    return prediction.samples or (prediction,)


def _without_false_steps(prediction: Prediction, false: Callable[[str], list[str]]) -> Prediction:
    """Without the samples that are right but hold a false equation: they are no example, and not
    wrong either."""
    kept = tuple(
        each
        for each in _samples(prediction)
        if not (each.correct and any(false(turn.text) for turn in each.turns))
    )
    if len(kept) == len(_samples(prediction)):
        return prediction
    return dataclasses.replace(prediction, samples=kept, correct=False, turns=())
