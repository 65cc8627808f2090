"""`evaluate --list`: every evaluation of a run, and in which settings they differ."""

import json
import re
import shutil

import pytest
from experiment_runs import one_error_line, run

from distill_jax.errors import UserError
from distill_jax.evaluation.listing import list_evaluations
from distill_jax.workdir import Workdir


@pytest.fixture(scope="module")
def workdir(tiny_copy):
    """A run with two evaluations: its own, and one that draws."""
    path = tiny_copy
    drawn = ["--config.sampling.temperature=0.7", "--config.sampling.seed=3"]
    done = run("evaluate", "--workdir", path, *drawn)
    assert done.returncode == 0, done.stderr
    return path


def test_directories_results_and_what_differs(workdir):
    done = run("evaluate", "--workdir", workdir, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    reports = {
        path.parent: json.loads(path.read_text())
        for path in workdir.glob("evaluations/*/report.json")
    }
    blocks: dict[str, str] = {}
    path = ""
    for line in done.stdout.strip().split("\n"):
        if not line.startswith(" "):
            path, _, date = line.partition("  ")
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", date)
            blocks[path] = ""
        else:
            blocks[path] += line.strip() + "\n"
    # The oldest first: the headline is by far the first, whatever the names are.
    assert [reports[Workdir(path).path]["sampling"]["temperature"] for path in blocks] == [0, 0.7]
    for path, report in reports.items():
        seed, temperature = (report["sampling"][key] for key in ("seed", "temperature"))
        result, cost, settings, page = blocks[str(path)].strip().split("\n")
        assert page == f"report: {(path if temperature else workdir) / 'report.html'}"
        assert result.startswith(f"accuracy {report['accuracy']:.1%} (95 % interval ")
        assert result.endswith(") on 12 test problems")
        assert cost.startswith("cost per problem: ")
        assert settings == f"sampling.seed={seed} sampling.temperature={temperature}"


def test_one_alone_has_nothing_that_differs_and_one_may_be_unfinished(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "w", ignore=shutil.ignore_patterns("checkpoints"))
    copy = Workdir(tmp_path / "w")
    headline = json.loads(copy.report_json.read_text())
    [unfinished] = (
        path for path in copy.evaluations.iterdir()
        if json.loads((path / "report.json").read_text()) != headline
    )  # fmt: skip
    (unfinished / "report.json").unlink()
    lines = list_evaluations(copy)
    assert len(lines) == 6
    number = lines.index(str(unfinished))
    assert lines[number + 1] == "    not finished: the command that began it continues it"
    shutil.rmtree(copy.evaluations)
    assert list_evaluations(copy) == [f"{copy.evaluations}: no evaluation yet"]


def test_mistakes_are_one_line(workdir, tmp_path):
    with pytest.raises(UserError, match="is this the directory of a run"):
        list_evaluations(Workdir(tmp_path))
    done = run("evaluate", "--workdir", workdir, "--list", "--config.sampling.seed=1")
    assert "--list shows all evaluations: leave --config.* out" in one_error_line(done)
