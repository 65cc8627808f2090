"""Commands that README and the pages show: modules, scripts, flags, configs, keys and values."""

import contextlib
import importlib
import io
import pathlib
import re
import shlex
import subprocess

import pytest
from experiment_runs import ROOT
from pages import CURRENT, README, blocks, code_spans, name_of, table

from distill_jax.errors import UserError
from distill_jax.run import checks
from distill_jax.settings import command_line, task_module
from distill_jax.sweep import definition, plan

SHIPPED = sorted(path.stem for path in (ROOT / "configs").glob("[a-z]*.py"))
OTHERS = {".ci/run", "docker", "export", "sbatch", "source", "ssh-add"}  # not looked into


def commands(page):
    """Every command of the bash blocks, and the commands of this project in the text, as words."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").split("\n"):
            for part in line.split("&&"):
                yield shlex.split(part, comments=True)
    for span in code_spans(page):
        if span.startswith("python -m distill_jax."):
            yield shlex.split(span.removesuffix(" ..."))


def known_flags(module):
    """The flags that `--help` of a command names."""
    shown = io.StringIO()
    command = importlib.import_module(f"distill_jax.{module}")
    if hasattr(command, "__path__"):  # a package
        command = importlib.import_module(f"distill_jax.{module}.__main__")
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        command.main(["--help"])
    return set(re.findall(r"--[a-z_]+", shown.getvalue()))


def check_own_command(module, arguments):
    """Flags are known, the config is there, keys exist and their values make sense."""
    rest, overrides = command_line.split_overrides(arguments)
    unknown = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert unknown <= known_flags(module), unknown
    path = rest[rest.index("--config") + 1] if "--config" in rest else ""
    if module == "sweep" and path:
        steps = plan.plan(definition.load_sweep(path), overrides, pathlib.Path("w")).steps
        configs = [step.config for step in steps if step.config is not None]
        assert all(checks.check_values(config) is None for config in configs)
        return
    # C, my_config.py: a config of the reader's.
    shipped = path if path.startswith("configs/") else "configs/base.py"
    config = command_line.load_config(shipped)
    task_module.apply_overrides(config, overrides)
    checks.check_values(config)


def check_launcher(script, arguments):
    """A script of launch/ knows the command word, and the flags, which are names of variables."""
    shown = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True)
    arguments, overrides = command_line.split_overrides(arguments)
    command_line.apply_overrides(command_line.load_config("configs/base.py"), overrides)
    for word in arguments[: arguments.index("--")] if "--" in arguments else arguments:
        name = word.removeprefix("--").partition("=")[0]
        name = name.upper() if word.startswith("--") and name != "dry_run" else name
        assert re.search(rf"\b{name}\b", shown.stdout), f"{script} {word}"


def check_python(arguments):
    """A module of this project with its arguments, or a file or a module that is there."""
    if arguments[0] != "-m":
        assert (ROOT / arguments[0]).is_file(), arguments[0]
        return
    _, module, *rest = arguments
    if module.startswith("distill_jax."):
        check_own_command(module.partition(".")[2], rest)
    elif module == "pytest":
        assert all((ROOT / word).is_file() for word in rest if word.startswith("tests/")), rest
    else:
        assert module == "venv" or (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def check(words):
    """Raises AssertionError or UserError for a command that would not do."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if not words or words[0] in OTHERS:
        return
    program, *arguments = words
    if program in ("python", "python3"):
        check_python(arguments)
    elif program == "distill-jax":
        check_own_command(*arguments[:1], arguments[1:])
    elif program == "pip":
        extras = re.findall(r"\.\[(.*)\]", " ".join(arguments))
        setup = (ROOT / "setup.py").read_text()
        assert all(f'"{extra}": ' in setup for each in extras for extra in each.split(",")), extras
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), arguments
    else:
        assert program.startswith("launch/"), f"it is not said how {program} is checked"
        check_launcher(program, arguments)


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_the_commands_of_a_page_are_commands(page):
    for words in commands(page):
        try:
            check(words)
        except Exception as error:
            raise AssertionError(f"{name_of(page)}: {shlex.join(words)}: {error}") from error


@pytest.mark.parametrize(
    "wrong",
    [
        "python -m distill_jax.main --config configs/demo.py --config.train.step=3",
        "python -m distill_jax.main --config configs/demo.py --config.train.steps=-3",
        "python -m distill_jax.main --config configs/none.py",
        "python -m distill_jax.evaluate --workdirs runs/demo",
        "python -m distill_jax.nothing",
        "python benchmarks/nothing.py",
        "python -m pytest tests/test_nothing.py",
        "pip install -e '.[nothing]'",
        "make nothing",
        "launch/tpu_vm.sh create --nothing=1",
        "launch/tpu_vm.sh run --config.nothing=1",
        "distill-jax nothing",
        "nothing",
    ],
)
def test_a_command_that_would_not_do_is_found(wrong):
    with pytest.raises((AssertionError, ModuleNotFoundError, UserError)):
        check(shlex.split(wrong))


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_the_config_keys_that_a_page_names_exist(page):
    configs = [command_line.load_config(f"configs/{name}.py") for name in SHIPPED]
    known = {key for config in configs for key in command_line.flatten(config)}
    sections = {key.partition(".")[0] for key in known if "." in key} - {"task_options"}
    for span in code_spans(page):
        match = re.fullmatch(r"(?:--)?(?:config\.)?(([a-z_]+)\.[A-Za-z_.]*\*?)(?:=.*)?", span)
        if not match or match[2] not in sections or re.search(r"\.(py|jsonl?|html)$", span):
            continue
        key = match[1].replace("STUDENT", "solver").rstrip("*.")
        key = key if not key.startswith(f"{command_line.OPTIONS}.") else command_line.OPTIONS
        assert any(each == key or each.startswith(f"{key}.") for each in known), span


def test_every_shipped_config_is_in_the_table_with_its_command():
    rows = table(README, "config | what it is | `python -m distill_jax.main` ...")
    named = [re.fullmatch(r"\[(\w+)\]\(configs/\1\.py\)", row[0])[1] for row in rows]
    assert sorted(named) == [name for name in SHIPPED if name != "base"]
    for name, row in zip(named, rows, strict=True):
        words = shlex.split(row[-1].strip("`"))
        assert words[:2] == ["--config", f"configs/{name}.py"]
        check_own_command("main", words)
