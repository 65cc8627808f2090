"""LoRA of a run's students: config.lora, the base that an adapter was trained on, what is restored.

A run keeps adapters, and of their base where it came from and a hash: two students with adapters of
one base need it once.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import jax

from distill_jax.model import lora, peft_files
from distill_jax.model.lora import Adapter
from distill_jax.model.network import NetworkConfig
from distill_jax.run import student_source
from distill_jax.run.run import Run
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.training import checkpoint, step


def make(run: Run, student: str, model: NetworkConfig, tokenizer: Tokenizer) -> Adapter | None:
    """The adapter that the config asks for; None if all parameters are trained.

    Rows are trained whole for end marks that the base does not know. Raises UserError for targets
    that the network does not have.
    """
    section = run.config.lora.get(student)
    if section is None or not section.rank:
        return None
    key = f"config.model.{student}"
    rows = student_source.untrained_marks(run.config.model[student], key, tokenizer).values()
    targets = tuple(section.targets)
    adapter = Adapter(
        model, section.rank, section.alpha, targets, tuple(sorted(rows)), section.base_dtype
    )
    adapter.kernels()
    return adapter


def trained(facts: Mapping[str, Any], student: str, model: NetworkConfig) -> Adapter | None:
    """The adapter with which training_data.json says that a student was trained."""
    stored = facts.get(student, {}).get("lora")
    return None if stored is None else lora.from_json(stored, model)


def first_values(run: Run, student: str, adapter: Adapter, base: Any, seed: int) -> Any:
    """Host arrays that training begins with: random ones, or those of a directory of PEFT."""
    values = adapter.init(base, seed)
    source = run.config.lora[student].init_from
    if not source:
        return values
    given = peft_files.load(source, adapter, f"config.lora.{student}.init_from")
    return _updated(values, given)


def _updated(values: Any, given: Any) -> Any:
    if not isinstance(values, dict):
        return given
    return {
        key: _updated(each, given[key]) if key in given else each for key, each in values.items()
    }


def restore(run: Run, student: str, number: int, abstract: Any) -> Any:
    """The trained parameters of one checkpoint, laid out as `abstract` says."""
    directory = run.checkpoint_directory(student)
    with contextlib.closing(checkpoint.Checkpoints(directory, keep=1)) as checkpoints:
        return checkpoints.restore_params(number, abstract)


def merged(
    run: Run,
    student: str,
    number: int,
    adapter: Adapter,
    facts: Mapping[str, Any],
    mesh: jax.sharding.Mesh,
) -> Any:
    """The whole parameters of a checkpoint, laid out over `mesh`."""
    values = restore(run, student, number, step.abstract_trained(mesh, adapter))
    name, key = run.config.model[student].init_from, f"config.model.{student}.init_from"
    base, _ = student_source.adapted_base(name, key, adapter.model, facts[student])
    placed = step.placed(step.abstract_base(mesh, adapter), adapter.hold(base))
    return step.merge_on(mesh, adapter)(placed, values)
