"""Makes everything that is needed before the first compilation; writes nothing."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from distill_jax.annotations.easy import hard_problems
from distill_jax.annotations.preferences import Pair, transcripts_of
from distill_jax.dialogues import given
from distill_jax.dialogues.predict import check_prompts
from distill_jax.dialogues.sampler import make_rules
from distill_jax.model import cache_attention
from distill_jax.model.network import NetworkConfig
from distill_jax.records import Annotation
from distill_jax.run import (
    adapters,
    ensemble,
    from_first,
    preference_pairs,
    restore_students,
    rollout_pool,
    rollout_settings,
    student_objective,
    training_annotations,
)
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.evaluation_problems import evaluation_problems, gold_annotations
from distill_jax.run.preference_pairs import RunPairs
from distill_jax.run.rollout_pool import Pool
from distill_jax.run.run import Run
from distill_jax.run.student_setup import Encoded, Made, Place, StudentSetup, sizes, student_setup
from distill_jax.run.training_annotations import RunData
from distill_jax.sampling.turn_rules import TurnRules, allowed_tokens
from distill_jax.settings import reward_module
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.text.rows import View
from distill_jax.text.tokenizer import Tokenizer


class Prepared(NamedTuple):
    """The input of training, its measurements and a dry run."""

    data: RunData
    pairs: RunPairs | None  # what is trained on instead of data.train, if there are any
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
        data, pairs, tokenizer, rows = _encoded_data(desk)
    models = sizes(run, tokenizer, from_first.known_students(run).facts)
    rules = make_rules(run.scheme, run.views, models, tokenizer, run.sampling)
    rules.check_kernel(place.platform)  # before training, not after it
    allowed = np.asarray(allowed_tokens(rules))
    pool = rollout_pool.make(run, data.train, tokenizer)
    if pool is not None:
        reward = rollout_settings.reward(run.config)
        reward_module.try_out(reward, pool.problems[0], run.scheme.roles[0])
    setups = [
        student_setup(
            run,
            student,
            rows[student],
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
    return Prepared(data, pairs, tokenizer, models, rules, setups, pool)


def _encoded_data(
    desk: Desk,
) -> tuple[RunData, RunPairs | None, Tokenizer, dict[str, Encoded]]:
    """The annotations, the pairs, their tokenizer, and the rows of every student."""
    run, terminal = desk.run, desk.terminal
    data = training_annotations.collect(*desk)
    if empty := transcript.check_plans(data.train, run.scheme):
        terminal.say(
            f"the plan of {empty} of {len(data.train)} annotations is empty: no equation in them"
        )
    pairs = preference_pairs.collect(run, data)
    tokenizer = from_first.tokenizer(run, data.train)
    return data, pairs, tokenizer, _rows(run, data, pairs, tokenizer)


def _rows(
    run: Run, data: RunData, pairs: RunPairs | None, tokenizer: Tokenizer
) -> dict[str, Encoded]:
    """The rows of every student: of pairs, if there are any."""
    removed, more = run.config.data.removal.role, run.config.loss.teacher_reads

    def encoded(part: list[Annotation], views: Sequence[View]) -> dict[str, text_rows.Rows]:
        return text_rows.encode_rows(part, run.scheme, views, tokenizer, removed)

    def both_answers(part: list[Pair]) -> dict[str, text_rows.Rows]:
        answers = list(transcripts_of(part))
        return text_rows.encode_transcripts(answers, run.scheme, run.views, tokenizer)

    teacher, dev_pairs = {}, {}
    if pairs is None:
        train = encoded(data.train, run.views)
    else:
        train, dev_pairs = both_answers(pairs.train), both_answers(pairs.dev)
    if more:
        teacher = encoded(data.train, text_rows.seeing_more(run.views, more))
    dev, hard = encoded(data.dev, run.views), hard_problems(data.train)
    return {
        name: Encoded(train[name], dev[name], teacher.get(name), dev_pairs.get(name, ()), hard)
        for name in train
    }


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
    """Raise UserError for what would stop the evaluation after training: too many of its questions
    do not fit, gold steps to give are missing, a run of its ensemble cannot answer, or its
    checkpoint will not be there. Say how many of its questions are trained on."""
    run, data = desk.run, prepared.data
    last = {setup.student: setup.facts["steps"] for setup in prepared.setups}
    restore_students.check_given_steps(run, last)
    ensemble.others(run, prepared.tokenizer)
    asked = evaluation_problems(run, data.dev)
    if given.needs_gold(run.sampling):
        given.check_gold(run.sampling.given, asked, gold_annotations(run, asked))
    share = run.config.evaluation.max_too_long_share
    check_prompts(asked, run.scheme, prepared.tokenizer, prepared.rules.context, share)
    trained_on = {annotation.question for annotation in data.train}
    known = sum(problem.question in trained_on for problem in asked)
    if known:
        desk.terminal.say(
            f"warning: {known} of {len(asked)} evaluation questions are training questions too: "
            "the accuracy will say little about new ones"
        )
