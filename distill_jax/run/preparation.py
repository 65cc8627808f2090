"""Makes everything that is needed before the first compilation; writes nothing."""

import contextlib
import gc
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from distill_jax.dialogues.predict import check_prompts
from distill_jax.dialogues.sampler import make_rules
from distill_jax.model import cache_attention
from distill_jax.model.network import NetworkConfig
from distill_jax.run import (
    adapters,
    from_first,
    rollout_pool,
    rollout_settings,
    student_objective,
    training_annotations,
)
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.evaluation_problems import evaluation_problems
from distill_jax.run.rollout_pool import Pool
from distill_jax.run.student_setup import Made, Place, StudentSetup, sizes, student_setup
from distill_jax.run.training_annotations import RunData
from distill_jax.sampling.turn_rules import TurnRules, allowed_tokens
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.text.tokenizer import Tokenizer


class Prepared(NamedTuple):
    """The input of training, its measurements and a dry run."""

    data: RunData
    tokenizer: Tokenizer
    models: dict[str, NetworkConfig]  # of every student of the run
    rules: TurnRules  # as config.sampling says
    setups: list[StudentSetup]  # of the chosen students, in their order
    pool: Pool | None = None  # the problems of rounds, if there are rounds


def prepare(desk: Desk, students: list[str], place: Place) -> Prepared:
    """Raises UserError for all mistakes of the user about data, sizes and the mesh."""
    run, terminal = desk.run, desk.terminal
    # Checks that need no data come first, because reading may take a while.
    cache_attention.check_kernel(run.sampling.attention, place.platform, run.sampling.dtype)
    terminal.say("reading annotations and making training rows")
    with terminal.watching(), without_cycle_search():
        data, tokenizer, (rows, dev_rows) = _encoded_data(desk)
    models = sizes(run, tokenizer, from_first.known_students(run).facts)
    rules = make_rules(run.scheme, run.views, models, tokenizer, run.sampling)
    rules.check_kernel(place.platform)  # before training, not after it
    allowed = np.asarray(allowed_tokens(rules))
    pool = rollout_pool.make(run, data.train, tokenizer)
    setups = [
        student_setup(
            run,
            student,
            (rows[student], dev_rows[student]),
            Made(
                models[student],
                allowed,
                adapters.make(run, student, models[student], tokenizer),
                student_objective.teacher(run, student, models[student], tokenizer)
                if rollout_settings.learns(run.config, student)
                else None,
            ),
            place,
            pool,
        )
        for student in students
    ]
    return Prepared(data, tokenizer, models, rules, setups, pool)


def _encoded_data(
    desk: Desk,
) -> tuple[RunData, Tokenizer, tuple[dict[str, text_rows.Rows], dict[str, text_rows.Rows]]]:
    """The annotations, their tokenizer, and the rows of every student to train and measure on."""
    run, terminal = desk.run, desk.terminal
    data = training_annotations.collect(*desk)
    if empty := transcript.check_plans(data.train, run.scheme):
        terminal.say(
            f"the plan of {empty} of {len(data.train)} annotations is empty: no equation in them"
        )
    tokenizer = from_first.tokenizer(run, data.train)
    train_rows, dev_rows = (
        text_rows.encode_rows(part, run.scheme, run.views, tokenizer, run.config.data.removal.role)
        for part in (data.train, data.dev)
    )
    return data, tokenizer, (train_rows, dev_rows)


@contextlib.contextmanager
def without_cycle_search() -> Iterator[None]:
    """While millions of records are made, which hold no cycles, Python does not look for any: it
    would go through all of them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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
