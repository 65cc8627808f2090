"""config.rollouts: who learns in rounds of own samples, how these are sampled, and what may be
combined."""

import collections
import dataclasses
from typing import Any

from distill_jax.dialogues.sampler import TEMPERATURES, Settings
from distill_jax.settings import ranges
from distill_jax.settings.reward_module import Reward, reward_function
from distill_jax.text import rows, transcript
from distill_jax.training.advantages import ADVANTAGES

_NAME = "config.rollouts"


def is_on(config: Any) -> bool:
    """Whether students learn from own samples."""
    return config.rollouts.rounds > 0


def learns(config: Any, student: str) -> bool:
    """Whether a student is trained at all: with rounds, those that config.rollouts.students does
    not name stay as they are."""
    names = config.rollouts.students
    return not is_on(config) or not names or student in names


def steps(config: Any) -> int:
    """Updates of a student that learns."""
    return config.rollouts.rounds * config.rollouts.updates


def own_rows(config: Any) -> int:
    """Rows of a batch that are own samples."""
    return round(config.rollouts.share * config.train.batch_size)


def sampling(config: Any) -> Settings:
    """How rounds are sampled: what decides on the samples is in config.rollouts, which is part of
    the run's identity; how they are computed, in config.sampling."""
    given = config.rollouts
    names = ("temperature", "samples", "max_turns", "max_turn_tokens", "max_tokens", "calculator")
    return dataclasses.replace(
        Settings(**config.sampling),
        **{name: given[name] for name in names},
        **{"top_k": 0, "top_p": 1.0, "seed": 0, "given": "", "given_steps": 0},
    )


def reward(config: Any) -> Reward:
    """Raises UserError for a module or options that are wrong."""
    return reward_function(config.rollouts.reward, config.rollouts.reward_options)


def mistakes(section: Any) -> list[str]:
    """What is wrong with config.rollouts by itself."""
    low, high = TEMPERATURES
    least: dict[str, float] = {"rounds": 0, "updates": 1, "problems": 1, "samples": 1}
    least |= {"share": 0.0, "temperature": low, "reference_kl": 0.0}
    least |= {"max_turns": 1, "max_turn_tokens": 1, "max_tokens": 1}
    whole = ("max_turns", "max_turn_tokens", "max_tokens")  # int32 on the device
    below: dict[str, float] = dict.fromkeys(whole, 1 << 31) | {"temperature": high}
    choices = {"advantage": tuple(ADVANTAGES)}
    return ranges.mistakes(
        "rollouts",
        {key: section[key] for key in (*least, *choices)},
        least=least,
        below=below,
        choices=choices,
    )


def combinations(config: Any) -> list[str]:
    """What config.rollouts does not fit; every section is right by itself."""
    if not is_on(config):
        if config.loss.policy:
            return [f"config.loss.policy needs own samples: set {_NAME}.rounds above 0"]
        return []
    scheme = transcript.SCHEMES[config.scheme]
    views = rows.make_views(scheme, config.students, config.reads)
    return [
        *_objective(config),
        *_batch(config, views),
        *_not_with_rounds(config),
        *_students(config, list(dict.fromkeys(view.student for view in views))),
    ]


def _objective(config: Any) -> list[str]:
    loss, given = config.loss, config.rollouts
    if not loss.policy and not loss.divergence:
        return [
            f"{_NAME}.rounds: nothing learns from own samples: set config.loss.policy (with a "
            "reward) or config.loss.divergence (with a teacher) above 0"
        ]
    if loss.policy and loss.divergence:
        return ["config.loss.policy and config.loss.divergence: set one of them to 0"]
    found = []
    if loss.divergence and loss.likelihood:
        found.append(
            f"config.loss.likelihood={loss.likelihood}: own samples may be wrong, so with "
            f"{_NAME}.rounds set it to 0"
        )
    if loss.divergence and given.reference_kl:
        found.append(f"{_NAME}.reference_kl is for config.loss.policy: set it to 0")
    if not loss.policy:
        return found
    if loss.likelihood and given.share == 1.0:
        found.append(
            f"config.loss.likelihood={loss.likelihood} is for rows of annotations, and with "
            f"{_NAME}.share=1 there are none: set it to 0"
        )
    if not loss.likelihood and given.share < 1.0:
        found.append(
            f"{_NAME}.share={given.share}: nothing learns from the rows of annotations: set "
            "config.loss.likelihood above 0, or the share to 1"
        )
    if given.temperature != 1.0:
        found.append(
            f"{_NAME}.temperature={given.temperature}: config.loss.policy needs samples of the "
            "student as it is: set it to 1"
        )
    if given.samples < 2:
        found.append(
            f"{_NAME}.samples={given.samples}: a sample is compared with others of its problem: "
            "at least 2"
        )
    return found


def _batch(config: Any, views: list[rows.View]) -> list[str]:
    given, size, own = config.rollouts, config.train.batch_size, own_rows(config)
    if given.share > 1.0:
        return [f"{_NAME}.share={given.share}: must be at most 1"]
    if not own or (given.share < 1.0 and own == size):
        return [
            f"{_NAME}.share={given.share} of config.train.batch_size={size} rows is "
            f"{own} rows: raise config.train.batch_size"
        ]
    # A student that reads differently in its two roles has two rows of a dialogue.
    each = max(collections.Counter(view.student for view in views).values())
    written, used = given.problems * given.samples * each, given.updates * own
    if used < written:
        return [
            f"{_NAME}: the {given.problems} x {given.samples} samples of a round are {written} "
            f"rows, but its {given.updates} updates take {used}: set config.train.batch_size to "
            "at least "
            f"{-(-written * size // (own * given.updates))}, or raise {_NAME}.updates"
        ]
    return []


def _not_with_rounds(config: Any) -> list[str]:
    wrong = {
        "train.steps": config.train.steps,
        "train.epochs": config.train.epochs,
        "train.parity_test_selection": config.train.parity_test_selection,
        "data.packing": config.data.packing,
        "data.seq_len": config.data.seq_len,
        "data.removal.role": config.data.removal.role,
        "loss.preference": config.loss.preference,
        "loss.mixup": config.loss.mixup,
        "loss.teacher_reads": tuple(config.loss.teacher_reads),
        "easy.files": tuple(config.easy.files) if config.easy.hard != "drop" else (),
    }
    return [
        f"config.{key}={value!r} does not go with {_NAME}.rounds: set it to "
        f"{type(value)() if value else value!r}"
        for key, value in wrong.items()
        if value
    ]


def _students(config: Any, students: list[str]) -> list[str]:
    found = [
        f"{_NAME}.students names {name!r}: this scheme has {', '.join(students)}"
        for name in config.rollouts.students
        if name not in students
    ]
    for student in students:
        model = config.model[student]
        if not model.init_from:
            found.append(
                f"{_NAME}.rounds: student {student!r} must be able to write already: set "
                f"config.model.{student}.init_from"
            )
        dropout = [key for key in model if key.endswith("_dropout") and model[key]]
        if config.loss.policy and dropout and learns(config, student):
            found.append(
                f"config.model.{student}.{dropout[0]}={model[dropout[0]]}: config.loss.policy "
                "compares probabilities with those of the sampler, which has no dropout: set it to "
                "0"
            )
        if config.lora[student].init_from and (config.rollouts.reference_kl or len(students) > 1):
            found.append(
                f"config.lora.{student}.init_from does not go with {_NAME}.reference_kl or with a "
                f"partner, for whom only config.model.{student}.init_from counts: make a run of "
                "it first, without rounds"
            )
    return found
