"""The stages of a run, in order. Each knows whether it is done."""

import pathlib
from typing import Protocol

from distill_jax import distributed
from distill_jax.run import ensemble, from_first
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.evaluate_students import evaluate_students, evaluation_name
from distill_jax.run.restore_students import chosen_steps
from distill_jax.run.run import Run
from distill_jax.run.stored_evaluation import standing
from distill_jax.run.train_students import Training
from distill_jax.tracking.reporting import Reporting


class Stage(Protocol):
    """A part of a run whose result is files. All processes call its methods."""

    name: str

    def done(self) -> bool:
        """Whether its files exist, so that it need not run."""
        ...

    def run(self) -> None:
        """Do the rest of the stage."""
        ...


class Annotating:
    """annotations.jsonl, the tokenizer, config.json: the training data."""

    name = "annotations"

    def __init__(self, training: Training):
        self._training = training

    def done(self) -> bool:
        """Only if no student is left to train, so that mistakes in sizes and rows are found before
        the first student is trained."""
        return not self._training.todo()

    def run(self) -> None:
        """Make the input of training, and write it."""
        self._training.begin()


class TrainingStudent:
    """The checkpoints of one student."""

    def __init__(self, training: Training, student: str):
        self.name = f"training {student}"
        self._training, self._student = training, student

    def done(self) -> bool:
        """Whether the student is trained to the end."""
        return self._student not in self._training.todo()

    def run(self) -> None:
        """Train it from its last checkpoint, or from the start."""
        self._training.train(self._student)


class Evaluating:
    """The headline evaluation, report.json and report.html."""

    name = "evaluation"

    def __init__(self, training: Training, reporting: Reporting):
        self._training, self._reporting = training, reporting

    def done(self) -> bool:
        """Never: existing predictions are read, and their result is shown again."""
        return False

    def run(self) -> None:
        """Let the students answer, unless they have answered, and show the result."""
        run, terminal = self._training.run, self._reporting.terminal
        finished = from_first.known_students(run).finished
        if missing := [student for student in run.students if student not in finished]:
            terminal.say(
                f"still to train before the evaluation: {', '.join(missing)} "
                "(--config.train.students)"
            )
            return
        evaluate_students(run, self._reporting, headline=True)


def stages(desk: Desk, reporting: Reporting) -> list[Stage]:
    """The stages of `python -m distill_jax.main`, in order."""
    training = Training(desk, reporting)
    chosen = desk.run.config.train.students or desk.run.students
    students = [TrainingStudent(training, student) for student in chosen]
    return [Annotating(training), *students, Evaluating(training, reporting)]


def is_evaluated(run: Run) -> bool:
    """Whether nothing is left to do, or nothing that needs the task's data; then checkpoints, which
    are slow to read, are not read. All processes must call this."""
    known = from_first.known_students(run)
    if len(known.finished) < len(run.students):
        return False
    directory = evaluation_directory(run, known)
    return distributed.from_first(lambda: standing(run, directory, known.facts).stays)


def evaluation_directory(run: Run, known: from_first.KnownStudents) -> pathlib.Path:
    """The directory of the config's evaluation, which may not exist yet."""
    name = evaluation_name(run, chosen_steps(run, known), ensemble.members(run, known))
    return run.workdir.evaluations / name
