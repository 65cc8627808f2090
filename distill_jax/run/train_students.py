"""The training stage: every student of a run, one after another."""

import contextlib
from typing import Any

import jax
import numpy as np

from distill_jax import distributed, errors, records
from distill_jax.dialogues.predict import check_prompts
from distill_jax.errors import UserError
from distill_jax.model import cache_attention, sharding
from distill_jax.run import dev_measurement, student_source, training_annotations
from distill_jax.run.dev_measurement import DevMeasurement
from distill_jax.run.parity_test_selection import ParityTestSelection
from distill_jax.run.restore_students import finished_students
from distill_jax.run.run_inputs import RunInputs
from distill_jax.run.student_setup import StudentSetup, say_setup, student_seed, student_setup
from distill_jax.sampling.plan import allowed_tokens
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.training import checkpoint, hooks, loop, step
from distill_jax.training.loop import Hook
from distill_jax.training.profile import ProfileWindow
from distill_jax.workdir import write_json


def train_students(inputs: RunInputs) -> dict[str, int]:
    """Train what is not trained yet; returns {student: steps} of the students that are finished.

    The facts of each student (rows, tokens, steps, epochs, parameters) go to training_data.json.
    """
    chosen = inputs.config.train.students or tuple(inputs.students)
    finished = finished_students(inputs)
    if all(student in finished for student in chosen):
        inputs.terminal.say(f"training: nothing left to do ({_describe(finished)})")
        return finished
    inputs.terminal.say("reading annotations and making training rows")
    mesh = sharding.make_mesh(**inputs.config.mesh)
    todo = [student for student in chosen if student not in finished]
    data, tokenizer, setups = prepare(inputs, todo, mesh, jax.default_backend())
    _check_questions(inputs, data, tokenizer)
    dev_measurement.check_order(inputs, todo)
    for student in todo:
        distributed.check_shared(inputs.checkpoint_directory(student).parent)
    # Whatever the user can get wrong is known by now: from here on the directory is written to.
    training_annotations.write(inputs, data, tokenizer)
    inputs.tracking.open()
    for setup in setups:
        with jax.set_mesh(mesh):
            _train(inputs, setup, mesh, tokenizer, data)
    return finished_students(inputs)


def prepare(
    inputs: RunInputs, students: list[str], mesh: jax.sharding.Mesh, platform: str
) -> tuple[training_annotations.RunData, Tokenizer, list[StudentSetup]]:
    """Everything that is made before the first compilation; writes nothing."""
    # What needs no data is checked before it is read, which may take a while.
    cache_attention.check_kernel(inputs.sampling.attention, platform, inputs.sampling.dtype)
    data = training_annotations.collect(inputs)
    empty = transcript.check_plans(data.train, inputs.scheme)
    if empty:
        inputs.terminal.say(
            f"the plan of {empty} of {len(data.train)} annotations is empty: no equation in them"
        )
    tokenizer = inputs.tokenizer(data.train)
    models = inputs.models(tokenizer)
    rows, dev_rows = (
        text_rows.encode_rows(part, inputs.scheme, inputs.views, tokenizer)
        for part in (data.train, data.dev)
    )
    plan = inputs.plan(tokenizer)
    plan.check_kernel(platform)  # now, not after the training
    allowed = allowed_tokens(plan)
    setups = [
        student_setup(
            inputs, student, rows[student], dev_rows[student], models[student],
            np.asarray(allowed), mesh, platform,
        )
        for student in students
    ]  # fmt: skip
    return data, tokenizer, setups


def _check_questions(
    inputs: RunInputs, data: training_annotations.RunData, tokenizer: Tokenizer
) -> None:
    """Raise UserError where too many questions of the evaluation do not fit; say how many of them
    are trained on."""
    asked = inputs.evaluation_problems(data.dev)
    share = inputs.config.evaluation.max_too_long_share
    check_prompts(asked, inputs.scheme, tokenizer, inputs.plan(tokenizer).context, share)
    trained_on = {annotation.question for annotation in data.train}
    known = sum(problem.question in trained_on for problem in asked)
    if known:
        inputs.terminal.say(
            f"warning: {known} of {len(asked)} evaluation questions are training questions too: "
            "the accuracy will say little about new ones"
        )


def _train(
    inputs: RunInputs,
    setup: StudentSetup,
    mesh: jax.sharding.Mesh,
    tokenizer: Tokenizer,
    data: training_annotations.RunData,
) -> None:
    """Train one student from its last checkpoint, or from the start, to its last step."""
    config, terminal, student = inputs.config, inputs.terminal, setup.student
    say_setup(inputs, setup, mesh)
    abstract = step.abstract_state(mesh, setup.trainer.config, setup.trainer.optimizer)
    checkpoints = checkpoint.Checkpoints(
        inputs.checkpoint_directory(student), config.train.keep, terminal.say
    )
    state, weights_dtype = _first_state(inputs, setup, abstract, checkpoints)
    made_from = {
        "weights_dtype": weights_dtype,
        "sha256": distributed.from_first(inputs.workdir.hashes),
    }
    _write_facts(inputs, student, setup.facts | made_from)
    terminal.say(f"student {student}: compiling the training step")
    frozen: dict[str, Any] = {}  # its objective reads no other student
    shapes = setup.data.global_shapes()
    compiled = step.lower_step(mesh, abstract, shapes, frozen, setup.trainer).compile()
    steps, first = setup.facts["steps"], int(state.step)
    inputs.tracking.start(student, first)
    tokens = hooks.tokens_before(student, first, setup.data, inputs.tracking)
    moment = loop.Moment(first, state, steps, tokens, loop.Stopwatch())
    del state  # the first step gives its memory away
    with terminal.progress(f"training {student}", steps, first) as progress:
        logging = hooks.Logging(
            student,
            inputs.tracking,
            progress,
            hooks.Speed(moment, setup.facts["flops_per_token"], mesh),
            setup.schedule,
            checkpoints,
        )
        profile = ProfileWindow(
            config.train.profile_first if distributed.is_first() else 0,
            config.train.profile_last,
            inputs.workdir.profile / student,
            terminal.say,
        )
        measuring = _measuring(inputs, setup, mesh, tokenizer, data.dev, first)
        with (
            errors.signals_deferred(),
            contextlib.closing(checkpoints),
            contextlib.closing(profile),
        ):
            several = distributed.processes() > 1
            loop.train(
                lambda state, batch: compiled(state, batch, frozen),
                moment,
                setup.data,
                mesh,
                [
                    Hook(1, profile.after_step),
                    Hook(config.train.log_every, logging),
                    *measuring,
                    Hook(config.train.log_every if several else 1, hooks.StopWhenAsked()),
                    Hook(1, hooks.Saving(student, config.train.save_every, checkpoints, logging)),
                    Hook(1, profile.before_step),
                ],
            )
            checkpoints.wait()
            distributed.wait_for_all(f"{student} is saved")  # process 0 writes the manifest
            if moment.interrupted:
                distributed.leave_together()
                raise errors.Interrupted
    last, best = moment.step, int(moment.state.best_step)
    ended = {"finished_at": last, "best_step": best}
    _write_facts(inputs, student, inputs.facts()[student] | ended)
    if last < steps:
        terminal.say(
            f"student {student}: stopped at step {last}, no better on dev than at step {best}"
        )


def _measuring(
    inputs: RunInputs,
    setup: StudentSetup,
    mesh: jax.sharding.Mesh,
    tokenizer: Tokenizer,
    dev: list[records.Annotation],
    first: int,
) -> list[Hook]:
    """What looks at a student while it trains, from step `first` on."""
    config, found = inputs.config.train, []
    if config.eval_every and setup.dev:
        measure = DevMeasurement(inputs, setup, mesh, tokenizer, dev)
        patience_steps = config.patience * config.eval_every
        measuring = hooks.Measuring(
            setup.student, measure, patience_steps, inputs.tracking, inputs.terminal.say
        )
        found.append(Hook(config.eval_every, measuring))
    if config.parity_test_selection:
        found.append(Hook(1, ParityTestSelection(inputs, setup, tokenizer, first)))
    return found


def _first_state(
    inputs: RunInputs, setup: StudentSetup, abstract: Any, checkpoints: checkpoint.Checkpoints
) -> tuple[step.TrainState, str]:
    """A resumed run goes on; a new one starts from given parameters, or else from random ones.

    Returns the dtype of the files that the parameters came from, too.
    """
    student, trainer = setup.student, setup.trainer
    restored = checkpoints.restore_latest(abstract)
    if restored is not None:
        if student not in inputs.facts():
            raise UserError(
                f"{inputs.checkpoint_directory(student)} holds checkpoints of another run: choose "
                "another config.checkpoint_dir"
            )
        inputs.terminal.say(f"student {student}: going on from step {restored[0]}")
        return restored[1], inputs.facts()[student]["weights_dtype"]
    section = inputs.config.model[student]
    params, weights_dtype = student_source.given_params(section, student, trainer.config)
    if params is not None:
        inputs.terminal.say(f"student {student}: starting from {section.init_from}")
        return step.state_from_params(abstract, trainer.optimizer, params), weights_dtype
    key = jax.random.key(student_seed(inputs.config, student))
    return step.random_state(abstract, trainer.config, trainer.optimizer, key), weights_dtype


def _write_facts(inputs: RunInputs, student: str, facts: dict[str, Any]) -> None:
    known = inputs.facts()
    if distributed.is_first():
        write_json(inputs.workdir.training_data, known | {student: facts})


def _describe(finished: dict[str, int]) -> str:
    return ", ".join(f"{student} at step {steps}" for student, steps in finished.items())
