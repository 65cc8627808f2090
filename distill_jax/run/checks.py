"""What can be wrong with a config's values, found before any data is read."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.annotations import mixture
from distill_jax.errors import UserError
from distill_jax.settings import command_line
from distill_jax.text.formats import FORMATS
from distill_jax.tracking.trackers import TRACKERS

# The least value of keys for which a smaller one makes no sense.
LEAST = {
    "seed": 0,
    "tokenizer.vocab_size": 258,  # all bytes and two end marks
    "data.train_problems": 0,
    "data.seq_len": 0,
    "data.dev_problems": 0,
    "data.max_dropped_share": 0.0,
    "data.annotations_per_problem": 0,
    "data.max_overlap": 0.0,
    "teacher.samples": 1,
    "teacher.max_tokens": 1,
    "teacher.concurrency": 1,
    "teacher.requests_per_minute": 0,
    "teacher.tokens_per_minute": 0,
    "teacher.retries": 0,
    "teacher.price_input": 0.0,
    "teacher.price_output": 0.0,
    "train.steps": 0,
    "train.epochs": 0,
    "train.token_budget": 0,
    "train.batch_size": 1,
    "train.accumulation": 1,
    "train.loss_chunk": 1,
    "train.eval_every": 0,
    "train.patience": 0,
    "train.dev_dialogues": 0,
    "train.log_every": 1,
    "train.save_every": 1,
    "train.keep": 1,
    "train.profile_first": 0,
    "train.profile_last": 0,
    "sampling.temperature": 0.0,
    "sampling.max_turns": 1,
    "sampling.max_turn_tokens": 1,
    "sampling.max_tokens": 1,
    "sampling.top_k": 0,
    "sampling.samples": 1,
    "sampling.seed": 0,
    "sampling.slots": 0,
    "sampling.given_steps": 0,
    "evaluation.problems": 0,
    "evaluation.max_too_long_share": 0.0,
}
# The same for every student's optimizer; 0 is no training, no decay, no clipping.
OPTIMIZER_LEAST = {
    "learning_rate": 0.0,
    "final_learning_rate": 0.0,
    "warmup_steps": 0,
    "b1": 0.0,
    "b2": 0.0,
    "epsilon": 1e-30,  # 0 would divide by 0 where a gradient is 0
    "weight_decay": 0.0,
    "clip_norm": 0.0,
}
# The values that a key may have.
CHOICES = {
    "train.dtype": ("float32", "bfloat16"),
    "train.best_by": ("loss", "exact", "accuracy"),
    "sampling.dtype": ("float32", "bfloat16"),
    "sampling.attention": ("xla", "triton"),
    "teacher.api": ("chat", "completions"),
    "teacher.reasoning": ("drop", "steps"),
    "sampling.given": ("", "plan", "subquestions", "shuffled", "nothing", "history"),
    "text_format": tuple(FORMATS),
}


def check_values(config: Any) -> None:
    """Raise UserError that lists every value of a ConfigDict that makes no sense."""
    flat = command_line.flatten(config)
    mistakes = [
        *out_of_range(flat),
        *_sizes(config.model),
        *_sampling(config.sampling, config.evaluation.checkpoint),
        *_training(config.train),
        *_teacher(config),
        *_data(config.data),
        *_tracking(config.tracking),
    ]
    # What follows from several values is only looked at where each by itself is possible.
    mistakes = mistakes or [*_without_dev(config), *_one_writer(config)]
    if mistakes:
        raise UserError("; ".join(mistakes))


def _sizes(models: Any) -> list[str]:
    mistakes = []
    for student, size in models.items():
        if size.preset or size.init_from:
            continue
        name = f"config.model.{student}"
        numbers = {key: size[key] for key in ("layers", "heads", "width", "context")}
        small = [f"{name}.{k}={n}: must be at least 1" for k, n in numbers.items() if n < 1]
        if not small and size.width % size.heads:
            small = [f"{name}.heads={size.heads} does not divide {name}.width={size.width}"]
        mistakes += small
    return mistakes


def _sampling(sampling: Any, rule: str) -> list[str]:
    mistakes = []
    if not 0.0 < sampling.top_p <= 1.0:
        mistakes.append(f"config.sampling.top_p={sampling.top_p}: above 0, at most 1")
    if not re.fullmatch(r"last|best|\d+|\w+=\d+(,\w+=\d+)*", rule):
        mistakes.append(
            f"config.evaluation.checkpoint={rule!r}: choose last, best, a step, or a step for each "
            "student, such as solver=400,decomposer=200"
        )
    if sampling.given_steps and sampling.given != "subquestions":
        mistakes.append("config.sampling.given_steps needs config.sampling.given=subquestions")
    if sampling.samples > 1 and sampling.temperature == 0.0:
        mistakes.append(
            f"config.sampling.samples={sampling.samples} at temperature 0 would all be the "
            "same: set config.sampling.temperature, e.g. 0.7"
        )
    return mistakes


def _training(train: Any) -> list[str]:
    mistakes = []
    if train.steps == train.epochs == train.token_budget == 0:
        mistakes.append(
            "set config.train.steps, config.train.epochs or config.train.token_budget above 0"
        )
    if train.steps and train.epochs:
        mistakes.append(
            f"config.train.steps={train.steps} and config.train.epochs={train.epochs}: set one of "
            "them to 0"
        )
    if train.parity_test_selection and not train.epochs:
        mistakes.append(
            "config.train.parity_test_selection tests after every epoch: set config.train.epochs"
        )
    if train.accumulation > 0 and train.batch_size % train.accumulation:
        mistakes.append(
            f"config.train.batch_size={train.batch_size} does not divide by "
            f"config.train.accumulation={train.accumulation}"
        )
    if bool(train.profile_first) != bool(train.profile_last) or (
        train.profile_last < train.profile_first
    ):
        mistakes.append(
            f"config.train.profile_first={train.profile_first} and "
            f"profile_last={train.profile_last}: both are steps, such as 10 and 12, or 0"
        )
    if train.best_by == "accuracy" and not train.dev_dialogues:
        mistakes.append(
            "config.train.best_by='accuracy' needs dialogues to count: set "
            "config.train.dev_dialogues above 0"
        )
    return mistakes


def _tracking(names: Sequence[str]) -> list[str]:
    return [
        f"config.tracking has {name!r}: choose among {', '.join(TRACKERS)}"
        for name in names
        if name not in TRACKERS
    ]


def _teacher(config: Any) -> list[str]:
    teacher = config.teacher
    mistakes = []
    if not (0.0 < teacher.top_p <= 1.0 or teacher.top_p == -1.0):
        mistakes.append(
            f"config.teacher.top_p={teacher.top_p}: above 0, at most 1 (-1 leaves it out)"
        )
    if not (teacher.temperature >= 0.0 or teacher.temperature == -1.0):
        mistakes.append(
            f"config.teacher.temperature={teacher.temperature}: must be at least 0 (-1 leaves it "
            "out)"
        )
    if not teacher.timeout_s > 0:
        mistakes.append(f"config.teacher.timeout_s={teacher.timeout_s}: must be above 0")
    if teacher.samples > 1 and teacher.temperature == 0.0:
        mistakes.append(
            f"config.teacher.samples={teacher.samples} at temperature 0 would all be the same: "
            "set config.teacher.temperature, e.g. 0.7"
        )
    if teacher.model and config.data.annotations:
        mistakes.append(
            "config.teacher.model and config.data.annotations both say where annotations come "
            "from: leave one of them empty"
        )
    return mistakes


def _one_writer(config: Any) -> list[str]:
    """What is only there where the solver writes all by itself."""
    if config.scheme in ("answer_only", "chain"):
        return []
    alone = {
        f"config.text_format={config.text_format!r}": config.text_format != "turns",
        "config.train.parity_test_selection": config.train.parity_test_selection,
    }
    return [
        f"{key} is for --config.scheme=chain or answer_only" for key, used in alone.items() if used
    ]


def _data(data: Any) -> list[str]:
    mistakes = mixture.mistakes(data.annotations, data.mixture)
    if not 0.0 < data.train_share <= 1.0:
        mistakes.append(f"config.data.train_share={data.train_share}: above 0, at most 1")
    if data.train_share != 1.0 and data.train_problems:
        mistakes.append(
            "config.data.train_share and config.data.train_problems both choose training "
            "problems: set one of them"
        )
    return mistakes


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


def out_of_range(flat: Mapping[str, Any]) -> list[str]:
    """What is wrong with single values of a config, `{key: value}`."""
    mistakes = []
    least = dict(LEAST)
    below = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        if section.startswith("optimizer."):
            least |= {key: OPTIMIZER_LEAST[name]} if name in OPTIMIZER_LEAST else {}
            below |= {key: 1.0} if name in ("b1", "b2") else {}
        elif section.startswith("model.") and name.endswith("_dropout"):
            least[key], below[key] = 0.0, 1.0
        # A task's options are its own affair.
        if isinstance(value, float) and section != "task_options" and not math.isfinite(value):
            mistakes.append(f"config.{key}={value}: must be a finite number")
            least.pop(key, None)
    for key, bound in least.items():
        # Not `<`: nothing is less than NaN.
        if not flat[key] >= bound:
            mistakes.append(f"config.{key}={flat[key]}: must be at least {bound}")
        elif key in below and not flat[key] < below[key]:
            mistakes.append(f"config.{key}={flat[key]}: must be below {below[key]}")
    mistakes += [
        f"config.{key}={flat[key]!r}: choose {_listed(choices)}"
        for key, choices in CHOICES.items()
        if flat[key] not in choices
    ]
    return mistakes


def _listed(choices: Sequence[str]) -> str:
    return ", ".join(choice or '""' for choice in choices)
