"""README and the other pages, taken apart: their blocks of code, their code spans, their tables."""

import re

from experiment_runs import ROOT

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCS = ROOT / "docs"
PAGES = [
    *(README, CONTRIBUTING, ROOT / "CHANGELOG.md", ROOT / "launch" / "README.md"),
    *sorted(DOCS.glob("*.md")),
]
# What was tried once: its commands and keys were those of their day.
CURRENT = [page for page in PAGES if page.name != "log.md"]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name_of(page):
    """For the names of tests."""
    return str(page.relative_to(ROOT))


def blocks(page, language=""):
    """The fenced blocks of a language; "" = of none."""
    return [text for found, text in _BLOCK.findall(page.read_text()) if found == language]


def code_spans(page):
    """What stands between single backticks outside of blocks, line breaks as spaces."""
    text = _BLOCK.sub("", page.read_text())
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def table(page, header):
    """The cells of each row of the table that begins with this header."""
    rows = page.read_text().partition(f"| {header} |\n")[2].partition("\n\n")[0].split("\n")
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1:]]
