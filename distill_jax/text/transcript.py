"""Transcripts: the turns of each scheme, their writers and their order.

A transcript is a list of turns (writer, text) after the question. For a problem with two steps:

    answer_only  solver "\\n#### 72"
    chain        solver "48/2 = 24\\n48+24 = 72\\n#### 72"
    socratic     decomposer "How many in May?"   solver "48/2 = 24"
                 decomposer "How many in all?"   solver "48+24 = 72\\n#### 72"

In some schemes a planner writes once, first: in socratic_equations "48/2 | 48+24", in
socratic_operators "/ +", and then the turns are those of socratic; in planned_chain "<1>", the
number of operators that a step has, and then the turn is that of chain.

This is how a scheme writes in our own format; text/formats.py has others.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step, Turn
from distill_jax.settings import ranges
from distill_jax.text import plan
from distill_jax.text.formats import FINE_TUNE_COT, FORMATS, TURNS, TextFormat

Turns = list[tuple[str, str]]  # (writer, text)


class Transcript(NamedTuple):
    """A dialogue as text: what rows are made from."""

    id: str  # of the problem, for messages
    question: str
    turns: Turns
    finished: bool = True  # False: cut off, so the last turn has no end mark
    origin: str = ""  # whose it is, as Annotation.origin


@dataclasses.dataclass(frozen=True)
class Scheme:
    """Who writes, in turn order, and how.

    ender        the one role that may end the dialogue; it follows the last role, so roles before
                 it write only once
    plan         makes the planner's text from a problem's steps; None = there is no planner
    needs_steps  whether more than the answer is learned
    """

    name: str
    roles: tuple[str, ...]
    ender: str
    plan: Callable[[Sequence[Step]], str] | None = None
    text_format: TextFormat = TURNS
    needs_steps: bool = True

    @property
    def alone(self) -> bool:
        """Whether one role writes everything."""
        return len(self.roles) == 1

    @property
    def asks(self) -> bool:
        """Whether every step is a turn, because a decomposer asks for it."""
        return "decomposer" in self.roles

    @property
    def speak_once(self) -> tuple[str, ...]:
        """The roles that only open the dialogue."""
        return self.roles[: self.roles.index(self.ender)]


_GUIDED = ("planner", "decomposer", "solver")
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("answer_only", ("solver",), "solver", needs_steps=False),
        Scheme("chain", ("solver",), "solver"),
        Scheme("socratic", ("decomposer", "solver"), "decomposer"),
        Scheme("socratic_equations", _GUIDED, "decomposer", plan.equations),
        Scheme("socratic_operators", _GUIDED, "decomposer", plan.operators),
        Scheme("planned_chain", ("planner", "solver"), "solver", plan.step_size),
    )
}


def render(annotation: Annotation, scheme: Scheme) -> Turns:
    """The turns that teach `annotation` under `scheme`; `parse` is the inverse.

    Raises UserError if the annotation cannot be written so: no steps, an answer of more than
    one line, or (socratic) a step without a subquestion. A plan may be empty: see `check_plans`.
    """
    if "\n" in annotation.answer:
        raise UserError(f"{annotation.id}: the answer has more than one line")
    form = scheme.text_format
    answer = form.trimmed(annotation.answer)
    if not scheme.needs_steps:
        return [("solver", f"{form.before_lone_answer}{answer}{form.after_answer}")]
    ending = f"{form.before_answer}{answer}{form.after_answer}"
    if not annotation.steps:
        raise UserError(f"{annotation.id}: no steps: scheme {scheme.name!r} needs some")
    turns: Turns = [("planner", scheme.plan(annotation.steps))] if scheme.plan else []
    if not scheme.asks:
        reasoning = form.trimmed("\n".join(step.solution for step in annotation.steps))
        return [*turns, ("solver", f"{form.before_reasoning}{reasoning}{ending}")]
    for step in annotation.steps:
        if step.subquestion is None:
            raise UserError(
                f"{annotation.id}: a step has no subquestion: use --config.scheme=chain, or "
                "annotations with subquestions"
            )
        asked, solved = form.trimmed(step.subquestion), form.trimmed(step.solution)
        turns += [("decomposer", asked), ("solver", solved)]
    turns[-1] = ("solver", turns[-1][1] + ending)
    return turns


def parse(turns: Turns, scheme: Scheme) -> tuple[tuple[Step, ...], str | None]:
    """Steps and answer of a transcript; the answer is None if no turn has an answer mark.

    The inverse of `render`, except that the steps of a chain come back as one, because a chain does
    not mark them. A subquestion without a solution is left out, and so is a plan, which follows
    from the steps.
    """
    form = scheme.text_format
    texts = [text for writer, text in turns if writer == "solver"]
    if not scheme.needs_steps:
        _, mark, answer = "".join(texts[-1:]).partition(form.before_lone_answer)
        return (), answer.removesuffix(form.after_answer) if mark else None
    answer = None
    if texts and form.before_answer in texts[-1]:
        texts[-1], answer = texts[-1].rsplit(form.before_answer, 1)
        answer = answer.removesuffix(form.after_answer)
        texts[-1] = texts[-1].removeprefix(form.before_reasoning)
    if not scheme.asks:
        return tuple(Step(None, text) for text in texts), answer
    questions = [text for writer, text in turns if writer == "decomposer"]
    return tuple(map(Step, questions, texts)), answer


def answer_text(solutions: Sequence[str], scheme: Scheme) -> str:
    """The last of a dialogue's solutions as graders read it: `####` stands before the answer."""
    if not solutions:
        return ""
    return scheme.text_format.marked(solutions[-1], lone=not scheme.needs_steps)


def before_answer(text: str) -> str:
    """A solver's text before the answer, in any format; "" if no answer is marked."""
    return max((text.rpartition(form.before_answer)[0] for form in FORMATS.values()), key=len)


def written_steps(turns: Sequence[Turn]) -> int:
    """Subquestions, or if nobody asks, lines of the solver before the answer."""
    texts: dict[str, list[str]] = {"decomposer": [], "solver": []}
    for turn in turns:
        texts.setdefault(turn.role, []).append(turn.text)
    if texts["decomposer"]:
        return sum(bool(text.strip()) for text in texts["decomposer"])
    return lines(before_answer("\n".join(texts["solver"])))


def lines(text: str) -> int:
    """The lines that are not empty."""
    return sum(bool(line.strip()) for line in text.split("\n"))


def check_plans(annotations: Sequence[Annotation], scheme: Scheme) -> int:
    """How many annotations have an empty plan, because no step has an equation.

    Raises UserError if a scheme with a planner has no plan at all.
    """
    if scheme.plan is None:
        return 0
    empty = sum(not scheme.plan(annotation.steps) for annotation in annotations)
    if empty == len(annotations):
        raise UserError(
            f"config.scheme={scheme.name!r}: no solution of {empty} annotations holds an equation "
            "such as 48/2 = 24 or <<48/2=24>>, so there is nothing to plan: use "
            f"--config.scheme={'socratic' if scheme.asks else 'chain'}, or annotations with "
            "equations"
        )
    return empty


def completion_text(turns: Turns) -> str:
    """The text that a grader reads: all turns, one after another, on separate lines."""
    return "\n".join(text for _, text in turns)


def mistakes(scheme: str, text_format: str) -> list[str]:
    """What is wrong with config.scheme and config.text_format."""
    known = {"scheme": SCHEMES, "text_format": FORMATS}
    found = ranges.mistakes("", {"scheme": scheme, "text_format": text_format}, choices=known)
    if not found and not SCHEMES[scheme].alone and FORMATS[text_format] is FINE_TUNE_COT:
        found.append(
            f"config.text_format={text_format!r} is for --config.scheme=chain or answer_only"
        )
    return found
