"""What README and the pages quote from elsewhere: messages, files, published numbers, versions."""

import ast
import json
import re
import shutil
import subprocess

import yaml
from experiment_runs import ROOT
from pages import CONTRIBUTING, DOCS, README, blocks, table

from distill_jax.evaluation import published


def texts_of_the_source():
    """Every text of the package's source, \\0 where a value is put in."""
    for path in sorted((ROOT / "distill_jax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
                yield "".join(x.value if isinstance(x, ast.Constant) else "\0" for x in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def occurs(message, texts):
    """Whether the parts of a message between its `...` stand in one of the texts, in order."""
    pattern = re.compile(".*".join(map(re.escape, message.split("..."))), re.DOTALL)
    return any(pattern.search(text) for text in texts)


def test_the_messages_of_readme_are_those_of_the_source():
    texts = list(texts_of_the_source())
    messages = [row[0].strip("`") for row in table(README, "message | what to do")]
    assert len(messages) >= 15
    for message in messages:
        assert len(message.replace("...", "")) >= 12, f"too little of it is fixed: {message}"
        assert occurs(message, texts), f"not in the source: {message}"
    assert not occurs("--workdir=... holds another run [...]", texts)


def test_the_files_on_the_map_of_the_code_exist():
    (map_,) = (block for block in blocks(CONTRIBUTING) if "stages.py the stages" in block)
    there = {path.name for part in ("distill_jax", "configs", "tests") for path in
             (ROOT / part).rglob("*.py")}  # fmt: skip
    named = set(re.findall(r"(?<![\w*])\w+\.py", map_))
    assert len(named) > 50 and named <= there, named - there


def test_the_published_numbers_are_those_of_reports():
    lines = re.findall(r"^\| (GPT-2 \S.*?) \|(.*) \|$", (DOCS / "reproducing.md").read_text(), re.M)
    shown = [
        (student, [float(cell) if cell.strip() else None for cell in cells.split("|")])
        for student, cells in lines
    ]
    results = [
        result
        for task in ("gsm8k", "svamp", "strategyqa")
        for result in published.results(task)
        if result.paper is not published.MIX_DISTILLATION and "GPT-2" in result.student
    ]
    # Of the Socratic paper only GSM8K has a table: every other cell is unknown.
    unknown = [result for result in results if not any(result.accuracies.values())]
    expected = [
        (result.student, list(result.accuracies.values()))
        for result in results
        if result not in unknown or result.task == "gsm8k"
    ]
    assert len(shown) == 12 and sorted(shown, key=repr) == sorted(expected, key=repr)


NAMING = ["setup.py", "CITATION.cff", "README.md", "notebooks/evaluate.ipynb"]


def test_one_variable_names_the_repository(tmp_path):
    """What names the address of this copy, and `make repository`, which changes all of it."""
    for name in [*NAMING, "Makefile"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (old,) = re.findall(r'^REPOSITORY = "(.*)"', (ROOT / "setup.py").read_text(), re.MULTILINE)
    make = ["make", "repository", "REPOSITORY=some.one/else"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    for name in NAMING:
        before, after = (ROOT / name).read_text(), (tmp_path / name).read_text()
        assert before.count(old) >= 1 and after == before.replace(old, "some.one/else"), name
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == f"https://github.com/{old}"
    badge = f"https://colab.research.google.com/github/{old}/blob/main/notebooks/evaluate.ipynb"
    notebook = json.loads((ROOT / "notebooks/evaluate.ipynb").read_text())
    texts = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert badge in texts[0] and badge in README.read_text()
    install = next(text for text in texts if "%pip install" in text)
    assert f'REPOSITORY = "https://github.com/{old}"\n' in install


def test_the_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'version="{citation["version"]}"' in (ROOT / "setup.py").read_text()
    assert citation["license"] == "MIT" and citation["cff-version"] == "1.2.0"
