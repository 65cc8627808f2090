"""The training stage: every student of a run, one after another."""

import hashlib
from typing import Any

import jax

from distill_jax import sharding
from distill_jax.errors import UserError
from distill_jax.evaluation.evaluate import check_prompts
from distill_jax.model import gpt2
from distill_jax.run_inputs import RunInputs
from distill_jax.sampling import decode
from distill_jax.text import rows as text_rows
from distill_jax.training import batches, checkpoint, loop, optimizer, step
from distill_jax.workdir import read_json, write_json


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
    annotations, rejected = inputs.collect_annotations()
    tokenizer = inputs.tokenizer(annotations)
    models = inputs.models(tokenizer)
    rows = text_rows.encode_rows(annotations, inputs.scheme, inputs.views, tokenizer)
    mesh = sharding.make_mesh(**inputs.config.mesh)
    todo = {}
    for student in chosen:
        if student not in finished:
            seq_len = inputs.config.data.seq_len
            todo[student] = batches.StudentRows(rows[student], seq_len, student)
            _check_fit(inputs, student, todo[student], models[student], mesh)
    check_prompts(
        inputs.evaluation_problems(),
        tokenizer,
        inputs.plan(tokenizer).context,
        inputs.config.evaluation.max_too_long_share,
    )
    # Whatever the user can get wrong is known by now: from here on the directory is written to.
    inputs.write(annotations, rejected, tokenizer)
    allowed = decode.allowed_tokens(inputs.plan(tokenizer))
    for student, student_rows in todo.items():
        _train(inputs, student, student_rows, models[student], allowed, mesh)
    return finished_students(inputs)


def finished_students(inputs: RunInputs) -> dict[str, int]:
    """{student: steps} of those whose last checkpoint is the last one of their training."""
    facts = read_json(inputs.workdir.training_data) if inputs.workdir.training_data.exists() else {}
    finished = {}
    for student in inputs.students:
        steps = checkpoint.complete_steps(inputs.workdir.checkpoints / student)
        if steps and student in facts and steps[-1] == facts[student]["steps"]:
            finished[student] = steps[-1]
    return finished


def make_optimizer(inputs: RunInputs, student: str, steps: int):
    """(optimizer, schedule) of a student that trains for `steps`."""
    settings = dict(inputs.config.optimizer[student])
    schedule_keys = ("learning_rate", "final_learning_rate", "warmup_steps")
    schedule = optimizer.learning_rate_schedule(
        steps=steps, **{key: settings.pop(key) for key in schedule_keys}
    )
    return optimizer.make_optimizer(schedule, **settings), schedule


def student_key(seed: int, student: str) -> jax.Array:
    """The key of a student's initial parameters: from seed and name, not from the order."""
    number = int.from_bytes(hashlib.sha256(student.encode()).digest()[:4], "big")
    return jax.random.fold_in(jax.random.key(seed), number)


def _train(
    inputs: RunInputs,
    student: str,
    rows: batches.StudentRows,
    model: gpt2.GPT2Config,
    allowed: jax.Array,
    mesh: jax.sharding.Mesh,
) -> None:
    """Train one student from its last checkpoint, or from the start, to its last step."""
    config, terminal = inputs.config, inputs.terminal
    facts = _facts(inputs, rows, model)
    _write_facts(inputs, student, facts)
    terminal.say(
        f"student {student}: {facts['parameters']:,} parameters, {facts['rows']:,} rows, "
        f"{facts['steps']:,} steps of {config.train.batch_size} x {rows.shape.seq_len} tokens "
        f"({facts['useful_share']:.0%} useful), {facts['epochs']:.2f} epochs"
    )
    optimizer_, schedule = make_optimizer(inputs, student, facts["steps"])
    data = batches.make_batches(rows, config.seed, config.train.batch_size)
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, model, optimizer_)
        directory = inputs.workdir.checkpoints / student
        checkpoints = checkpoint.Checkpoints(directory, config.train.keep)
        # A resumed run goes on; a new one starts from random parameters.
        restored = checkpoints.restore_latest(abstract)
        if restored is None:
            init = step.make_init(abstract, model, optimizer_)
            state = init(student_key(config.seed, student))
        else:
            state = restored[1]
            terminal.say(f"student {student}: going on from step {restored[0]}")
        step_function = step.compile_step(mesh, abstract, data[0], model, optimizer_, allowed)
        done = int(state.step)
        with terminal.progress(f"training {student}", facts["steps"], done) as progress:
            loop.train(
                student,
                step_function=step_function,
                state=state,
                batches=data,
                mesh=mesh,
                steps=facts["steps"],
                log_every=config.train.log_every,
                save_every=config.train.save_every,
                schedule=schedule,
                checkpoints=checkpoints,
                metrics_file=inputs.metrics_file,
                progress=progress,
            )


def _facts(inputs: RunInputs, rows: batches.StudentRows, model: gpt2.GPT2Config) -> dict[str, Any]:
    """What a student trains on. Its steps are given, or what its share of the budget pays for."""
    settings = inputs.config.train
    per_step = settings.batch_size * rows.tokens / len(rows)
    budget = settings.token_budget / len(inputs.students)
    steps = settings.steps or max(1, round(budget / per_step))
    shapes = jax.eval_shape(lambda: gpt2.init_params(model, jax.random.key(0)))
    return {
        "steps": steps,
        "tokens": round(steps * per_step),
        "loss_tokens": round(steps * settings.batch_size * rows.loss_tokens / len(rows)),
        "epochs": steps * settings.batch_size / len(rows),
        "rows": len(rows),
        "seq_len": rows.shape.seq_len,
        "useful_share": rows.tokens / (len(rows) * rows.shape.seq_len),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(shapes)),
    }


def _write_facts(inputs: RunInputs, student: str, facts: dict[str, Any]) -> None:
    path = inputs.workdir.training_data
    known = read_json(path) if path.exists() else {}
    write_json(path, known | {student: facts})


def _check_fit(
    inputs: RunInputs,
    student: str,
    rows: batches.StudentRows,
    model: gpt2.GPT2Config,
    mesh: jax.sharding.Mesh,
) -> None:
    """Raise UserError where the rows exceed the context, or sizes do not divide over the mesh."""
    if rows.shape.seq_len > model.context:
        raise UserError(
            f"training rows of student {student!r} have {rows.shape.seq_len} tokens, its context "
            f"is {model.context}: raise config.model.{student}.context"
        )
    shape = mesh.shape
    checks = (
        (
            "config.train.batch_size",
            inputs.config.train.batch_size,
            shape["data"] * shape["fsdp"],
            "data x fsdp",
        ),
        (f"config.model.{student}.width", model.width, shape["fsdp"], "fsdp"),
        (f"config.model.{student}.heads", model.heads, shape["tensor"], "tensor"),
        ("the padded vocabulary", model.vocab_size, shape["tensor"], "tensor"),
    )
    for name, value, parts, axes in checks:
        if value % parts:
            raise UserError(f"{name}={value} does not divide by {parts} (config.mesh: {axes})")


def _describe(finished: dict[str, int]) -> str:
    return ", ".join(f"{student} at step {steps}" for student, steps in finished.items())
