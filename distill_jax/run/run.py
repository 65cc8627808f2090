"""A run as a value: its checked config, and everything that follows from the config."""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ml_collections
from etils import epath

from distill_jax.dialogues.sampler import Settings
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem
from distill_jax.run import checks, rollout_settings
from distill_jax.settings import command_line, task_module
from distill_jax.settings.identity import identity_of
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.text.formats import FORMATS
from distill_jax.text.rows import View
from distill_jax.text.transcript import Scheme
from distill_jax.training import checkpoint_place
from distill_jax.workdir import Workdir


class Task(NamedTuple):
    """A module with problems, and the options of its load()."""

    name: str
    module: Any
    options: dict[str, Any]
    of_evaluation: tuple[str, ...] = ()  # options that are set in config.evaluation.task_options

    def load(self, split: str) -> list[Problem]:
        """The problems of a split."""
        with self._as_set():
            return self.module.load(split, **self.options)

    def gold(self, split: str, problems: Sequence[Problem]) -> list[Annotation]:
        """The gold annotations of the problems of a split; see `task_module.gold_annotations`."""
        with self._as_set():
            return task_module.gold_annotations(self.module, self.options, split, problems)

    def same_problems_as(self, other: "Task") -> bool:
        """Whether module and options are those of the other one, wherever they are set."""
        return (self.name, self.options) == (other.name, other.options)

    @contextlib.contextmanager
    def _as_set(self) -> Iterator[None]:
        """Mistakes name an option where it is set: tasks only know of config.task_options."""
        try:
            yield
        except UserError as error:
            names = "|".join(self.of_evaluation)
            if not names:
                raise
            section = f"config.{command_line.OPTIONS}"
            told = re.sub(rf"\bconfig\.task_options(?=\.({names})\b)", section, str(error))
            raise UserError(told) from error.__cause__

    @property
    def grade(self) -> Callable[[str, str], Grade]:
        """(completion, answer) -> Grade."""
        return task_module.grader(self.module, self.options)

    @property
    def read_answer(self) -> Callable[[str], str | None] | None:
        """completion -> its final answer; None if the task does not say how."""
        return task_module.answer_reader(self.module, self.options)


@dataclasses.dataclass(frozen=True)
class Run:
    """Made once, by `make_run`. The functions of from_first.py find what is on the disk and what
    other processes know."""

    config: Any  # a FrozenConfigDict
    workdir: Workdir
    task: Task
    evaluated: Task  # the task whose problems are asked: the run's own, or another one
    scheme: Scheme
    views: tuple[View, ...]
    # The directory holds another run, which this one replaces as soon as it writes: nothing there
    # is this run's.
    takes_over: bool = False

    @property
    def students(self) -> list[str]:
        """The students in the order in which they are trained."""
        return list(dict.fromkeys(view.student for view in self.views))

    @property
    def sampling(self) -> Settings:
        """config.sampling."""
        return Settings(**self.config.sampling)

    def identity(self) -> dict[str, Any]:
        """The flat part of the config that determines the students."""
        return identity_of(self.config, self.students, self.scheme.roles)

    @property
    def checkpoints(self) -> epath.Path:
        """The directory of all students' checkpoints."""
        return epath.Path(self.config.checkpoint_dir or self.workdir.checkpoints)

    def checkpoint_directory(self, student: str) -> epath.Path:
        """The directory of the student's checkpoints."""
        return self.checkpoints / student


def make_run(config: Any, workdir: Workdir) -> Run:
    """`config` is a ConfigDict. Raises UserError for everything in it that can be checked without
    data."""
    checks.check_values(config)
    config = ml_collections.ConfigDict(config).copy_and_resolve_references()
    # Later commands may run in another directory.
    config.checkpoint_dir = checkpoint_place.whole(config.checkpoint_dir)
    module = task_module.import_task(config.task)
    config.task = module.__name__  # one name for one task, in its identity too
    options = task_module.check_options(module, config.task, config.task_options)
    task = Task(config.task, module, options)
    if rollout_settings.is_on(config):
        rollout_settings.reward(config)
    evaluated = _evaluated_task(config, task)
    if config.evaluation.task:
        config.evaluation.task = evaluated.name
    scheme = dataclasses.replace(
        transcript.SCHEMES[config.scheme], text_format=FORMATS[config.text_format]
    )
    return Run(
        config=ml_collections.FrozenConfigDict(config),
        workdir=workdir,
        task=task,
        evaluated=evaluated,
        scheme=scheme,
        views=tuple(text_rows.make_views(scheme, config.students, config.reads)),
    )


def stored_run(workdir: Workdir, overrides: dict[str, str]) -> Run:
    """The run of a directory, with these overrides of its config. Raises UserError as `make_run`
    does, and if the directory holds no run."""
    config = command_line.run_config(workdir)
    checks.set_and_check(config, overrides)
    return make_run(config, workdir)


def _evaluated_task(config: Any, own: Task) -> Task:
    """The run's own task with its options, except those that are set for the evaluation; or another
    task with only these."""
    name, section = config.evaluation.task, f"config.{command_line.OPTIONS}"
    module = task_module.import_task(name, "config.evaluation.task") if name else own.module
    options = task_module.parse_options(module, config.evaluation.task_options)
    # Of another task no option comes from config.task_options.
    set_here = tuple(inspect.signature(module.load).parameters)[1:] if name else tuple(options)
    options = options if name else own.options | options
    options = task_module.check_options(module, module.__name__, options, section)
    return Task(module.__name__, module, options, set_here)
