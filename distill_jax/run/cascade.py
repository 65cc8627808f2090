"""Small students who answer first, and ask others only if they are unsure.

cascade = distill_jax.load("runs/small").cascade("runs/large", threshold=0.3)
[solution] = cascade.solve([question])
solution.answered_by, solution.uncertainties, solution.costs

Live, this is the rule `switch` of `python -m distill_jax.combine`, which chooses a threshold too.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from distill_jax.dialogues.answerer import Look
from distill_jax.dialogues.sampler import Settings
from distill_jax.errors import UserError
from distill_jax.records import Cost
from distill_jax.run.escalation import VOTES, Rule
from distill_jax.run.solution import Asks, Solution, Unanswered

if TYPE_CHECKING:
    from distill_jax.run.students import Students


class Others(Protocol):
    """Whoever answers what the small students are unsure of."""

    @property
    def name(self) -> str:
        """For `answered_by`."""
        ...

    @property
    def roles(self) -> tuple[str, ...]:
        """Who speaks in their dialogues."""
        ...

    def answer(
        self, questions: Sequence[str], slots: int | None, look: bool
    ) -> Generator[Look | Solution | Unanswered, None, None]:
        """A Solution or Unanswered for every question, in any order; all questions differ.

        `slots`: config.sampling.slots, None = their own; `look`: whether there are Looks.
        """
        ...


@dataclasses.dataclass(frozen=True)
class OtherStudents:
    """The students of another run, who write as its config.sampling says."""

    name: str
    students: "Students"
    settings: Mapping[str, Any]  # keys of config.sampling instead of the run's

    @property
    def roles(self) -> tuple[str, ...]:
        """See Others."""
        return self.students.roles

    def answer(
        self, questions: Sequence[str], slots: int | None, look: bool
    ) -> Generator[Look | Solution, None, None]:
        """See Others."""
        settings = {"samples": self.students.sampling.samples, **self.settings}
        if slots is not None:
            settings["slots"] = slots
        look = look and settings["samples"] == 1
        return self.students.answer(questions, look=look, **settings)


class Cascade:
    """Small students and those whom they ask. Made by `Students.cascade`.

    first   the small students
    others  those who are asked
    rule    when they are asked
    """

    def __init__(self, first: "Students", others: Others, rule: Rule):
        """`rule.sampling`: keys of config.sampling by which the small students write."""
        self.first, self.others, self.rule = first, others, rule

    @property
    def roles(self) -> tuple[str, ...]:
        """Everyone who may speak."""
        return tuple(dict.fromkeys((*self.first.roles, *self.others.roles)))

    @property
    def text(self) -> str:
        """Who is asked, and when, in one line."""
        rule = self.rule
        return (
            f"{self.others.name} is asked if the uncertainty ({rule.by}) of {rule.first} is above "
            f"{rule.threshold:.3g}"
        )

    @property
    def students(self) -> dict[str, "Students"]:
        """{name: students} of those that are here: all but a teacher."""
        found = {self.rule.first: self.first}
        if isinstance(self.others, OtherStudents):
            found[self.others.name] = self.others.students
        return found

    @property
    def sampling(self) -> Settings:
        """config.sampling of the small students."""
        return dataclasses.replace(self.first.sampling, **self.rule.sampling)

    @property
    def example(self) -> str:
        """A question that the small students were trained on."""
        return self.first.example

    @property
    def steps(self) -> dict[str, int]:
        """{student: step of its checkpoint} of the small students."""
        return self.first.steps

    @property
    def context(self) -> int:
        """The longest question that the small students can answer, in tokens."""
        return self.first.context

    def count_tokens(self, question: str) -> int:
        """The number of tokens of a question for the small students."""
        return self.first.count_tokens(question)

    def solve(
        self, questions: Sequence[str], samples: int | None = None, **settings: Any
    ) -> list[Solution]:
        """A Solution for every question, in order; see `answer`."""
        events = self.answer(questions, samples, look=False, **settings)
        solved = {event.question: event for event in events if isinstance(event, Solution)}
        return [solved[question] for question in questions]

    def answer(
        self,
        questions: Sequence[str],
        samples: int | None = None,
        *,
        look: bool = True,
        **settings: Any,
    ) -> Generator[Look | Asks | Solution, None, None]:
        """As `Students.answer`; for a question that is there twice there is one Solution.

        An Asks says that others are asked about a question; what follows about it is theirs. If
        they give no answer, the Solution is that of the small students, with the reason. There
        are Looks at those who write one dialogue of a question.
        `samples` and `settings` (also `seed`) are those of the small students.

        Raises UserError as `Students.answer` does; for `said`, since one run continues a dialogue;
        and if votes shall show how sure the students are, and there is one sample.
        Several processes must go through all events.
        """
        if isinstance(questions, str):
            raise UserError("questions is a list: solve([question])")
        if "said" in settings:
            raise UserError(
                "said: a dialogue that has begun is continued by one run: leave escalate_to out"
            )
        settings = {**self.rule.sampling, **settings}
        if samples is not None:
            settings["samples"] = samples
        drawn = settings.get("samples", 1)
        look = look and drawn == 1  # a person could not tell several dialogues apart
        if self.rule.by == VOTES and drawn == 1:
            raise UserError(
                f"by={VOTES!r} needs several dialogues of a question: give samples=5, or load the "
                "run with sampling__samples=5, sampling__temperature=0.7"
            )
        first = self.first.answer(list(dict.fromkeys(questions)), look=look, **settings)
        return self._events(first, settings.get("slots"), look)

    def _events(
        self, first: Generator[Look | Solution, None, None], slots: int | None, look: bool
    ) -> Generator[Look | Asks | Solution, None, None]:
        rule, others = self.rule, self.others
        deferred: dict[str, Solution] = {}
        with contextlib.closing(first):
            for event in first:
                if isinstance(event, Look):
                    yield event
                    continue
                cost = {rule.first: event.cost}
                solution = dataclasses.replace(event, answered_by=rule.first, costs=cost)
                uncertainty = solution.uncertainties[rule.by]
                if uncertainty <= rule.threshold:
                    yield solution
                    continue
                deferred[solution.question] = solution
                yield Asks(solution, rule.by, uncertainty, rule.threshold, others.name)
        if not deferred:
            return
        with contextlib.closing(others.answer(list(deferred), slots, look)) as events:
            for event in events:
                if isinstance(event, Look):
                    yield event
                    continue
                solution = deferred[event.question]
                costs = {**solution.costs, others.name: event.cost}
                if isinstance(event, Unanswered):
                    reason = f"{others.name} gave no answer: {event.reason}"
                    costs = costs if event.cost != Cost() else solution.costs
                    yield dataclasses.replace(solution, unanswered=reason, costs=costs)
                    continue
                yield dataclasses.replace(
                    event, answered_by=others.name, costs=costs, first=solution
                )
