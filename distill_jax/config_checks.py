"""What can be wrong with a config's values, found before any data is read."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax import command_line
from distill_jax.errors import UserError

# The least value of keys for which a smaller one makes no sense.
LEAST = {
    "seed": 0,
    "tokenizer.vocab_size": 258,  # all bytes and two end marks
    "data.train_problems": 0,
    "data.seq_len": 0,
    "data.dev_problems": 0,
    "data.max_dropped_share": 0.0,
    "train.steps": 0,
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
    "sampling.temperature": 0.0,
    "sampling.max_turns": 1,
    "sampling.max_turn_tokens": 1,
    "sampling.max_tokens": 1,
    "sampling.top_k": 0,
    "sampling.samples": 1,
    "sampling.slots": 0,
    "sampling.given_steps": 0,
    "evaluation.problems": 0,
    "evaluation.max_too_long_share": 0.0,
}
# The values that a key may have.
CHOICES = {
    "train.dtype": ("float32", "bfloat16"),
    "train.best_by": ("loss", "exact", "accuracy"),
    "sampling.dtype": ("float32", "bfloat16"),
    "sampling.given": ("", "subquestions", "nothing", "history"),
}


def check_values(config: Any) -> None:
    """Raise UserError for a value of a ConfigDict that makes no sense."""
    flat = command_line.flatten(config)
    for key, least in LEAST.items():
        if flat[key] < least:
            raise UserError(f"config.{key}={flat[key]}: must be at least {least}")
    for key, choices in CHOICES.items():
        if flat[key] not in choices:
            raise UserError(f"config.{key}={flat[key]!r}: choose {', '.join(choices)}")
    if not 0.0 < flat["sampling.top_p"] <= 1.0:
        raise UserError(f"config.sampling.top_p={flat['sampling.top_p']}: above 0, at most 1")
    rule = config.evaluation.checkpoint
    if not re.fullmatch(r"last|best|\d+|\w+=\d+(,\w+=\d+)*", rule):
        raise UserError(
            f"config.evaluation.checkpoint={rule!r}: choose last, best, a step, or a step for each "
            "student, such as solver=400,decomposer=200"
        )
    if flat["sampling.samples"] > 1 and flat["sampling.temperature"] == 0.0:
        raise UserError(
            f"config.sampling.samples={flat['sampling.samples']} at temperature 0 would all be the "
            "same: set config.sampling.temperature, e.g. 0.7"
        )
    train = config.train
    if train.steps <= 0 and train.token_budget <= 0:
        raise UserError("set config.train.steps or config.train.token_budget above 0")
    if train.batch_size % train.accumulation:
        raise UserError(
            f"config.train.batch_size={train.batch_size} does not divide by "
            f"config.train.accumulation={train.accumulation}"
        )
    if train.best_by == "accuracy" and not train.dev_dialogues:
        raise UserError(
            "config.train.best_by='accuracy' needs dialogues to count: set "
            "config.train.dev_dialogues above 0"
        )
    needs_dev = {
        "train.patience": train.patience > 0,
        "train.dev_dialogues": train.dev_dialogues > 0,
        "evaluation.checkpoint='best'": rule == "best",
    }
    without_dev = not config.data.dev_problems or not train.eval_every
    for key, wanted in needs_dev.items():
        if wanted and without_dev:
            raise UserError(
                f"config.{key} needs a dev split: set config.data.dev_problems and "
                "config.train.eval_every above 0"
            )


def import_task(name: str, key: str = "config.task") -> Any:
    """The module of config.task; UserError where it is none, or lacks one of its functions."""
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                f"{key}={name!r}: no such module; give distill_jax.tasks.arithmetic, "
                "gsm8k or jsonl, or a module of yours in this directory or on PYTHONPATH"
            ) from None
        raise UserError(f"{key}={name!r} needs {error.name!r}: install it") from None
    finally:
        sys.path.pop(0)
    for function in ("load", "load_annotations", "grade"):
        if not hasattr(module, function):
            raise UserError(f"{key}={name!r} has no function {function}()")
    return module


def parse_options(task: Any, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """config.evaluation.task_options, ("key=value", ...), as keyword arguments of load().

    Values have the types of its defaults (or are text). UserError where one does not fit.
    """
    parameters = inspect.signature(task.load).parameters
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        default = parameters[key].default if key in parameters else ""
        try:
            if not equals:
                raise ValueError(text)
            known = "" if default is inspect.Parameter.empty else default
            options[key] = command_line.parse_value(value, known)
        except ValueError:
            raise UserError(
                f"config.evaluation.task_options has {text!r}: write key=value,key=value"
            ) from None
    return check_options(task, name, options, "config.evaluation.task_options")


def check_options(
    task: Any, name: str, options: Mapping[str, Any], section: str = "config.task_options"
) -> dict[str, Any]:
    """config.task_options as keyword arguments of the task's load(); UserError for others."""
    parameters = list(inspect.signature(task.load).parameters)[1:]
    unknown = [key for key in options if key not in parameters]
    if unknown:
        raise UserError(
            f"{section} has {', '.join(unknown)}, which {name} does not take: "
            f"it takes {', '.join(parameters)}"
        )
    return dict(options)
