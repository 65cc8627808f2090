"""Pictures of a run's students at work: `python docs/pictures.py --workdir runs/demo`.

Writes demo_report.png, the beginning of the run's report, ask_page.png, the web page, both in a
headless Chromium, and ask_terminal.svg into --output (needs the extra [dev], and Chromium:
`apt-get install chromium`). notebook_picture.py makes that of the notebook.
"""

import argparse
import contextlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

QUESTION = (
    "Ann has 4 cups. Later Ann wins 8 cups. Ann loses 5 of them. How many cups does Ann have now?"
)
SIZE = {"width": 780, "height": 760}
REPORT_SIZE = {"width": 1160, "height": 1200}


@contextlib.contextmanager
def server(workdir: str) -> Iterator[str]:
    """The address of a server of the run."""
    command = [sys.executable, "-m", "distill_jax.ask", "--workdir", workdir]
    command += ["--serve", "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        for line in running.stdout:
            if found := re.match(r"page: (\S+)", line):
                yield found[1]
                return
        sys.exit("the server did not start")
    finally:
        running.terminate()
        running.wait()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        # Chromium's sandbox does not run as root.
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=chromium, args=root)
        yield opened
        opened.close()


def report_picture(workdir: str, output: pathlib.Path) -> None:
    """The first screen of report.html."""
    with browser() as chromium:
        page = chromium.new_page(viewport=REPORT_SIZE)
        page.goto((pathlib.Path(workdir).resolve() / "report.html").as_uri())
        page.screenshot(path=output)


def page_picture(workdir: str, question: str, scheme: str, output: pathlib.Path) -> None:
    """A question, its dialogue, and the mouse on the least certain word."""
    with server(workdir) as address, browser() as chromium:
        page = chromium.new_page(viewport=SIZE, color_scheme=scheme, device_scale_factor=1.5)
        page.goto(address)
        page.fill("#question", question)
        page.click("#ask")
        page.wait_for_selector("#answer:not([hidden])")
        pieces = page.locator("#turns .piece")
        least = min(range(pieces.count()), key=lambda n: certainty(pieces.nth(n)))
        pieces.nth(least).hover()
        page.screenshot(path=output, full_page=True)


def certainty(piece) -> float:
    """The log-probability in a word's tip."""
    return float(piece.get_attribute("data-tip").split()[-1].replace("\N{MINUS SIGN}", "-"))


def terminal_picture(workdir: str, question: str, output: pathlib.Path) -> None:
    """The dialogue as the terminal shows it, in its colours."""
    from rich.console import Console
    from rich.text import Text

    import distill_jax
    from distill_jax.ask.question import ending
    from distill_jax.ask.terminal import Transcript
    from distill_jax.run.solution import Solution
    from distill_jax.workdir import write_text

    students = distill_jax.load(workdir)
    console = Console(record=True, force_terminal=True, width=104, file=io.StringIO())
    run = f"runs/{pathlib.Path(workdir).resolve().name}"
    command = f'python -m distill_jax.ask --workdir {run} \\\n      "{question}"'
    console.print(Text("$ ", "dim"), Text(command), sep="")
    transcript = Transcript(console, students.roles)
    for event in students.answer([question]):
        if isinstance(event, Solution):
            transcript.end(event, ending(event, students))
        else:
            transcript.update(event.turns)
    picture = console.export_svg(title="distill_jax.ask")
    # No font from another server: README shows the picture without it anyway.
    write_text(output, re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, help="a finished run")
    parser.add_argument("--output", default="docs", type=pathlib.Path, help="directory")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--scheme", default="light", choices=("light", "dark"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    asked = arguments.workdir, arguments.question
    report_picture(arguments.workdir, arguments.output / "demo_report.png")
    terminal_picture(*asked, arguments.output / "ask_terminal.svg")
    page_picture(*asked, arguments.scheme, arguments.output / "ask_page.png")


if __name__ == "__main__":
    main()
