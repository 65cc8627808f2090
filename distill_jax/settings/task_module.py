"""The task: a module of this project or of the user, and its options."""

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.records import Grade
from distill_jax.settings import command_line


def import_task(name: str, key: str = "config.task") -> Any:
    """The module of config.task; UserError if it is none, or lacks one of its functions."""
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

    Values have the types of its defaults (or are text). UserError if one does not fit.
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


def grader(task: Any, options: Mapping[str, Any]) -> Callable[[str, str], Grade]:
    """The task's grade() with those of its options that grade() takes as well as load()."""
    names = list(inspect.signature(task.grade).parameters)[2:]
    taken = {name: options[name] for name in names if name in options}
    return functools.partial(task.grade, **taken) if taken else task.grade


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
    needed = inspect.signature(task.load).parameters
    for key in parameters:
        named = needed[key].kind not in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        )
        if named and needed[key].default is inspect.Parameter.empty and key not in options:
            raise UserError(f"{section} lacks {key}, which {name} needs: set {key}")
    return dict(options)
