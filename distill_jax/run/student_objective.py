"""The objective of a student, config.loss, and the frozen students that it reads."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from distill_jax.errors import UserError
from distill_jax.model import attention
from distill_jax.model.network import NetworkConfig
from distill_jax.run import student_source
from distill_jax.run.run import Run
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import step
from distill_jax.training.divergence import Divergence
from distill_jax.training.objective import TEACHER, Distillation, Likelihood

_KEY = "config.loss.teacher"


class Frozen(NamedTuple):
    """A student that is only read."""

    name: str  # where it is: student_source.given_size
    model: NetworkConfig


class StudentObjective(NamedTuple):
    """What a student is trained on."""

    objective: step.Objective
    frozen: dict[str, Frozen]  # by the names that the objective gives them


def make(
    run: Run,
    student: str,
    model: NetworkConfig,
    tokenizer: Tokenizer,
    kernel: tuple[str, int],
) -> StudentObjective:
    """`kernel` holds the platform and the tokens of a row, which decide on the kernel of the
    teacher's attention.

    Raises UserError if the teacher cannot be read, or does not fit.
    """
    settings, train = run.config.loss, run.config.train
    if not settings.divergence:
        return StudentObjective(Likelihood(), {})
    name = _teacher(settings.teacher, student)
    teacher = student_source.given_size(name, _KEY, tokenizer)
    if teacher.vocab_size != model.vocab_size:
        raise UserError(
            f"{_KEY}={name} has {teacher.vocab_size} rows of embeddings, student {student!r} has "
            f"{model.vocab_size}: start both from models with the same tokenizer and vocabulary"
        )
    platform, seq_len = kernel
    if seq_len > teacher.context:
        raise UserError(
            f"{_KEY}={name} reads {teacher.context} tokens, the rows have up to {seq_len}: set "
            f"config.data.seq_len={teacher.context}"
        )
    of_teacher, _ = attention.choose_kernel(
        train.attention,
        platform,
        dtype=train.dtype,
        seq_len=seq_len,
        head_dim=teacher.head_dim,
        dropout=0.0,
    )
    kind = Divergence(settings.beta, settings.temperature)
    objective = Distillation(
        settings.likelihood, settings.divergence, kind, teacher, kernel=of_teacher
    )
    return StudentObjective(objective, {TEACHER: Frozen(name, teacher)})


def _teacher(name: str, student: str) -> str:
    """The student of this name if `name` is a run, or else what stands there."""
    path = pathlib.Path(name)
    is_run = (path / "training_data.json").exists()
    return str(path / "checkpoints" / student) if is_run else name


def load(
    frozen: Mapping[str, Frozen], mesh: jax.sharding.Mesh, terminal: Terminal
) -> dict[str, Any]:
    """The parameters of frozen students, laid out over the mesh."""
    loaded = {}
    for role, (name, model) in frozen.items():
        terminal.say(f"the {role}: {name}")
        params, _ = student_source.given_params(name, _KEY, model)
        loaded[role] = step.place_params(step.abstract_params(mesh, model), params)
    return loaded
