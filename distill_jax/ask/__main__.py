"""Ask the students of a finished run: `python -m distill_jax.ask --workdir runs/demo "question"`.

Without a question you can type several. With --serve it is a web page on this machine, and a server
with OpenAI's interface.
"""

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


def main(argv: list[str]) -> None:
    """Open the run, answer."""
    parser = command_line.parser("ask", "Ask the students of a finished run a question.")
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
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)
    if not 0 <= arguments.port < 1 << 16:
        raise UserError(f"--port={arguments.port}: a number from 0 to 65535")
    if arguments.serve and arguments.question is not None:
        raise UserError("--serve takes no question: it is typed on the page")
    for key in overrides:
        if not key.startswith(SECTIONS):
            raise UserError(
                f"{PREFIX}{key}: of a finished run only {', '.join(s + '*' for s in SECTIONS)} "
                "can be changed"
            )
    listening = None
    if arguments.serve:
        listening = _listen(arguments.host, arguments.port)
    devices.keep_freed_memory()
    devices.keep_compiled_programs()
    import distill_jax

    changed = {key.replace(".", "__"): value for key, value in overrides.items()}
    students = distill_jax.load(arguments.workdir, **changed)
    if listening is not None:
        from distill_jax.ask import server

        name = local_path(arguments.workdir, "--workdir").resolve().name
        server.serve(students, name, listening)
        return
    from rich.console import Console

    from distill_jax.ask import terminal

    console = Console()
    if arguments.question is None:
        terminal.converse(students, console)
    else:
        terminal.answer(arguments.question, students, console)


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the address, before anything heavy is done; warns if others can reach it.

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
            f"{listening.getsockname()[1]} can ask the students, because there is no password",
            file=sys.stderr,
        )
    return listening


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
