"""What a story of any kind can do, and the problem that it becomes."""

from typing import Protocol

from distill_jax.records import Annotation, Problem, Step


class Story(Protocol):
    """A story that a program solves."""

    @property
    def answer(self) -> str:
        """The right answer."""
        ...

    @property
    def length(self) -> int:
        """How long it is: people, names, swaps or events."""
        ...

    def tell(self) -> str:
        """The question."""
        ...

    def steps(self) -> tuple[Step, ...]:
        """The exact solution."""
        ...

    def key(self) -> str:
        """Equal for stories that count as the same."""
        ...


def gold(story: Story, name: str, question: str) -> Annotation:
    """Its solution as the gold annotation of a problem with the id `name`."""
    return Annotation(name, question, story.answer, story.steps(), {"kind": "gold"})


def problem(story: Story, name: str, split: str) -> Problem:
    """A made problem, with attributes "steps" and "length"."""
    question = story.tell()
    solved = gold(story, name, question)
    lengths = {"steps": len(solved.steps), "length": story.length}
    return Problem(name, question, story.answer, split, lengths, solved)
