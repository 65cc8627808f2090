"""What people and programs get for a question: its solution, and who gave it."""

import dataclasses
from collections.abc import Mapping

from distill_jax.dialogues.predict import STUDENTS
from distill_jax.evaluation import displays, familiarity
from distill_jax.records import Cost, Turn


@dataclasses.dataclass(frozen=True)
class Solution:
    """The answer to a question. With several samples it is their vote, with the best dialogue.

    answer  as the task reads it, None if none could be read
    votes   {answer: dialogues that end in it}, the winner first; None = could not be read
    status  finished, turn_cap, token_cap, context, prompt_too_long or unparsed
    percentile  the per cent of the dialogues in the run's evaluation of which the students were
                less sure. None = not known, because the dialogue was drawn, or the run has no
                evaluation of these students without drawing, or a teacher answered
    answered_by    "students", or in a cascade (run/cascade.py) the name of the one who answered
    uncertainties  {measure: uncertainty} by the measures of evaluation/deferral.py, from 0 (sure)
                   to 1; "votes" only with several samples; {} for a teacher
    costs          {who: cost} of everyone who was asked, in order. The operations of a teacher
                   are not known: 0
    first       what the small students of a cascade said, if it asked others; else None
    unanswered  why these gave no answer; then this is the small students' own. "" = they did
    """

    question: str
    answer: str | None
    turns: tuple[Turn, ...]
    status: str
    votes: dict[str | None, int]
    percentile: int | None = None
    answered_by: str = STUDENTS
    uncertainties: Mapping[str, float] = dataclasses.field(default_factory=dict)
    costs: Mapping[str, Cost] = dataclasses.field(default_factory=dict)
    first: "Solution | None" = None
    unanswered: str = ""

    @property
    def cost(self) -> Cost:
        """Of everyone who was asked."""
        return sum(self.costs.values(), Cost())

    @property
    def unfamiliar(self) -> str:
        """A note that the question may be unlike what was learned; "" if it seems usual."""
        return familiarity.note(self.percentile)

    def _repr_html_(self) -> str:
        """The dialogue turn by turn, for notebooks."""
        asked = len(self.costs) > 1
        notes = [f"answered by {self.answered_by}"] * asked + [self.unanswered, self.unfamiliar]
        return displays.dialogue_html(
            self.question,
            self.turns,
            self.answer,
            self.status,
            votes=self.votes,
            note="; ".join(filter(None, notes)),
        )


@dataclasses.dataclass(frozen=True)
class Asks:
    """The small students of a cascade are too unsure of a question, so that it asks others.

    first        what these said
    by           the measure of uncertainty (evaluation/deferral.py)
    uncertainty  theirs, which is above the threshold
    who          is asked
    """

    first: Solution
    by: str
    uncertainty: float
    threshold: float
    who: str

    @property
    def text(self) -> str:
        """In one line."""
        return f"{compared(self.by, self.uncertainty, self.threshold)}: asks {self.who} ..."


@dataclasses.dataclass(frozen=True)
class Unanswered:
    """Whoever was asked gave no answer to a question; `cost`: of what they wrote instead."""

    question: str
    reason: str
    cost: Cost = dataclasses.field(default_factory=Cost)


def compared(by: str, uncertainty: float, threshold: float) -> str:
    """An uncertainty beside its threshold, in words.

    >>> compared("answer", 0.7312, 0.5), compared("votes", 0.5, 0.5)
    ('uncertainty (answer) 0.731, above 0.5', 'uncertainty (votes) 0.5, not above 0.5')
    """
    above = "above" if uncertainty > threshold else "not above"
    return f"uncertainty ({by}) {uncertainty:.3g}, {above} {threshold:.3g}"
