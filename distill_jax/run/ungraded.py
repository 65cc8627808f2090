"""Reads the answers to questions for which nobody knows the right one."""

from collections.abc import Callable, Iterable

from distill_jax.records import Grade
from distill_jax.run.run import Task
from distill_jax.tasks.written_answers import Reader


def ungraded(task: Task, known: Iterable[str]) -> Callable[[str, str], Grade]:
    """A grader for questions without a known answer: it reads the answer, and nothing is right.

    A task without read_answer() grades with one of the `known` answers, those of its training
    problems, as the right one: of the kind that was written. Only then are they read.
    """
    read = task.read_answer
    if read is None:
        return Reader(task.grade, known)

    def grade(completion: str, answer: str) -> Grade:
        if answer:  # of another dialogue: votes ask whether both are the same
            return task.grade(completion, answer)
        return Grade(read(completion), {"normalised": False})

    return grade
