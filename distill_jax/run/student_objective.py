"""The objective of a student, config.loss, and the frozen students that it reads."""

import dataclasses
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
from distill_jax.training.mixup import Mixup
from distill_jax.training.objective import TEACHER, Distillation, Likelihood
from distill_jax.training.policy_objective import Policy
from distill_jax.training.preference import Preference
from distill_jax.workdir import local_path

_KEY = "config.loss.teacher"


class Frozen(NamedTuple):
    """A student that is only read."""

    name: str  # where it is: student_source.given_size
    model: NetworkConfig


class StudentObjective(NamedTuple):
    """The objective of a student, and its frozen students."""

    objective: step.Objective
    frozen: dict[str, Frozen]  # by their names in the objective


def teacher(run: Run, student: str, model: NetworkConfig, tokenizer: Tokenizer) -> Frozen | None:
    """The frozen student that config.loss.teacher names for a student; None if there is none.

    It gets as many rows of embedding as the student: those that differ belong to no id. Raises
    UserError if it cannot be read, or has another vocabulary.
    """
    settings = run.config.loss
    if not settings.divergence and not settings.mixed_divergence:
        return None
    directory = local_path(settings.teacher, _KEY)
    is_run = (directory / "training_data.json").exists()
    name = str(directory / "checkpoints" / student) if is_run else settings.teacher
    size = student_source.given_size(name, _KEY, tokenizer)
    return Frozen(name, dataclasses.replace(size, vocab_size=model.vocab_size))


def make(run: Run, teacher: Frozen | None, platform: str, seq_len: int) -> StudentObjective:
    """`platform` and the tokens of the teacher's row decide on the kernel of its attention.

    Raises UserError if the teacher cannot read such rows.
    """
    settings = run.config.loss
    if settings.preference:
        weights = settings.preference, settings.preference_beta, settings.likelihood
        return StudentObjective(Preference(*weights), {})
    if settings.policy:
        return StudentObjective(Policy(settings.policy, settings.likelihood, settings.clip), {})
    kind = Divergence(settings.beta, settings.temperature)
    kernel, frozen = "", {}
    if teacher is not None:
        kernel, frozen = _kernel(run, teacher, platform, seq_len), {TEACHER: teacher}
    soft = run.config.easy.files and run.config.easy.hard == "uniform"
    uniform = settings.uniform if soft else 0.0
    plain: Likelihood | Distillation | None = None
    if teacher is not None and settings.divergence:
        weights = settings.likelihood, settings.divergence
        plain = Distillation(*weights, kind, teacher.model, kernel, uniform)
    elif settings.likelihood:
        plain = Likelihood(settings.likelihood, uniform)
    weights = settings.mixed_likelihood, settings.mixed_divergence
    if any(weights):
        model = teacher.model if teacher is not None and settings.mixed_divergence else None
        return StudentObjective(Mixup(plain, *weights, kind, model, kernel), frozen)
    return StudentObjective(plain or Likelihood(), frozen)


def _kernel(run: Run, teacher: Frozen, platform: str, seq_len: int) -> str:
    """Of the teacher's attention over rows of so many tokens."""
    train, context = run.config.train, teacher.model.context
    if seq_len > context:
        remedy = f"set config.data.seq_len={context}"
        if run.config.loss.teacher_reads:
            remedy = "let it read less (config.loss.teacher_reads), or choose a longer one"
        if run.config.rollouts.rounds:
            remedy = "lower config.rollouts.max_tokens"
        raise UserError(
            f"{_KEY}={teacher.name} reads {context} tokens, the rows have up to {seq_len}: {remedy}"
        )
    kernel, _ = attention.choose_kernel(
        train.attention,
        platform,
        dtype=train.dtype,
        seq_len=seq_len,
        head_dim=teacher.model.head_dim,
        dropout=0.0,
    )
    return kernel


def load(
    frozen: Mapping[str, Frozen], mesh: jax.sharding.Mesh, terminal: Terminal
) -> dict[str, Any]:
    """The parameters of frozen students, laid out over the mesh."""
    loaded = {}
    for role, (name, model) in frozen.items():
        terminal.say(f"the {role}: {name}")
        params, _ = student_source.given_params(name, _KEY, model)
        loaded[role] = step.placed(step.abstract_params(mesh, model), params)
    return loaded
