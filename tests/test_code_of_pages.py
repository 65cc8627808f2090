"""The Python of README and the pages: it compiles, and what can be run is run."""

import re
import subprocess
import sys

import pytest
from experiment_runs import ROOT, TINY, environment, run
from pages import CONTRIBUTING, DOCS, PAGES, README, blocks, name_of
from test_commands_of_pages import commands

ADDING_A_TASK = DOCS / "adding_a_task.md"
SMALLER = [a for a in TINY if "task_options" not in a and not a.startswith("--config=")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_python_of_a_page_compiles(page):
    for block in blocks(page, "python"):
        compile(block, name_of(page), "exec")


@pytest.fixture(scope="module")
def new_task(tmp_path_factory):
    """A directory in which the page on adding a task was followed, to the letter but for sizes."""
    directory = tmp_path_factory.mktemp("task")
    names = re.findall(r"`(my_\w+\.py)`", ADDING_A_TASK.read_text())
    for name, block in zip(names, blocks(ADDING_A_TASK, "python"), strict=True):
        (directory / name).write_text(block)
    for words in filter(None, commands(ADDING_A_TASK)):
        done = run("main", *words[3:], *SMALLER, cwd=directory)
        assert done.returncode == 0, done.stderr
    return directory


def test_a_task_of_under_40_lines_trains_as_the_page_says(new_task):
    lines = [line for block in blocks(ADDING_A_TASK, "python") for line in block.split("\n")[:-1]]
    assert len(lines) < 40
    report = (new_task / "runs" / "double" / "report.json").read_text()
    assert '"task": "my_task"' in report and '"n": 12' in report


def test_the_python_that_asks_students_runs_on_a_finished_run(new_task):
    """README's, the one on evaluating and the profile's, with the new task's run as runs/demo."""
    (new_task / "runs" / "demo").symlink_to(new_task / "runs" / "double")
    pages = (README, DOCS / "evaluating.md", CONTRIBUTING)
    code = [block for page in pages for block in blocks(page, "python")]
    assert len(code) == 3 and all('load("runs/demo")' in block for block in code)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        cwd=new_task, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((new_task / "profile").rglob("*.xplane.pb"))


def test_every_block_of_python_is_run_or_compiled():
    """So that a new page with code is not left out of the tests above by its place."""
    with_code = {name_of(page) for page in ROOT.glob("*/*.md") if "```python" in page.read_text()}
    assert with_code <= {name_of(page) for page in PAGES}
