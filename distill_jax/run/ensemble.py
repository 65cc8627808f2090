"""Students of several runs that answer together, token by token: config.evaluation.ensemble."""

import dataclasses
from typing import Any, NamedTuple

from distill_jax.dialogues.sampler import make_rules
from distill_jax.errors import UserError
from distill_jax.model import hugging_face
from distill_jax.run import from_first, student_source
from distill_jax.run.restore_students import chosen_steps, restore_params
from distill_jax.run.run import Run, stored_run
from distill_jax.run.student_setup import sizes
from distill_jax.sampling import turn_rules
from distill_jax.sampling.turn_rules import TurnRules
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.workdir import Workdir, local_path

KEY = "config.evaluation.ensemble"
NAME = "ensemble"  # who answers


class Member(NamedTuple):
    """A run whose students answer."""

    run: Run
    steps: dict[str, int]  # {student: step of its checkpoint}
    facts: dict[str, Any]  # training_data.json

    @property
    def identity(self) -> dict[str, Any]:
        """What decides what its students say."""
        return {"identity": self.run.identity(), "steps": self.steps}


def members(run: Run, known: from_first.KnownStudents) -> list[Member]:
    """The run itself and those of config.evaluation.ensemble, in order. All of several processes
    must ask. Raises UserError as `others` does, and if the run's own students are not trained."""
    first = Member(run, chosen_steps(run, known), known.facts)
    if not run.config.evaluation.ensemble:
        return [first]
    return [first, *others(run, from_first.tokenizer(run))]


def others(run: Run, tokenizer: Tokenizer) -> list[Member]:
    """The runs of config.evaluation.ensemble, in order. All of several processes must ask.

    `tokenizer` is that of `run`, whose own students need not be trained yet. Raises UserError if a
    run cannot answer together with it: the scheme, what roles read, the text format or the
    tokenizer is another, its students are not trained, or it is named twice.
    """
    found: list[Member] = []
    rule = run.config.evaluation.checkpoint
    for name in run.config.evaluation.ensemble:
        other = stored_run(Workdir(local_path(name, KEY)), {"evaluation.checkpoint": rule})
        for what, mine, theirs in (
            ("scheme", run.scheme.name, other.scheme.name),
            ("text format", run.config.text_format, other.config.text_format),
            ("views (config.students, config.reads)", _sights(run), _sights(other)),
        ):
            if mine != theirs:
                raise UserError(f"{KEY}: {name} differs in its {what}: {theirs}, not {mine}")
        if not student_source.same_tokenizer(other.workdir.path, tokenizer):
            raise UserError(
                f"{KEY}: {name} was trained with another tokenizer, so its tokens mean something "
                "else: an ensemble needs runs that have one tokenizer (train the next ones with "
                f"config.tokenizer.name={run.workdir.path / 'tokenizer'})"
            )
        known = from_first.known_students(other)
        found.append(Member(other, chosen_steps(other, known), known.facts))
    places = [each.workdir.path.resolve() for each in (run, *(member.run for member in found))]
    if len(set(places)) < len(places):
        raise UserError(f"{KEY}: one of the runs is named twice, or is the run that is evaluated")
    return found


def _sights(run: Run) -> list[tuple[list[str], list[str]]]:
    """Which roles write in a view, and which it sees."""
    roles = run.scheme.roles
    return [([roles[i] for i in view.writes], sorted(view.sees)) for view in run.views]


def rules_and_params(found: list[Member], tokenizer: Tokenizer) -> tuple[TurnRules, dict[str, Any]]:
    """What the sampler needs: the rules of all members together, and {student: parameters}.

    Students of the first keep their names, those of another are called 2/solver and so on. To be
    called under `jax.set_mesh`.
    """
    run = found[0].run
    parts, params = [], {}
    models_of = [sizes(member.run, tokenizer, member.facts) for member in found]
    rows = max(model.vocab_size for models in models_of for model in models.values())
    for number, (member, models) in enumerate(zip(found, models_of, strict=True), start=1):
        fitted = {
            student: dataclasses.replace(model, vocab_size=rows)
            for student, model in models.items()
        }
        rules = make_rules(member.run.scheme, member.run.views, fitted, tokenizer, run.sampling)
        own = restore_params(member.run, models, member.steps)
        prefix = f"{number}/" if number > 1 else ""
        params |= {
            prefix + student: hugging_face.fit_rows(values, models[student], rows)
            for student, values in own.items()
        }
        views = [dataclasses.replace(v, student=prefix + v.student) for v in rules.views]
        parts.append(dataclasses.replace(rules, views=tuple(views)))
    return turn_rules.together(parts, run.config.evaluation.ensemble_mean), params


def facts(found: list[Member], report: dict[str, Any]) -> dict[str, Any]:
    """What `report`, that of the members together, says of them: as a combination of evaluations
    (evaluation/combined_evaluation.py)."""
    settings = {"mean": found[0].run.config.evaluation.ensemble_mean}
    return {
        "rule": NAME,
        "settings": settings,
        "description": f"{len(found)} students together, {settings['mean']} mean",
        "answered_by": {NAME: report["n"]},
        "members": [
            {
                "name": member.run.workdir.path.name,
                "path": str(member.run.workdir.path),
                "seed": member.run.config.seed,
                "identity": member.run.identity(),
                "sampling": report["sampling"],
                "checkpoint_steps": member.steps,
                "checkpoint_rule": report["checkpoint_rule"],
            }
            for member in found
        ],
        "students": {
            f"{number}/{student}": member.facts[student]
            for number, member in enumerate(found, start=1)
            for student in member.steps
        },
    }
