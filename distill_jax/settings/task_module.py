"""The task: a module of this project or of the user, and its options."""

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import ml_collections

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem
from distill_jax.settings import command_line

SHIPPED = "distill_jax.tasks."


def import_task(name: str, key: str = "config.task") -> Any:
    """The module of config.task; UserError if it is none, or lacks one of its functions.

    A task of this package also has its short name, unless you have a module with that name.
    """
    module = find_module(name, SHIPPED, key)
    if module is None:
        raise UserError(
            f"{key}={name!r}: no such module; give arithmetic, gsm8k, svamp, strategyqa or jsonl, "
            "or a module of yours in this directory or on PYTHONPATH"
        )
    for function in ("load", "grade"):
        if not callable(getattr(module, function, None)):
            raise UserError(f"{key}={name!r} has no function {function}()")
    return module


def find_module(name: str, shipped: str, key: str) -> Any:
    """The module of this name, of the user or of the package `shipped`; None if there is none.

    Raises UserError, which names `key`, if `name` is not the name of a module, if a package is
    missing that the module needs, and if it does not run.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{key}={name!r}: give the name of a module: mytask for ./mytask.py")
    sys.path.insert(0, os.getcwd())
    try:
        return _import(name) or ("." not in name and _import(shipped + name)) or None
    except ModuleNotFoundError as error:
        raise UserError(f"{key}={name!r} needs {error.name!r}: install it") from None
    except UserError:
        raise
    except Exception as error:  # of the user's own module
        reason = str(error).split("\n")[0]
        raise UserError(f"{key}={name!r}: {type(error).__name__}: {reason}") from error
    finally:
        sys.path.pop(0)


def _import(name: str) -> ModuleType | None:
    """None if there is no such module; ModuleNotFoundError if one that it needs is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            return None
        raise


def apply_overrides(config: Any, overrides: Mapping[str, str]) -> None:
    """`command_line.apply_overrides` for a ConfigDict, where another task brings its own options.

    With `task` among the overrides, config.task_options become the defaults of that task's load().
    What the config has set itself (another value than its task's default) stays, if both tasks have
    an option of that name: `directory`, say. Raises UserError.
    """
    name = overrides.get("task", config.task)
    if name != config.task:
        old, new = (_defaults(import_task(each)) for each in (config.task, name))
        current = config.task_options.to_dict()
        set_here = {k: v for k, v in current.items() if v != old.get(k, _MUST_BE_GIVEN)}
        # What has no default is the config's, or given now.
        known = {k: current.get(k, "") for k in new if k in current or _SECTION + k in overrides}
        options = {k: known.get(k, v) if v is _MUST_BE_GIVEN else v for k, v in new.items()}
        options |= {k: v for k, v in set_here.items() if k in new}
        given = {k: v for k, v in options.items() if v is not _MUST_BE_GIVEN}
        config.task_options = ml_collections.ConfigDict(given)
    command_line.apply_overrides(config, dict(overrides))


_SECTION = "task_options."
_MUST_BE_GIVEN = inspect.Parameter.empty


def _defaults(task: Any) -> dict[str, Any]:
    """{option of load(): its default}."""
    named = list(inspect.signature(task.load).parameters.values())[1:]
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {each.name: each.default for each in named if each.kind not in kinds}


def parse_options(task: Any, texts: Sequence[str]) -> dict[str, Any]:
    """config.evaluation.task_options, ("key=value", ...), as keyword arguments of load().

    Values have the types of its defaults (or are text). UserError if one does not fit;
    `check_options` checks the names of the options.
    """
    for text in texts:
        if "=" not in text:
            raise UserError(
                f"config.{command_line.OPTIONS} has {text!r}: write key=value,key=value, or set "
                f"config.{command_line.OPTIONS}.KEY"
            )
    return typed_options(task.load, texts, f"config.{command_line.OPTIONS}")


def typed_options(function: Callable, texts: Sequence[str], section: str) -> dict[str, Any]:
    """{key: value} of "key=value", with the types of the function's defaults (or text).

    Raises UserError, which names `section`, for a value of another type.
    """
    parameters = inspect.signature(function).parameters
    options: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        default = parameters[key].default if key in parameters else ""
        known = "" if default is inspect.Parameter.empty else default
        try:
            options[key] = command_line.parse_value(value, known)
        except ValueError:
            raise UserError(
                f"{section}.{key}={value!r} is not of type {type(known).__name__}"
            ) from None
    return options


def grader(task: Any, options: Mapping[str, Any]) -> Callable[[str, str], Grade]:
    """The task's grade() with those of its options that grade() takes as well as load()."""
    return _with_options(task.grade, 2, options)


def answer_reader(task: Any, options: Mapping[str, Any]) -> Callable[[str], str | None] | None:
    """The task's read_answer(), as `grader` its grade(); None if it has none."""
    return _with_options(task.read_answer, 1, options) if hasattr(task, "read_answer") else None


def gold_annotations(
    task: Any, options: Mapping[str, Any], split: str, problems: Sequence[Problem]
) -> list[Annotation]:
    """The gold annotations of the problems of a split, in their order.

    If no problem brings its own, they are those of the task's load_annotations(), if it has that:
    a module may keep them apart, and a task whose gold data cannot be read says there what is wrong
    with it.
    """
    found = [problem.gold for problem in problems if problem.gold is not None]
    if found or not hasattr(task, "load_annotations"):
        return found
    return task.load_annotations(split, **options)


def _with_options(function: Callable, given: int, options: Mapping[str, Any]) -> Callable:
    """`function` with the options that it takes after so many arguments."""
    names = list(inspect.signature(function).parameters)[given:]
    taken = {name: options[name] for name in names if name in options}
    return functools.partial(function, **taken) if taken else function


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
