"""Parts of a dialogue that are given instead of written: config.sampling.given.

""            nothing is given: the students write all of it
plan          the planner writes the gold plan (the oracle for guidance); decomposer and solver
              write the rest
subquestions  the decomposer writes the gold subquestions (the oracle of the papers), all or only
              the first steps; the solver answers
shuffled      all the same subquestions in another order, drawn from seed and problem (a single one
              keeps its place)
nothing       the decomposer writes nothing, until the solver writes `####` or a limit is reached
history       each step separately: the gold dialogue up to its subquestion is given, the solver
              answers, and that answer is graded

If there is a planner, subquestions and history also give its gold plan; with "nothing" it writes
its own plan.

Given turns may be longer than config.sampling.max_turn_tokens, which limits only what the students
write themselves; max_tokens, max_turns and the context limit the whole dialogue.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from distill_jax.dialogues.sampler import Sampler, Settings, empty_turn
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, Turn
from distill_jax.sampling.dialogues import name_hash
from distill_jax.sampling.turn_rules import FREE_TURN, HOLD, TurnRules
from distill_jax.text import transcript
from distill_jax.text.exact_values import extract_numbers, format_value

NOTHING = "nothing"
Said = Sequence[tuple[str, str] | Turn]  # (role, text) of each turn, or a Turn
Script = tuple[int, ...]
Problems = list[tuple[Problem, Script]]


def needs_gold(settings: Settings) -> bool:
    """Whether gold annotations are needed."""
    return settings.given in ("plan", "subquestions", "shuffled", "history")


def with_scripts(
    problems: Sequence[Problem], annotations: Mapping[str, Annotation], sampler: Sampler
) -> Problems:
    """The problems with their scripts; with "history" one problem per step.

    `annotations` by problem id; the scheme has the role whose turns are given (run/checks.py).
    Raises UserError if an annotation is needed and missing.
    """
    settings, scheme = sampler.settings, sampler.scheme
    if not settings.given:
        return [(problem, ()) for problem in problems]
    if settings.given == NOTHING:
        return [(problem, nothing(sampler)) for problem in problems]
    check_gold(settings.given, problems, annotations)
    if settings.given == "plan":
        transcript.check_plans(list(annotations.values()), scheme)
        return [(p, gold_plan(annotations[p.id], sampler)) for p in problems]
    if settings.given == "subquestions":
        return [(p, subquestions(annotations[p.id], sampler)) for p in problems]
    if settings.given == "shuffled":
        shuffled = [shuffle(annotations[p.id], sampler.seed) for p in problems]
        return [(p, subquestions(a, sampler)) for p, a in zip(problems, shuffled, strict=True)]
    steps = [step for p in problems for step in history(p, annotations[p.id], sampler)]
    if not steps:
        raise UserError("config.sampling.given='history': no gold step has a number to compare")
    return steps


def check_gold(
    what: str, problems: Sequence[Problem], annotations: Mapping[str, Annotation]
) -> None:
    """Raise UserError if a problem has no annotation, by its id, for config.sampling.given=what."""
    missing = [problem.id for problem in problems if problem.id not in annotations]
    if missing:
        raise UserError(
            f"config.sampling.given={what!r} needs gold steps: {len(missing)} of {len(problems)} "
            f"problems have none, the first is {missing[0]}"
        )


def nothing(sampler: Sampler, turns: int = 0) -> Script:
    """After so many turns that were said the decomposer's are empty, and the others are free.

    With the roles decomposer and solver: end_of_turn FREE_TURN HOLD; after one turn: FREE_TURN
    HOLD; after two: HOLD. At HOLD the sampler says how it goes on.
    """
    rules, scheme = sampler.rules, sampler.scheme
    if not turns:
        return (FREE_TURN,) * len(scheme.speak_once) + empty_turn(rules)
    role = 0
    for _ in range(turns):
        role = rules.next_role[role]
    return (HOLD,) if scheme.roles[role] == "decomposer" else (FREE_TURN, HOLD)


def gold_plan(annotation: Annotation, sampler: Sampler) -> Script:
    """The planner's turn: for the plan `p`, p /; the rest is free."""
    assert sampler.scheme.plan is not None
    return tuple(_turn(sampler.scheme.plan(annotation.steps), sampler))


def subquestions(annotation: Annotation, sampler: Sampler) -> Script:
    """All turns except the solver's, up to config.sampling.given_steps of its turns (0 = all).

    With the steps `a : A` and `b : B` and both given: a / FREE_TURN b / FREE_TURN end_of_text.
    """
    steps = sampler.settings.given_steps
    turns = transcript.render(annotation, sampler.scheme)
    script: list[int] = []
    answered = 0
    for writer, text in turns:
        if steps and answered == steps:
            return tuple(script)
        if writer == "solver":
            script.append(FREE_TURN)
            answered += 1
        else:
            script += _turn(text, sampler)
    return (*script, sampler.rules.end_of_text)


def shuffle(annotation: Annotation, seed: int) -> Annotation:
    """The annotation with its subquestions in another order; the solutions keep their places. The
    same order for the same seed and id on every machine."""
    order = gold = list(range(len(annotation.steps)))
    attempts = itertools.count()
    while order == gold and len(gold) > 1:
        name = f"{seed}/{annotation.id}/{next(attempts)}"
        order = sorted(gold, key=[name_hash(f"{name}/{place}") for place in gold].__getitem__)
    steps = tuple(
        dataclasses.replace(step, subquestion=annotation.steps[place].subquestion)
        for step, place in zip(annotation.steps, order, strict=True)
    )
    return dataclasses.replace(annotation, steps=steps)


def history(problem: Problem, annotation: Annotation, sampler: Sampler) -> Problems:
    """One problem for each step whose gold solution has a number; its answer is the last number.

    Ids get `/step/1` and so on. With the steps `a : A` and `b : B` the second is given as
    a / A / b / FREE_TURN end_of_text.
    """
    asked: Problems = []
    script: list[int] = []
    number = 0
    for writer, text in transcript.render(annotation, sampler.scheme):
        if writer != "solver":
            script += _turn(text, sampler)
            continue
        number += 1
        values = extract_numbers(text)
        if values:
            step = dataclasses.replace(
                problem, id=f"{problem.id}/step/{number}", answer=format_value(values[-1])
            )
            asked.append((step, (*script, FREE_TURN, sampler.rules.end_of_text)))
        script += _turn(text, sampler)
    return asked


def beginning(said: Said, sampler: Sampler) -> Script:
    """The turns that were said, for students who go on from there.

    With the turns `a` and `A` of two roles: a / A /; a lone role goes on in its own text: a. With
    config.sampling.given="nothing" the decomposer's turns after them are empty. Raises UserError
    for turns of another role, and if they leave no room.
    """
    rules, roles = sampler.rules, sampler.scheme.roles
    mark = [rules.end_of_turn] if len(roles) > 1 else []
    script: list[int] = []
    role = headers = 0
    for turn in said:
        try:
            name, text = (turn.role, turn.text) if isinstance(turn, Turn) else turn
        except (TypeError, ValueError):
            raise UserError(
                'said: a list of turns for each question: [[("decomposer", "...")]]'
            ) from None
        if name != roles[role]:
            raise UserError(f"said: it is the turn of {roles[role]}, not of {name!r}")
        script += [*sampler.tokenizer.encode([text])[0], *mark]
        headers += len(rules.opening(role))
        role = rules.next_role[role]
    turns = len(said) if mark else 0
    if len(script) + headers >= rules.max_tokens or turns >= rules.max_turns:
        raise UserError(
            f"said: {len(script)} tokens in {len(said)} turns leave no room to go on: raise "
            f"max_tokens (now {rules.max_tokens}) or max_turns (now {rules.max_turns})"
        )
    if sampler.settings.given == NOTHING:
        script += nothing(sampler, len(said))
    return tuple(script)


def ended_in_given(script: Script, turns: Sequence[Turn], status: str, rules: TurnRules) -> bool:
    """Whether a dialogue was stopped inside its given part, so that no student could continue it.

    It may be stopped by config.sampling.max_tokens or max_turns, or by a full context.
    """
    lengths = [0]  # given tokens of each turn: with the end mark, without the header
    for entry in script:
        lengths[-1] += entry >= 0
        if entry in (rules.end_of_turn, FREE_TURN):
            lengths.append(0)
    stopped = status in ("turn_cap", "token_cap", "context")
    return stopped and len(turns) <= len(lengths) and turns[-1].tokens <= lengths[len(turns) - 1]


def _turn(text: str, sampler: Sampler) -> list[int]:
    return [*sampler.tokenizer.encode([text])[0], sampler.rules.end_of_turn]
