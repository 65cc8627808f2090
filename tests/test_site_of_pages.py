"""The pages as a web site, built as `make docs` does: every link leads somewhere."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from experiment_runs import ROOT

pytest.importorskip("mkdocs", reason="the extra [docs] is not installed")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository without what is made in it, to be broken."""
    copied = tmp_path_factory.mktemp("pages") / "repository"
    made = shutil.ignore_patterns(".*", "__pycache__", "runs", "site", "build", "*.egg-info")
    shutil.copytree(ROOT, copied, ignore=made)
    return copied


def build(repository):
    """Makefile's command, in a repository: (exit code, what it said)."""
    (arguments,) = re.findall(r"/mkdocs (.*)", (ROOT / "Makefile").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *arguments.split()],
        cwd=repository, env={**os.environ, "DISABLE_MKDOCS_2_WARNING": "true"},
        capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_every_link_and_anchor_of_the_pages_leads_somewhere(copy):
    code, said = build(copy)
    assert code == 0, said
    assert (copy / "site" / "docs" / "how_it_works.html").is_file()
    for name in ("css/theme.css", "js/theme.js", "search/main.js", "css/fonts/lato-normal.woff2"):
        assert (copy / "site" / name).is_file()


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("README.md", "docs/evaluating.md#nothing"),
        ("README.md", "launch/nothing.sh"),
        ("docs/index.md", "nothing.md"),
        ("launch/README.md", "#nothing"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(copy, page, link):
    whole = (copy / page).read_text()
    (copy / page).write_text(f"{whole}\n[broken]({link})\n")
    code, said = build(copy)
    (copy / page).write_text(whole)
    assert code == 1 and f"'{link}'" in said
    assert said.count("WARNING") == 1


def test_a_page_that_is_not_in_the_navigation_ends_the_build(copy):
    (copy / "docs" / "new.md").write_text("# New\n")
    code, said = build(copy)
    (copy / "docs" / "new.md").unlink()
    assert code == 1 and "new.md" in said


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [("  !/css/**\n", "css/theme.css"), ("  !/js/**\n", "js/theme.js")],
)
def test_a_site_without_its_style_sheet_or_script_ends_the_build(copy, left_out, missing):
    whole = (copy / "mkdocs.yml").read_text()
    assert left_out in whole
    (copy / "mkdocs.yml").write_text(whole.replace(left_out, ""))
    code, said = build(copy)
    (copy / "mkdocs.yml").write_text(whole)
    assert code == 1 and f"index.html loads '{missing}', which is not in the site" in said
