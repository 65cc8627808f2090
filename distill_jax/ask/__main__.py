"""Ask the students of a finished run: `python -m distill_jax.ask --workdir runs/demo "question"`.

Without a question you can type several. With --serve it is a web page on this machine, and a server
with OpenAI's interface. With --escalate_to others are asked if the students are unsure.
"""

import argparse
import importlib.util
import ipaddress
import socket
import sys

from distill_jax import devices, errors
from distill_jax.errors import UserError
from distill_jax.settings import command_line
from distill_jax.settings.command_line import PREFIX
from distill_jax.workdir import local_path

LIBRARIES = ("starlette", "uvicorn")
SECTIONS = ("sampling.", "evaluation.", "mesh.")
TEACHER = "teacher"  # of --escalate_to; its keys can be changed then


def main(argv: list[str]) -> None:
    """Open the run, answer."""
    parser = command_line.parser(
        "ask",
        "Ask the students of a finished run a question.",
        command_line.OF_A_FINISHED_RUN,
    )
    parser.add_argument("question", nargs="?", help="default: type questions, one after another")
    parser.add_argument("--workdir", required=True, help="the directory of the run")
    parser.add_argument(
        "--serve", action="store_true",
        help="serve a web page, and OpenAI's interface at /v1 (needs the extra [serve])",
    )  # fmt: skip
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="for --serve: an address that others can reach",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8000,
        help="for --serve (default: 8000); 0 = a free one",
    )
    parser.add_argument(
        "--escalate_to", metavar="DIR", help="who answers if the students are unsure: the "
        "--workdir of a larger run; a directory that combine --rule switch wrote, with its "
        "threshold; or `teacher`, the model of config.teacher",
    )  # fmt: skip
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="they are unsure if their uncertainty is above X; 1 = never, -1 = always",
    )
    parser.add_argument(
        "--by", metavar="MEASURE", help="of uncertainty, as in combine (default: answer)"
    )
    rest, overrides = command_line.split_overrides(argv)
    arguments, others = parser.parse_known_args(rest)
    if others:
        remedy = "" if others[0].startswith("-") else ": put the question into quotation marks"
        parser.error(f"unrecognized arguments: {' '.join(others)}{remedy}")
    if not 0 <= arguments.port < 1 << 16:
        raise UserError(f"--port={arguments.port}: a number from 0 to 65535")
    if arguments.serve and arguments.question is not None:
        raise UserError("--serve takes no question: it is typed on the page")
    if arguments.escalate_to is None and (arguments.threshold, arguments.by) != (None, None):
        raise UserError("--threshold and --by say when to ask others: give --escalate_to as well")
    teacher = {}
    if arguments.escalate_to == TEACHER:
        keys = [key for key in overrides if key.startswith(f"{TEACHER}.")]
        teacher = {key.removeprefix(f"{TEACHER}."): overrides.pop(key) for key in keys}
    for key in overrides:
        if not key.startswith(SECTIONS):
            raise UserError(
                f"{PREFIX}{key}: of a finished run only {', '.join(s + '*' for s in SECTIONS)} "
                "can be changed"
            )
    drawn = overrides.get("sampling.samples")
    if arguments.escalate_to is not None:
        _check_escalation(arguments, drawn)
    elif arguments.serve and drawn is not None:
        raise UserError("--config.sampling.samples: a client of --serve asks for several with n")
    listening = None
    if arguments.serve:
        at_cost = ", and the teacher at your cost" if arguments.escalate_to == TEACHER else ""
        listening = _listen(arguments.host, arguments.port, at_cost)
    devices.keep_freed_memory()
    devices.keep_compiled_programs()
    import distill_jax

    changed = {key.replace(".", "__"): value for key, value in overrides.items()}
    students = distill_jax.load(arguments.workdir, **changed)
    if arguments.escalate_to is not None:
        others = arguments.escalate_to if arguments.escalate_to != TEACHER else teacher
        students = students.cascade(others, arguments.threshold, arguments.by)
        print(students.text, file=sys.stderr)
    if listening is not None:
        from distill_jax.ask import server

        name = local_path(arguments.workdir, "--workdir").resolve().name
        server.serve(students, name, listening)
        return
    from rich.console import Console

    from distill_jax.ask import terminal

    console = Console()
    samples = 1 if drawn is None else int(drawn)
    if arguments.question is None:
        terminal.converse(students, console, samples)
    else:
        terminal.answer(arguments.question, students, console, samples)


def _check_escalation(arguments: argparse.Namespace, drawn: str | None) -> None:
    """Raise UserError for what can be known before anything is loaded. `drawn`: what
    config.sampling.samples is set to."""
    from distill_jax.run import escalation

    teacher = arguments.escalate_to == TEACHER
    switch = None if teacher else escalation.read_switch(arguments.escalate_to)
    by, _ = escalation.choose(switch, arguments.threshold, arguments.by)
    if by == escalation.VOTES and switch is None and drawn in (None, "1"):
        raise UserError(
            f"--by {by} needs several dialogues of a question: add --config.sampling.samples=5 "
            "--config.sampling.temperature=0.7"
        )


def _listen(host: str, port: int, more: str) -> socket.socket:
    """A socket at the address, before anything heavy is done; warns if others can reach it.
    `more`: what else they could do.

    Raises UserError if the server's libraries are missing or the address cannot be used.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--serve needs {', '.join(missing)}: pip install 'distill-jax[serve]'")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise UserError(
            f"--host={host} --port={port}: {error.strerror}: choose another (--port=0 takes a free "
            "one)"
        ) from None
    if not ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
        print(
            f"warning: --host={host}: everyone who reaches this machine's port "
            f"{listening.getsockname()[1]} can ask the students{more}, because there is no "
            "password",
            file=sys.stderr,
        )
    return listening


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
