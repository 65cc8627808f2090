"""Everything that is made before the first compilation; nothing is written."""

from typing import NamedTuple

import numpy as np

from distill_jax.dialogues.predict import check_prompts
from distill_jax.dialogues.sampler import make_rules
from distill_jax.model import cache_attention
from distill_jax.model.network import NetworkConfig
from distill_jax.run import adapters, from_first, student_objective, training_annotations
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.evaluation_problems import evaluation_problems
from distill_jax.run.student_setup import Made, Place, StudentSetup, sizes, student_setup
from distill_jax.run.training_annotations import RunData
from distill_jax.sampling.turn_rules import TurnRules, allowed_tokens
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.text.tokenizer import Tokenizer


class Prepared(NamedTuple):
    """What training, its measurements and a dry run begin with."""

    data: RunData
    tokenizer: Tokenizer
    models: dict[str, NetworkConfig]  # of every student of the run
    rules: TurnRules  # as config.sampling says
    setups: list[StudentSetup]  # of the students that are asked for, in their order


def prepare(desk: Desk, students: list[str], place: Place) -> Prepared:
    """Raises UserError for whatever the user can get wrong about data, sizes and the mesh."""
    run, terminal = desk.run, desk.terminal
    # What needs no data is checked before it is read, which may take a while.
    cache_attention.check_kernel(run.sampling.attention, place.platform, run.sampling.dtype)
    terminal.say("reading annotations and making training rows")
    data = training_annotations.collect(*desk)
    if empty := transcript.check_plans(data.train, run.scheme):
        terminal.say(
            f"the plan of {empty} of {len(data.train)} annotations is empty: no equation in them"
        )
    tokenizer = from_first.tokenizer(run, data.train)
    models = sizes(run, tokenizer, from_first.known_students(run).facts)
    rows, dev_rows = (
        text_rows.encode_rows(part, run.scheme, run.views, tokenizer, run.config.data.removal.role)
        for part in (data.train, data.dev)
    )
    rules = make_rules(run.scheme, run.views, models, tokenizer, run.sampling)
    rules.check_kernel(place.platform)  # now, not after the training
    allowed = np.asarray(allowed_tokens(rules))
    setups = [
        student_setup(
            run,
            student,
            (rows[student], dev_rows[student]),
            Made(
                models[student],
                allowed,
                adapters.make(run, student, models[student], tokenizer),
                student_objective.teacher(run, student, models[student], tokenizer),
            ),
            place,
        )
        for student in students
    ]
    return Prepared(data, tokenizer, models, rules, setups)


def check_questions(desk: Desk, prepared: Prepared) -> None:
    """Raise UserError if too many questions of the evaluation do not fit; say how many of them are
    trained on."""
    run, data = desk.run, prepared.data
    asked = evaluation_problems(run, data.dev)
    share = run.config.evaluation.max_too_long_share
    check_prompts(asked, run.scheme, prepared.tokenizer, prepared.rules.context, share)
    trained_on = {annotation.question for annotation in data.train}
    known = sum(problem.question in trained_on for problem in asked)
    if known:
        desk.terminal.say(
            f"warning: {known} of {len(asked)} evaluation questions are training questions too: "
            "the accuracy will say little about new ones"
        )
