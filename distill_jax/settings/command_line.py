"""Commands' arguments: a config file, a working directory, and `--config.section.key=value`.

Everything is checked here, before anything heavy is imported, and every mistake is reported.
"""

import argparse
import ast
import difflib
import importlib.util
import pathlib
import re
import shlex
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import ml_collections

from distill_jax.errors import UserError
from distill_jax.workdir import Workdir, local_path

PREFIX = "--config."
OPTIONS = "evaluation.task_options"  # ("key=value", ...): each can also be set by itself
PACKAGED_CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
BASE_CONFIG = str(PACKAGED_CONFIGS / "base.py")  # a base.py of the user is another one
_UNKNOWN_KEY = re.compile(r'Key "([^"]+)" does not exist')  # as ml_collections says it
_MEANT = re.compile(r'Did you mean "([^"]+)" instead of')
_COMMANDS = {"get_config": "main", "get_sweep": "sweep"}  # by what a file has


def split_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Separate `--config.a.b=value` and `--config.a.b value`: (the rest, {"a.b": "value"})."""
    rest: list[str] = []
    overrides: dict[str, str] = {}
    pending = iter(argv)
    for argument in pending:
        if not argument.startswith(PREFIX):
            rest.append(argument)
            continue
        key, equals, value = argument.removeprefix(PREFIX).partition("=")
        if not equals:
            following = next(pending, None)
            if following is None:
                raise UserError(f"{argument} has no value: write {argument}=VALUE")
            value = following
        overrides[key] = value
    return rest, overrides


def load_config(path: str) -> ml_collections.ConfigDict:
    """The result of `get_config()` in a Python file, locked against unknown keys.

    A path such as `configs/demo.py` that does not exist here is looked up among the configs that
    come with the package. Raises UserError if there is none, it does not run, or its config lacks
    a section or key of configs/base.py.
    """
    config = from_file(path, "get_config", PACKAGED_CONFIGS)
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(
            f"--config={path}: get_config() gave {type(config).__name__}, not a ConfigDict: begin "
            "with distill_jax.configs.base.get_config(), and end with return config"
        )
    if path != BASE_CONFIG and (
        lacks := [key for key in load_config(BASE_CONFIG) if key not in config]
    ):
        raise UserError(
            f"--config={path}: the config lacks {', '.join(lacks)}: begin with "
            "distill_jax.configs.base.get_config()"
        )
    config.lock()
    return config


def chosen_config(file: str | None, workdir: str | None) -> ml_collections.ConfigDict:
    """The config of a file, or without a file that of the run in a working directory. Raises
    UserError if there is neither."""
    if file:
        return load_config(file)
    stored = Workdir(workdir) if workdir else None
    if stored is None or not stored.config.exists():
        where = f"--workdir={workdir} holds no run" if workdir else "there is no --workdir"
        raise UserError(f"--config=FILE is needed: {where} that it could be taken from")
    return run_config(stored)


def run_config(workdir: Workdir) -> ml_collections.ConfigDict:
    """The config of the run in a directory. Raises UserError if there is none, and as
    `config_from_dict` does."""
    stored = workdir.stored_config()
    try:
        return config_from_dict(stored)
    except UserError as error:
        raise UserError(f"{workdir.config}: {error}: the file is damaged") from None


def from_file(path: str, function: str, shipped: pathlib.Path) -> Any:
    """The result of a function of a Python file. A file that does not exist here is looked up by
    its name in the directory `shipped`. Raises UserError if there is none or it does not run."""
    file = local_path(path, "--config")
    if not file.exists() and file.parent.name in ("", shipped.name):
        file = shipped / file.name
    if not file.is_file():
        place = shipped.relative_to(PACKAGED_CONFIGS.parent)
        known = ", ".join(f"{place}/{p.name}" for p in sorted(shipped.glob("[a-z]*.py")))
        raise UserError(f"--config={path}: no such file; shipped are {known}")
    spec = importlib.util.spec_from_file_location("config_file", file)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={path}: not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, function):
            of_others = [run for f, run in _COMMANDS.items() if hasattr(module, f)]
            hint = f": it is a file for python -m distill_jax.{of_others[0]}" if of_others else ""
            raise UserError(f"--config={path}: has no {function}(){hint}")
        return getattr(module, function)()
    except UserError:
        raise
    except Exception as error:
        line = _line_of(error, str(file))
        place = f"--config={path}, line {line}" if line else f"--config={path}"
        raise UserError(f"{place}: {_in_one_line(error)}") from error


def _line_of(error: Exception, file: str) -> int | None:
    """The line of `file` at which it stopped; None if no line of it ran."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == file), None)


def _in_one_line(error: Exception) -> str:
    """The kind of an error and what it says; of an unknown key of a ConfigDict not the values of
    all the others, which ml_collections lists."""
    said = str(error.args[0] if error.args else "")
    if isinstance(error, AttributeError | KeyError) and (key := _UNKNOWN_KEY.search(said)):
        hint = _MEANT.search(said)
        return f"unknown key {key[1]}" + (f" (did you mean {hint[1]}?)" if hint else "")
    reason = str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
    return f"{type(error).__name__}: {reason}"


def config_from_dict(stored: dict[str, Any]) -> ml_collections.ConfigDict:
    """A locked config from the `config` part of a run's config.json; JSON lists become tuples.

    A key that did not exist when the run began gets the value of configs/base.py, which switches
    the new mechanism off. Raises UserError for a value of another type than there.
    """

    def tuples(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tuples(item) for key, item in value.items()}
        return tuple(value) if isinstance(value, list) else value

    section = _section({"config": tuples(stored)}, "config", "config.json")
    return ml_collections.ConfigDict(_filled(section, load_config(BASE_CONFIG))).lock()


def _filled(stored: dict[str, Any], base: Any, where: str = "config") -> dict[str, Any]:
    found = dict(stored)
    for key, default in base.items():
        name = f"{where}.{key}"
        if not isinstance(default, ml_collections.ConfigDict):
            value = found.setdefault(key, default)
            if type(value) is not type(default) and (type(value), type(default)) != (int, float):
                kind = type(default).__name__
                raise UserError(f"{name}={value!r} is not of type {kind}")
            continue
        section = _section(stored, key, where)
        if key in ("model", "optimizer"):  # a section for each student
            found[key] = {
                student: _filled(
                    _section(section, student, name), default.solver, f"{name}.{student}"
                )
                for student in section
            }
        elif key == "lora":  # one for each student too, which older runs do not have
            found[key] = {
                student: _filled(
                    _section(section, student, name), default.solver, f"{name}.{student}"
                )
                for student in _section(stored, "model", where)
            }
        elif key != "task_options":  # the task checks its own options
            found[key] = _filled(section, default, name)
    return found


def _section(stored: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    section = stored.get(key, {})
    if not isinstance(section, dict):
        raise UserError(f"{where}.{key} is not a section")
    return section


def apply_overrides(config: ml_collections.ConfigDict, overrides: dict[str, str]) -> None:
    """Set every override in `config`; raises one UserError that lists all mistakes.

    `evaluation.task_options.KEY` sets one of these options, and leaves the others.
    """
    known = flatten(config)
    mistakes = []
    for key, text in overrides.items():
        section, _, option = key.rpartition(".")
        if section == OPTIONS:
            others = [each for each in known[OPTIONS] if _name(each) != option]
            known[OPTIONS] = tuple(sorted([*others, f"{option}={text}"]))
            config.update_from_flattened_dict({OPTIONS: known[OPTIONS]})
            continue
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            inside = [k for k in known if k.startswith(f"{key}.")]
            hint = f" (did you mean {close[0]}?)" if close else ""
            hint = f" (a section: set {inside[0]} or others in it)" if inside else hint
            mistakes.append(f"unknown key config.{key}{hint}")
            continue
        try:
            value = known[key] = parse_value(text, known[key])
        except ValueError:
            kind = type(known[key]).__name__
            kind = f"not of type {kind}" if kind != "bool" else "neither True nor False"
            mistakes.append(f"config.{key}={text!r} is {kind} (now {known[key]!r})")
            continue
        config.update_from_flattened_dict({key: value})
    if mistakes:
        raise UserError("; ".join(mistakes))


def _name(option: str) -> str:
    return option.partition("=")[0].strip()


def set_values(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """`apply_overrides` for Python values instead of text."""
    apply_overrides(config, {key: as_text(value) for key, value in values.items()})


def as_text(value: Any) -> str:
    """`value` as one writes it after `--config.key=`.

    >>> as_text((1, 2)), as_text(("a", "b")), as_text(("a{1,3}",))
    ('1,2', 'a,b', "('a{1,3}',)")
    """
    if not isinstance(value, tuple | list):
        return str(value)
    joined = ",".join(map(str, value))
    texts = all(isinstance(each, str) for each in value)
    # What a list with commas does not give back is written as in Python.
    return joined if not texts or parse_value(joined, ()) == tuple(value) else repr(tuple(value))


def parse_value(text: str, current: Any) -> Any:
    """`text` as a value of the type of `current`; raises ValueError if it is not one."""
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(current, int):
        return int(text)
    if isinstance(current, float):
        return float(text)
    if isinstance(current, tuple):
        if text.strip().startswith(("(", "[")):
            try:
                value = ast.literal_eval(text)
            except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
                raise ValueError(text) from error
            # In Python ("FILE") is a text, whose letters nobody means.
            return tuple(value) if isinstance(value, tuple | list) else (value,)
        kind = type(current[0]) if current else str
        return tuple(kind(part.strip()) for part in text.split(",") if part.strip())
    return text


def flatten(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """{"section.key": value} of every leaf, in order."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_type(module: str, *words: object) -> str:
    """A command as one types it.

    >>> to_type("evaluate", "--workdir", "my run", "--list")
    "python -m distill_jax.evaluate --workdir 'my run' --list"
    """
    return shlex.join(["python", "-m", f"distill_jax.{module}", *map(str, words)])


# Which config keys a command takes, for its --help.
ANY_KEY = f"Any config key can be set: {PREFIX}section.key=value (see configs/base.py)."
OF_A_FINISHED_RUN = (
    "Config keys that do not change the students can be set, such as "
    f"{PREFIX}sampling.temperature=0.7 (see configs/base.py)."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Everyone types `--scheme=chain` once, so the message helps."""
        if message.startswith("unrecognized arguments: --"):
            message += f" (a config key is set by {PREFIX}key=value)"
        super().error(message)


def parser(program: str, description: str, keys: str = ANY_KEY) -> argparse.ArgumentParser:
    """An argument parser in the style of all commands; usage errors exit with 2, --help with 0.

    `keys` says which config keys the command takes; "" = none.
    """
    return _Parser(
        prog=f"python -m distill_jax.{program}",
        description=description,
        epilog=keys,
        allow_abbrev=False,
    )
