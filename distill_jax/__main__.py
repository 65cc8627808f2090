"""All commands by one name: `distill-jax main --config ...` is `python -m distill_jax.main ...`."""

import difflib
import importlib
import sys
from typing import NoReturn

from distill_jax import errors
from distill_jax.errors import UserError

# What `--help` shows, and the module with the `main` of a command: imported only if it is called.
COMMANDS = {
    "main": ("train and evaluate students; a stopped run continues", "distill_jax.main"),
    "annotate": ("annotate the training problems, with a teacher or files", "distill_jax.annotate"),
    "evaluate": ("evaluate the students of a finished run again", "distill_jax.evaluate"),
    "ask": ("ask the students a question: terminal, web page, server", "distill_jax.ask.__main__"),
    "report": ("compare runs", "distill_jax.report"),
    "sweep": ("train and compare many runs", "distill_jax.sweep.__main__"),
    "combine": ("make one evaluation from several", "distill_jax.combine"),
    "export": ("write the students in Hugging Face format", "distill_jax.export.__main__"),
}


def usage() -> str:
    """What `--help` prints."""
    lines = [f"  {name:10}{what}" for name, (what, _) in COMMANDS.items()]
    return "\n".join(
        ["usage: distill-jax COMMAND ...", "", "commands (COMMAND --help says more):", *lines]
    )


def main(argv: list[str]) -> None:
    """Run a command with the arguments after its name."""
    name, *rest = argv or [""]
    if name in ("--help", "-h"):
        print(usage())
        return
    if not name:
        raise UserError(f"name a command: {', '.join(COMMANDS)} (--help says what they do)")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(f"there is no command {name!r}{hint}: choose {', '.join(COMMANDS)}")
    importlib.import_module(COMMANDS[name][1]).main(rest)


def console() -> NoReturn:
    """The console command of setup.py."""
    errors.leave(errors.run_command(main, sys.argv[1:]))


if __name__ == "__main__":
    console()
