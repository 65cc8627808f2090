"""notebooks/evaluate.ipynb: kept without outputs, without logic, and run from top to bottom."""

import ast
import json
import subprocess
import sys

import nbformat
import pytest
from experiment_runs import ROOT, TINY, environment
from IPython.core.inputtransformer2 import TransformerManager

import distill_jax
from distill_jax.settings import command_line

NOTEBOOK = ROOT / "notebooks" / "evaluate.ipynb"


# What takes the place of the demo's config: that of TINY.
TINY_CONFIG = f"""
from distill_jax.configs import demo
from distill_jax.settings import command_line


def get_config():
    config = demo.get_config()
    command_line.apply_overrides(config, {command_line.split_overrides(TINY)[1]!r})
    return config
"""


def execute(directory, config="configs/demo.py", **variables):
    """As `pytest --nbmake notebooks/`, on a copy in which the outputs stay: {id: code cell}.

    `config` takes the place of the demo's.
    """
    source = NOTEBOOK.read_text(encoding="utf-8")
    assert source.count("configs/demo.py") == 1
    copy = directory / "notebooks" / NOTEBOOK.name
    copy.parent.mkdir()
    copy.write_text(source.replace("configs/demo.py", config), encoding="utf-8")
    done = subprocess.run(
        # Not another worker of a pytest that measures coverage, as its environment says.
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:slipcover",
         "--nbmake", "--nbmake-timeout=600", "--overwrite", copy],
        cwd=directory, env=environment() | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    cells = nbformat.read(copy, as_version=4).cells
    return {cell["id"]: cell for cell in cells if cell["cell_type"] == "code"}


def html(cell):
    """All that a cell shows as HTML."""
    shown = [output["data"] for output in cell["outputs"] if "data" in output]
    return "".join(data.get("text/html", "") for data in shown)


def printed(cell):
    return "".join(
        output["text"] for output in cell["outputs"] if output["output_type"] == "stream"
    )


def code():
    """The code cells as Python: `!command` and `%magic` are calls of get_ipython()."""
    transform = TransformerManager().transform_cell
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return ast.parse("\n".join(transform(c.source) for c in cells if c.cell_type == "code"))


def test_it_is_kept_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    for cell in notebook["cells"]:
        assert cell["metadata"] == {} and cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_it_has_no_logic_and_uses_only_what_the_package_offers():
    nodes = list(ast.walk(code()))
    assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.For)]
    modules = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    assert modules <= {"distill_jax", "os", "pathlib"}
    taken = {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    assert taken == {"distill_jax", "distill_jax.errors"}
    attributes = [n for n in nodes if isinstance(n, ast.Attribute)]
    assert not [n.attr for n in attributes if n.attr.startswith("_")]
    offered = [n.attr for n in attributes if ast.unparse(n.value) == "distill_jax"]
    assert set(offered) == set(distill_jax.__all__)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Beside notebooks/ lies what a notebook without a run has trained: runs/demo."""
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def cells(directory):
    """The notebook after it trained two tiny students: most of their answers are wrong."""
    (directory / "tiny.py").write_text(TINY_CONFIG)
    return execute(directory, "tiny.py")


def test_it_runs_from_top_to_bottom(cells):
    assert html(cells["ask"]).count('<div class="turn ') >= 1
    assert "How many are there after losing 5?" in html(cells["edit"])
    assert "Votes: " in html(cells["vote"])
    assert "12 test problems of arithmetic" in html(cells["headline"])
    assert "<svg" in html(cells["headline"]) and "<svg" in html(cells["steps"])
    assert "wrong decomposition" in html(cells["errors"])
    assert html(cells["wrong"]).count('class="badge ') == 3
    assert "evaluating on 40 test problems, 5 dialogues each" in printed(cells["evaluate-vote"])
    assert "On the 12 problems that all answered" in html(cells["compare"])
    assert "Against headline" in html(cells["compare"])


def test_without_a_run_it_trains_one(cells, directory):
    lines = printed(cells["train"]).splitlines()
    assert any("training solver 60/60" in line for line in lines)
    assert any(line.endswith("report: runs/demo/report.html") for line in lines)
    assert not any("\x1b" in line for line in lines)  # plain lines, no bar that redraws itself
    assert (directory / "runs" / "demo" / "report.html").exists()


def test_nothing_is_printed_that_is_not_meant(cells):
    said = {name for name, cell in cells.items() if printed(cell)}
    assert said == {"train", "evaluate-vote", "evaluate-gold"}
    assert not [o for c in cells.values() for o in c["outputs"] if o.get("name") == "stderr"]


def test_of_a_finished_run_nothing_is_done_again(cells, directory, tmp_path):
    again = execute(tmp_path, DISTILL_JAX_WORKDIR=str(directory / "runs" / "demo"))
    assert not again["train"]["outputs"]
    for name in ("evaluate-vote", "evaluate-gold"):
        assert "evaluation: nothing left to do" in printed(again[name])
    for name in ("ask", "headline", "steps", "errors", "wrong", "compare"):
        assert html(again[name]) == html(cells[name]) != ""
