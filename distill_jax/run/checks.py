"""All mistakes of a config that can be found before any data is read.

The module of the constructor that takes a value checks it in a function `mistakes`. This is the one
place that calls all of them.
"""

import re
from collections.abc import Sequence
from typing import Any

from distill_jax.annotations import (
    duplicates,
    easy,
    harvest,
    mixture,
    preferences,
    subsets,
    verify,
)
from distill_jax.dialogues import sampler
from distill_jax.errors import UserError
from distill_jax.model import lora
from distill_jax.run import rollout_settings, student_source
from distill_jax.sampling import turn_rules
from distill_jax.settings import command_line, ranges, task_module
from distill_jax.teacher import settings as teacher
from distill_jax.text import rows, tokenizer, transcript
from distill_jax.tracking import trackers
from distill_jax.training import (
    batches,
    checkpoint_place,
    hooks,
    objective,
    optimizer,
    removal,
    step,
)
from distill_jax.workdir import path_mistake


def set_and_check(config: Any, overrides: dict[str, str]) -> None:
    """Set every override in `config`, a ConfigDict, and check all its values.

    Raises one UserError that lists the mistakes of both.
    """
    found = []
    try:
        task_module.apply_overrides(config, overrides)  # the right ones are set
    except UserError as error:
        found.append(str(error))
    found += mistakes(config)
    if found:
        raise UserError("; ".join(found))


def check_values(config: Any) -> None:
    """Raise one UserError that lists all wrong values of a ConfigDict."""
    if found := mistakes(config):
        raise UserError("; ".join(found))


def mistakes(config: Any) -> list[str]:
    """What is wrong with a ConfigDict, one line each."""
    if found := _no_texts(config):
        return found
    found = [
        *ranges.mistakes("", {"seed": config.seed}, least={"seed": 0}, below={"seed": 1 << 32}),
        *transcript.mistakes(config.scheme, config.text_format),
        *rows.mistakes(config.reads),
        *tokenizer.mistakes(config.tokenizer),
        *subsets.mistakes(config.data),
        *verify.mistakes(config.data),
        *duplicates.mistakes(config.data),
        *harvest.mistakes(config.harvest),
        *mixture.mistakes(config.data.annotations, config.data.mixture),
        *batches.mistakes(config.data),
        *teacher.mistakes(config.teacher),
        *(m for name, size in config.model.items() for m in student_source.mistakes(size, name)),
        *(m for name, each in config.optimizer.items() for m in optimizer.mistakes(each, name)),
        *_adapters(config),
        *hooks.mistakes(config.train),
        *step.mistakes(config.train),
        *objective.mistakes(config.loss),
        *easy.mistakes(config.easy),
        *preferences.mistakes(config.preferences, config.loss.preference),
        *rollout_settings.mistakes(config.rollouts),
        *sampler.mistakes(config.sampling),
        *_evaluation(config.evaluation),
        *trackers.mistakes(config.tracking),
        *_paths(config),
        *checkpoint_place.mistakes(config.checkpoint_dir),
    ]
    # Combinations of sections are checked only if each section is right by itself.
    roles = transcript.SCHEMES[config.scheme].roles if not found else ()
    found = found or [
        *_one_source(config),
        *removal.mistakes(config.data.removal, roles),
        *_students(config),
        *_given(config, roles),
        *_pairs(config),
        *_rows_beside(config, roles),
        *_without_dev(config),
    ]
    return found or rollout_settings.combinations(config)


def _no_texts(config: Any) -> list[str]:
    """Lists with values that are not texts; mixture.py checks shares."""
    return [
        f"config.{key}={value!r}: texts are expected, such as ('a', 'b')"
        for key, value in command_line.flatten(config).items()
        if isinstance(value, tuple)
        and key != "data.mixture"
        and not key.startswith("task_options.")
        and not all(isinstance(each, str) for each in value)
    ]


def _paths(config: Any) -> list[str]:
    """Every path that is not on this machine; keys that may be a Hub id must not be an address
    either."""
    given = [
        ("teacher.prompt", config.teacher.prompt),
        ("teacher.cache_dir", config.teacher.cache_dir),
        *(("data.annotations", name) for name in config.data.annotations),
        *(("preferences.files", name) for name in config.preferences.files),
        *(("easy.files", name) for name in config.easy.files),
    ]
    models = [("tokenizer.name", config.tokenizer.name)]
    models += [(f"model.{name}.init_from", each.init_from) for name, each in config.model.items()]
    model = "a Hub id such as openai-community/gpt2, or a path on this machine,"
    found = [path_mistake(path, f"config.{key}") for key, path in given]
    found += [path_mistake(path, f"config.{key}", model) for key, path in models]
    return [mistake for mistake in found if mistake]


def _adapters(config: Any) -> list[str]:
    sources = {name: size.init_from for name, size in config.model.items()}
    return [
        mistake
        for name, section in config.lora.items()
        for mistake in lora.mistakes(section, name, sources.get(name, ""))
    ]


def _evaluation(evaluation: Any) -> list[str]:
    least = {"problems": 0, "max_too_long_share": 0.0}
    found = ranges.mistakes("evaluation", {key: evaluation[key] for key in least}, least=least)
    means = {"ensemble_mean": evaluation.ensemble_mean}
    found += ranges.mistakes("evaluation", means, choices={"ensemble_mean": turn_rules.MEANS})
    key = "config.evaluation.ensemble"
    found += [m for name in evaluation.ensemble if (m := path_mistake(name, key))]
    rule = evaluation.checkpoint
    if evaluation.ensemble and rule not in ("last", "best"):
        found.append(
            f"config.evaluation.checkpoint={rule!r}: with an ensemble choose last or best, which "
            "every run has"
        )
    if not re.fullmatch(r"last|best|\d+|\w+=\d+(,\w+=\d+)*", rule):
        found.append(
            f"config.evaluation.checkpoint={rule!r}: choose last, best, a step, or a step for each "
            "student, such as solver=400,decomposer=200"
        )
    return found


def _one_source(config: Any) -> list[str]:
    if not (config.teacher.model and config.data.annotations):
        return []
    return [
        "config.teacher.model and config.data.annotations both say where annotations come "
        "from: leave one of them empty"
    ]


def _given(config: Any, roles: Sequence[str]) -> list[str]:
    """What is to be given of a role that the scheme does not have."""
    given = config.sampling.given
    role = "planner" if given == "plan" else "decomposer"
    if not given or role in roles:
        return []
    return [f"config.sampling.given={given!r} needs a {role}: scheme {config.scheme!r} has none"]


def _students(config: Any) -> list[str]:
    """Mistakes in the sections of the scheme's students."""
    scheme, found = transcript.SCHEMES[config.scheme], []
    alone = len(scheme.roles) == 1
    if config.train.parity_test_selection and not alone:
        found.append(
            "config.train.parity_test_selection is for --config.scheme=chain or answer_only"
        )
    try:
        views = rows.make_views(scheme, config.students, config.reads)
    except UserError as error:
        return [*found, str(error)]
    students = list(dict.fromkeys(view.student for view in views))
    for section in ("model", "optimizer"):
        found += [
            f"config.{section} has no section for student {student!r}"
            for student in students
            if student not in config[section]
        ]
    named = re.findall(r"(\w+)=", config.evaluation.checkpoint)
    found += [
        f"config.evaluation.checkpoint names {student!r}: this scheme has {', '.join(students)}"
        for student in named
        if student not in students
    ]
    found += [
        f"config.train.students names {student!r}: this scheme has {', '.join(students)}"
        for student in config.train.students
        if student not in students
    ]
    return found


def _pairs(config: Any) -> list[str]:
    """What does not go with config.loss.preference."""
    if not config.loss.preference:
        if config.train.best_by != "preference":
            return []
        return [
            "config.train.best_by='preference' is for pairs: set config.loss.preference above 0"
        ]
    roles = transcript.SCHEMES[config.scheme].roles
    students = {config.students[role] for role in roles if role in config.students}
    found = [
        f"config.loss.preference needs config.model.{student}.init_from: the student that wrote "
        "the answers, such as RUN/checkpoints/STUDENT"
        for student in sorted(students & {*(config.train.students or students)})
        if student in config.model and not config.model[student].init_from
    ]
    found += [
        f"config.model.{student}.{key}={value}: config.loss.preference compares probabilities with "
        "those before training, which have no dropout: set it to 0"
        for student in sorted(students & {*(config.train.students or students)})
        for key, value in config.model.get(student, {}).items()
        if key.endswith("_dropout") and value
    ]
    if config.easy.files:
        found.append(
            "config.easy.files does not choose among pairs: leave it empty with "
            "config.loss.preference"
        )
    if config.data.removal.role:
        found.append(
            "config.loss.preference and config.data.removal.role change the same rows: leave one "
            "of them out"
        )
    return found


def _rows_beside(config: Any, roles: Sequence[str]) -> list[str]:
    """What does not go with config.loss.teacher_reads, for a scheme with these roles, and with
    config.loss.mixup."""
    found = [
        f"config.loss.teacher_reads names {role!r}: --config.scheme={config.scheme} has "
        f"{', '.join(roles)}"
        for role in config.loss.teacher_reads
        if role not in roles
    ]
    soft = config.easy.files and config.easy.hard == "uniform"
    if soft and (config.loss.teacher_reads or config.loss.mixup or config.data.removal.role):
        found.append(
            "config.easy.hard='uniform' goes with the likelihood and the divergence of whole rows: "
            "leave out config.loss.teacher_reads, config.loss.mixup and config.data.removal.role, "
            "or choose drop"
        )
    for name in ("teacher_reads", "mixup"):
        key = f"config.loss.{name}"
        if config.loss[name] and config.data.packing:
            found.append(f"{key} needs whole rows: set --config.data.packing=False")
        if config.loss[name] and config.data.removal.role:
            found.append(
                f"{key} and config.data.removal.role change the same rows: leave one of them out"
            )
    return found


def _without_dev(config: Any) -> list[str]:
    train = config.train
    if config.data.dev_problems and train.eval_every:
        return []
    needs_dev = {
        "train.patience": train.patience > 0,
        "train.dev_dialogues": train.dev_dialogues > 0,
        "evaluation.checkpoint='best'": config.evaluation.checkpoint == "best",
    }
    return [
        f"config.{key} needs a dev split: set config.data.dev_problems and "
        "config.train.eval_every above 0"
        for key, wanted in needs_dev.items()
        if wanted
    ]
