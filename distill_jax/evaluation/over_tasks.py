"""Accuracies of methods on several tasks, from finished runs.

A run's method is its name without its task in front and its seed at the end:
`coin_flip-chain-seed0` is method `chain` on task `coin_flip`. A task that pools others says in
attributes["task"] which one a problem is from; each of these is a task here.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from distill_jax.annotations import leaks
from distill_jax.errors import UserError
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Prediction, read_annotations
from distill_jax.workdir import Workdir

_BETWEEN = "-_. "
# Tasks whose default protocol is not that of Ho et al.
_OF_HO_IF_ASKED = ("strategyqa",)
_SEED = re.compile(r"[-_. ]*seed[-_. ]?\d+$")


@dataclasses.dataclass(frozen=True)
class Score:
    """The answers of a method to the problems of a task, of one run or of several seeds."""

    task: str
    method: str
    runs: tuple[Run, ...]
    accuracies: tuple[float, ...]  # of each run
    n: int  # problems

    @property
    def published(self) -> str | None:
        """The name of the task in evaluation/published.py; None if these are other problems."""
        run = self.runs[0]
        same = run.report["split"] == "test" and not (_protocol(run) or _changed(run))
        # Students of another task are asked by its default protocol.
        other = self.task in _OF_HO_IF_ASKED and run.report["task"] != run.identity["task"]
        return self.task if same and not other else None

    @property
    def mean(self) -> float:
        """Over the runs."""
        return fmean(self.accuracies)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson, 95 %, of the mean, as if it were that of one run on the `n` problems."""
        return wilson_interval(self.mean * self.n, self.n)

    @property
    def half_width(self) -> float:
        """Half of that interval: what so many problems leave open."""
        low, high = self.interval
        return (high - low) / 2


def scores(runs: Sequence[Run]) -> list[Score]:
    """The scores of all tasks and methods, in the order of the runs.

    Raises UserError if runs of one method on one task answered different problems.
    """
    parts: dict[tuple[str, str], list[tuple[Run, list[Prediction]]]] = {}
    for run in runs:
        name = task_name(run)
        for task, predictions in _by_task(run, name).items():
            parts.setdefault((task, _method(run)), []).append((run, predictions))
    found = []
    for (task, method), members in parts.items():
        asked = {tuple(sorted(p.id for p in predictions)) for _, predictions in members}
        if len(asked) > 1:
            names = ", ".join(run.name for run, _ in members)
            raise UserError(
                f"{names}: seeds of {method} on {task} answered different problems: evaluate them "
                "on the same ones, or tell them apart with --names"
            )
        accuracies = tuple(fmean(p.correct for p in predictions) for _, predictions in members)
        found.append(
            Score(task, method, tuple(run for run, _ in members), accuracies, len(members[0][1]))
        )
    return found


def task_name(run: Run) -> str:
    """The last part of the task's module, its protocol if that is not the authors', and the options
    that the evaluation changed."""
    options = [each for each in _changed(run) if not each.startswith("directory=")]
    parts = [_module(run), *filter(None, [_protocol(run)])]
    return ", ".join(parts) + (f" ({', '.join(options)})" if options else "")


def of_each_task(found: Iterable[Score]) -> dict[str, Score]:
    """{task: its first score}, in order."""
    first: dict[str, Score] = {}
    for score in found:
        first.setdefault(score.task, score)
    return first


def macro_average(found: Iterable[Score]) -> tuple[float, float, float]:
    """The mean over tasks of one method's accuracies, and its 95 % interval.

    The interval is for other problems of the same tasks, not for other tasks. Its ends are as far
    from the mean as those of the tasks' Wilson intervals together: the root of the sum of squared
    distances, over the number of tasks (G. Y. Zou, A. Donner, "Construction of confidence limits
    about effect measures: a general approach", Statistics in Medicine 27 (2008), 1693-1702). Two
    tasks of 100 problems with 50 and 0 right: 25 %, from 20.2 to 30.2 %.
    """
    each = list(found)
    mean = fmean(score.mean for score in each)
    below = math.hypot(*(score.mean - score.interval[0] for score in each))
    above = math.hypot(*(score.interval[1] - score.mean for score in each))
    return mean, mean - below / len(each), mean + above / len(each)


def overlaps(score: Score) -> dict[str, int]:
    """{attributes["overlap"]: problems} of a task's test problems; {} if it does not say."""
    problems = _by_task(score.runs[0], task_name(score.runs[0]))[score.task]
    said = (p.attributes.get("overlap") for p in problems)
    return dict(collections.Counter(each for each in said if isinstance(each, str)))


@dataclasses.dataclass(frozen=True)
class Shared:
    """Test questions of a task that were trained on for another one."""

    tested: str
    trained: str
    same: int
    other_numbers: int
    n: int


def shared_questions(found: Sequence[Score]) -> list[Shared]:
    """The pairs of tasks of which one's test questions are among the other's training questions,
    as its run kept them; read from the annotations of the first run of each task.

    A run whose annotations are not on this machine is left out.
    """
    rows = []
    trained: dict[str, Run] = {}
    for run in (run for score in found for run in score.runs):
        if Workdir(run.path).annotations.exists():
            trained.setdefault(task_name(run), run)
    for name, run in trained.items():
        annotations = read_annotations(Workdir(run.path).annotations)
        for task, score in of_each_task(found).items():
            if score.runs[0].report["task"] == run.report["task"]:
                continue
            problems = _by_task(score.runs[0], task_name(score.runs[0]))[task]
            known = leaks.trained_on([p.question for p in problems], annotations, templated=False)
            differ = sum(each.endswith("(other numbers)") for each in known.values())
            if known:
                rows.append(Shared(task, name, len(known) - differ, differ, len(problems)))
    return rows


def _by_task(run: Run, name: str) -> Mapping[str, list[Prediction]]:
    parts: dict[str, list[Prediction]] = collections.defaultdict(list)
    for prediction in run.predictions:
        part = prediction.attributes.get("task")
        parts[part if isinstance(part, str) else name].append(prediction)
    return parts


def _method(run: Run) -> str:
    name = _SEED.sub("", run.name)
    rest = name.removeprefix(_module(run)).lstrip(_BETWEEN).removeprefix(_protocol(run))
    return rest.strip(_BETWEEN) or name


def _module(run: Run) -> str:
    return run.report["task"].rpartition(".")[2]


def _protocol(run: Run) -> str:
    """Of the problems' splits; "" for that of Ho et al., and for a task without protocols."""
    if run.report["task"] != run.identity["task"]:
        return ""
    protocol = run.identity.get("task_options.protocol", "")
    return "" if protocol == "ho" else protocol


def _changed(run: Run) -> Sequence[str]:
    """Options of the task, KEY=VALUE, that the evaluation changed."""
    return run.report["evaluation"].get("task_options", ())
