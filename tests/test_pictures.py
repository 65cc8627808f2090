"""The scripts in docs/ that draw pictures of studies, from small tables of the same form."""

import csv
import importlib.util
import json

import pytest
from experiment_runs import ROOT


def draw(script, *arguments):
    """Call the `draw` of docs/SCRIPT.py, whose last argument is the file; (its text, again)."""
    spec = importlib.util.spec_from_file_location(script, ROOT / "docs" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts = []
    for _ in range(2):
        module.draw(*arguments)
        texts.append(arguments[-1].read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    return texts[0]


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_chain_length(tmp_path):
    text = draw("chain_length_picture", tmp_path / "made.svg")
    assert ">size 16<" in text and ">capability 40<" in text


def test_combining(tmp_path):
    values = {"normalised": 0.5, "normalised low": 0.4, "normalised high": 0.6}
    tables = tmp_path / "report_combined/tables"
    write_table(tables / "runs.csv", [{"run": name} | values for name in ("s-seed0", "s_vote")])
    costs = [{"run": name, "FLOPs per problem": 2e6} for name in ("s-seed0", "s_vote")]
    write_table(tables / "settings.csv", costs)
    curve = [{"deferred": x, "oracle": x, "switch": x, "random": x} for x in (0.0, 1.0)]
    report = tmp_path / "combined/switch-seed0/report.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"combination": {"deferral": {"curve": curve}}}))
    text = draw("combining_picture", tmp_path, tmp_path / "made.svg")
    assert ">vote of 3 s<" in text and ">by uncertainty<" in text


def test_rewards(tmp_path):
    values = {"rounds/solver/tokens_of_right": 20.0, "rounds/solver/right": 0.5}
    for alpha in ("0.0", "0.4"):
        run = tmp_path / f"alpha={alpha}-seed0/3"
        run.mkdir(parents=True)
        (run / "metrics.jsonl").write_text(f"{json.dumps(values)}\n" * 3)
    text = draw("rewards_picture", tmp_path, 2, tmp_path / "made.svg")
    assert ">alpha 0.4<" in text and ">alpha 0.1<" not in text


@pytest.mark.parametrize("method", ["chain", "unified", "unified_given"])
def test_when_to_ask(method, tmp_path):
    """The name of one method is the beginning of another's."""
    values = {"accuracy": 0.5, "accuracy low": 0.4, "accuracy high": 0.6}
    rows = [{"steps": n, "run": f"made_coins-{method}-seed0"} | values for n in (3, 9)]
    write_table(tmp_path / "steps.csv", rows)
    text = draw("when_to_ask_picture", tmp_path, tmp_path / "made.svg")
    labels = {
        "chain": ">chain<",
        "unified": ">one student asks and solves<",
        "unified_given": ">one student, gold subquestions<",
    }
    for name, label in labels.items():
        assert (label in text) == (name == method)
