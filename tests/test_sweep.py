"""Sweeps: what a file stands for, what is refused, and real runs that fail, are killed, go on."""

import dataclasses
import json
import os
import pathlib
import signal
import time

import pytest
import setuptools
from experiment_runs import ROOT, contents, curve, one_error_line, run
from run_directories import solved, write_run
from sweep_processes import OVERRIDES, begin, outcomes, wait_until, write_sweep

from distill_jax import errors
from distill_jax.errors import UserError
from distill_jax.evaluation import runs as finished_runs
from distill_jax.evaluation.listing import list_evaluations
from distill_jax.records import Problem, read_json_lines
from distill_jax.run import from_first, training_annotations
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.sweep import __main__ as sweep
from distill_jax.sweep import checks, definition, shared_data
from distill_jax.sweep.definition import Ask, Make, Run, Sweep, grid
from distill_jax.sweep.plan import plan
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

SHIPPED = sorted(path.stem for path in definition.SHIPPED.glob("[a-z]*.py"))
BUG = """
from distill_jax.tasks.arithmetic import grade, load_annotations
def load(split, difficulty, seed, train_problems, dev_problems, test_problems, style):
    return 1 / 0
"""


def planned_runs(swept, overrides):
    """The steps of a sweep in w/."""
    return plan(swept, overrides, pathlib.Path("w")).steps


def refused(capsys, *arguments):
    """The line that a sweep in this process ends with, which must be the user's mistake."""
    assert errors.run_command(sweep.main, [str(each) for each in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    return line


def test_a_grid_has_an_arm_per_combination_named_after_its_values():
    assert grid({"data.train_problems": [10, 20], "reads.solver": [(), ("decomposer",)]}) == {
        "train_problems=10-solver=": {"data.train_problems": 10, "reads.solver": ()},
        "train_problems=10-solver=decomposer": {
            "data.train_problems": 10,
            "reads.solver": ("decomposer",),
        },
        "train_problems=20-solver=": {"data.train_problems": 20, "reads.solver": ()},
        "train_problems=20-solver=decomposer": {
            "data.train_problems": 20,
            "reads.solver": ("decomposer",),
        },
    }
    # Keys of one last part are written out, and what no file name holds becomes _.
    layers = {"model.solver.layers": [1], "model.decomposer.layers": [2], "task": ["a/b c"]}
    (name,) = grid(layers)
    assert name == "model.solver.layers=1-model.decomposer.layers=2-task=a_b_c"
    with pytest.raises(UserError, match=r"two arms would be called 'task=a_b'"):
        grid({"task": ["a/b", "a b"]})


def test_runs_have_their_arms_values_above_those_of_all_and_a_command_of_their_own():
    runs = planned_runs(
        Sweep(
            config="configs/demo.py",
            arms={"chain": {"scheme": "chain", "train.steps": 3}, "blind": {"reads.solver": ()}},
            seeds=(4, 5),
            overrides={"train.steps": 7, "checkpoint_dir": "/disk/"},
        ),
        {"train.batch_size": "8"},
    )
    assert [run.name for run in runs] == [
        "chain-seed4",
        "chain-seed5",
        "blind-seed4",
        "blind-seed5",
    ]
    first, last = runs[0].config, runs[-1].config
    assert (first.scheme, first.train.steps, first.train.batch_size, first.seed) == (
        "chain",
        3,
        8,
        4,
    )
    assert (last.scheme, last.train.steps, last.reads.solver, last.seed) == ("socratic", 7, (), 5)
    # A place outside of the working directories is not shared.
    assert {run.config.checkpoint_dir for run in runs} == {f"/disk/{run.name}" for run in runs}
    for each in runs:
        rest, overrides = command_line.split_overrides(each.arguments(ROOT / "w"))
        assert rest == ["--config=configs/demo.py", f"--workdir={ROOT / 'w' / each.name}"]
        config = command_line.load_config("configs/demo.py")
        command_line.apply_overrides(config, overrides)
        assert config == each.config


def test_every_mistake_of_a_sweep_is_in_one_message():
    mistaken = Sweep(
        config="configs/demo.py",
        arms={
            "a": {"train.stepz": 3},
            "b/c": {"train.batch_size": "many", "seed": 3},
            "d": {"train.steps": 5},
            "e": {"train.steps": 5, "train.accumulation": -1},
            "f": {"train.accumulation": -1},
        },
        seeds=(0, 0),
        overrides={"nothing": 1},
        baseline="z",
    )
    with pytest.raises(UserError) as caught:
        planned_runs(mistaken, {"train.steps": "9", "scheme": "chain", "train.seeds": "3"})
    for expected in (
        "arm a: unknown key config.train.stepz (did you mean train.steps?)",
        "arm e; f: config.train.accumulation=-1: must be at least 1",
        "arm 'b/c': letters, digits and",
        "arm b/c: config.train.batch_size='many' is not of type int",
        "arm b/c: config.seed is set by the sweep's seeds",
        "seeds=(0, 0): whole numbers from 0 are expected, each once",
        "all runs: unknown key config.nothing; unknown key config.train.seeds"
        " (did you mean train.steps?)",
        "baseline='z': choose one of a, b/c, d, e",
        "--config.train.steps: the sweep sets it in d, e: leave it out",
    ):
        assert expected in str(caught.value)
    twins = {"a": {"train.steps": 5}, "b": {}, "c": {"train.steps": 5}}
    with pytest.raises(UserError, match=r"^arms a and c are the same$"):
        planned_runs(Sweep(config="configs/demo.py", arms=twins, seeds=(0, 1)), {})
    with pytest.raises(UserError, match="the sweep has no runs"):
        planned_runs(Sweep(config="configs/demo.py", arms={}), {})


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sweep_passes_its_checks(name, tmp_path, capsys):
    arguments = ["--config", f"configs/sweeps/{name}.py", "--workdir", str(tmp_path / "w")]
    files = {"data.annotations": "long.jsonl,short.jsonl"} if name.startswith("mix_") else {}
    arguments += [f"--config.{key}={value}" for key, value in files.items()]
    assert errors.run_command(sweep.main, [*arguments, "--dry_run"]) == 0
    runs = planned_runs(definition.load_sweep(f"configs/sweeps/{name}.py"), files)
    assert capsys.readouterr().out == f"{len(runs)} runs: nothing wrong with their configs\n"
    assert errors.run_command(sweep.main, [*arguments, "--list"]) == 0
    shown = capsys.readouterr().out.strip().split("\n")[1:]
    assert [line.split()[0] for line in shown] == [run.name for run in runs]
    assert all(
        " not begun " in line and (f" seed={run.seed}" in line or not isinstance(run.step, Run))
        for line, run in zip(shown, runs, strict=True)
    )
    assert list(tmp_path.iterdir()) == []


def test_the_schemes_are_compared_at_one_budget():
    runs = planned_runs(definition.load_sweep("schemes.py"), {})
    students = {run.label: tuple(make_run(run.config, Workdir("w")).students) for run in runs}
    two = ("decomposer", "solver")
    assert students == {
        "answer_only": ("solver",),
        "chain": ("solver",),
        "socratic_unified": ("solver",),
        "socratic_iterative": two,
        "socratic_iterative_blind": two,
    }
    assert {run.config.train.token_budget for run in runs} == {2_000_000}
    assert {run.config.evaluation.problems for run in runs} == {500}
    blind = next(run for run in runs if run.label == "socratic_iterative_blind")
    assert blind.config.reads.decomposer == ()


GOLD = {"scheme": "chain", "data.train_problems": 50}
HARVEST = {"evaluation.split": "train", "sampling.samples": 2, "sampling.temperature": 0.7}
STAGES = {
    "gold": GOLD,
    "own": (
        Run(GOLD),
        Ask(HARVEST),
        Run(
            {
                "scheme": "chain",
                "data.annotations": ("{0}/annotations.jsonl", "{1}/predictions.jsonl"),
                "tokenizer.name": "{0}/tokenizer",
                "harvest.unwanted": ("a{2}", "b{1,3}"),
            }
        ),
    ),
    "again": (
        Run(GOLD),
        Ask(HARVEST),
        Make("json.tool", {"of": "{1}"}),
        Run({"scheme": "chain", "data.annotations": "{2}/annotations.jsonl"}),
    ),
}


def test_steps_name_the_directories_of_earlier_ones_and_are_shared_by_arms():
    made = plan(Sweep("configs/demo.py", STAGES, seeds=(0, 3)), {}, pathlib.Path("w"))
    assert made.ways["gold-seed0"] == ("gold-seed0",)
    assert made.ways["own-seed0"] == ("gold-seed0", "own-seed0/1", "own-seed0/2")
    assert made.ways["again-seed3"] == (
        "gold-seed3", "own-seed3/1", "again-seed3/2", "again-seed3/3"
    )  # fmt: skip
    assert len(made.steps) == 2 * (1 + 2 + 2)
    ask, learn = made.of("own-seed3/1"), made.of("own-seed3/2")
    assert ask.arguments(pathlib.Path("w")) == [
        "--config.evaluation.split=train",
        "--config.sampling.samples=2",
        "--config.sampling.temperature=0.7",
        "--workdir=w/gold-seed3",
    ]
    assert learn.config.data.annotations == (
        "w/gold-seed3/annotations.jsonl",
        "w/own-seed3/1/predictions.jsonl",
    )
    assert learn.config.tokenizer.name == "w/gold-seed3/tokenizer"
    # No place: it does not begin with one. And a comma parts nothing.
    assert learn.config.harvest.unwanted == ("a{2}", "b{1,3}")
    assert (learn.label, learn.needs) == ("own/2", ("gold-seed3", "own-seed3/1"))
    assert list(learn.sources) == ["own-seed3/1"]
    assert list(made.of("again-seed3/3").sources) == ["own-seed3/1", "again-seed3/2"]
    make = made.of("again-seed0/2")
    assert (make.module, make.arguments(pathlib.Path("w"))) == (
        "json.tool", ["--of=w/own-seed0/1", "--output=w/again-seed0/2"]
    )  # fmt: skip


def test_files_of_a_make_that_was_stopped_are_not_those_of_an_earlier_command(tmp_path):
    """It was made, its arguments changed, it was stopped half-way, and they were changed back."""
    step = plan(Sweep("configs/demo.py", STAGES), {}, tmp_path).of("again-seed0/2")
    checks.settle(step, None, tmp_path)
    assert checks.state(step, None, tmp_path) == "done"
    changed = dataclasses.replace(step, changes={"of": "other"})
    assert checks.state(changed, None, tmp_path) == "not begun"
    checks.begin(changed, None, tmp_path)
    assert checks.state(step, None, tmp_path) == "half done"
    # Its source asks otherwise.
    checks.settle(step, None, tmp_path)
    asked = dataclasses.replace(step, sources=dict.fromkeys(step.sources, "other"))
    assert checks.state(asked, None, tmp_path) == "not begun"


def test_a_part_of_a_sweep_has_the_names_of_the_whole():
    """So parts can be run one after another, and all arms at last, in one directory."""
    whole = Sweep("configs/demo.py", STAGES | {"odd": {"no.key": 1}}, seeds=(0, 3))
    part = plan(definition.only(whole, "again"), {}, pathlib.Path("w"), whole)
    assert part.ways == {
        f"again-seed{n}": (
            f"gold-seed{n}",
            f"own-seed{n}/1",
            f"again-seed{n}/2",
            f"again-seed{n}/3",
        )
        for n in (0, 3)
    }
    assert {step.name for step in part.steps} == {
        name for way in part.ways.values() for name in way
    }
    with pytest.raises(UserError, match=r"^arm odd: .*no\.key"):
        plan(definition.only(whole, "odd,again"), {}, pathlib.Path("w"), whole)


def test_other_seeds_than_those_of_the_file():
    whole = Sweep("configs/demo.py", STAGES, seeds=(0, 3))
    for text, seeds in {"3": (3,), "5, 0": (5, 0), "": (0, 3), "1,1": (1,)}.items():
        part = definition.with_seeds(whole, text)
        planned = plan(definition.only(part, "again"), {}, pathlib.Path("w"), whole)
        assert list(planned.ways) == [f"again-seed{seed}" for seed in seeds]
        assert planned.of(f"again-seed{seeds[0]}/3").needs[0] == f"gold-seed{seeds[0]}"
        assert {step.seed for step in planned.steps} == set(seeds)
    for text in ("one", "-1", "0,", ",", "1.5", "²", "0..2"):
        with pytest.raises(UserError, match=r"^--seeds=.*as in --seeds=0,1"):
            definition.with_seeds(whole, text)


def test_mistakes_of_steps_are_said_at_once():
    arms = {
        "a": (Ask({"train.steps": 1}), Run({})),
        "b": (Run({"data.annotations": "{0}/a"}), Make("m", {})),
        "c": (Run({"seed": 1}), Ask({"sampling.seed": 1})),
        "d": (),
    }
    with pytest.raises(UserError) as caught:
        plan(Sweep("configs/demo.py", arms), {"sampling.seed": "2"}, pathlib.Path("w"))
    for expected in (
        "arm a, step 0: an Ask needs a Run before it",
        "arm a, step 0: an Ask changes evaluation.* and sampling.* alone, not train.steps",
        "arm b: its last step must be a Run or an Ask",
        "arm b, step 0: {0} is not an earlier step",
        "arm c: config.seed is set by the sweep's seeds",
        "arm d: its last step must be",
        "--config.sampling.seed: the sweep sets it in c: leave it out",
    ):
        assert expected in str(caught.value)


def test_questions_of_the_evaluation_are_not_asked_to_learn_from_the_answers():
    """Without evaluation.split an Ask would ask the test split, as the runs do."""
    learn = Run({"data.annotations": "{1}/predictions.jsonl", "scheme": "chain"})
    arm = (Run(GOLD), Ask({"sampling.samples": 2, "sampling.temperature": 0.7}), learn)
    with pytest.raises(UserError, match=r"^arm a/1 asks the test split of distill_jax\.tasks"):
        plan(Sweep("configs/demo.py", {"a": arm}), {}, pathlib.Path("w"))
    # Whose answers nobody uses is an evaluation like any other.
    fine = (Run(GOLD), Ask({"sampling.given": "nothing"}))
    assert plan(Sweep("configs/demo.py", {"a": fine}), {}, pathlib.Path("w"))


def test_sweeps_are_in_the_package():
    packages = setuptools.find_packages(str(ROOT), include=["distill_jax.*"])
    assert {"distill_jax.sweep", "distill_jax.configs.sweeps"} <= set(packages)


def test_what_is_refused_before_anything_runs(tmp_path, capsys):
    file, workdir = tmp_path / "mine.py", tmp_path / "w"
    arguments = ("--config", file, "--workdir", workdir)
    write_sweep(file, {"a": {"scheme": "socrates"}, "b": {"model.solver.heads": 3}}, seeds=(0, 1))
    line = refused(capsys, *arguments)
    assert "a-seed0; a-seed1: config.scheme='socrates': choose answer_only" in line
    assert "b-seed0; b-seed1: config.model.solver.heads=3 does not divide" in line
    write_sweep(file, {"a": {}}, overrides={"distributed.processes": 2})
    assert "a sweep runs on one machine" in refused(capsys, *arguments)
    write_sweep(file, {"a": {"train.students": ("solver",)}})
    assert "a-seed0: config.train.students: a sweep trains all" in refused(capsys, *arguments)
    file.write_text("def get_sweep():\n    return {'arms': {}}\n")
    assert "get_sweep() returns dict" in refused(capsys, *arguments)
    write_sweep(file, ["chain"])
    assert "arms={NAME: {KEY: VALUE}} and" in refused(capsys, *arguments)
    write_sweep(file, {"a": {}}, seeds=3)
    assert "seeds=3: a tuple such as (0, 1, 2)" in refused(capsys, *arguments)
    line = refused(capsys, "--config=configs/demo.py", "--workdir", workdir)
    assert line == (
        "error: --config=configs/demo.py: has no get_sweep(): it is a file for python -m "
        "distill_jax.main"
    )
    line = refused(capsys, "--config=configs/sweeps/none.py", "--workdir", workdir)
    assert "shipped are configs/sweeps/as_es.py, " in line
    assert not workdir.exists()
    write_sweep(file, {"a": {}})
    write_run(workdir, [solved(Problem("arithmetic/test/0", "1 + 1?", "2", "test"), [("?", "2")])])
    assert "holds a run, not a sweep" in refused(capsys, *arguments)
    with Workdir(tmp_path / "other").locked():
        line = refused(capsys, "--config", file, "--workdir", tmp_path / "other")
    assert f"is in use by process {os.getpid()}" in line


def test_the_data_is_the_same_where_only_the_students_differ():
    def key(**changes):
        config = command_line.load_config("configs/demo.py")
        command_line.set_values(config, {k.replace("__", "."): v for k, v in changes.items()})
        return shared_data.data_key(config)

    same = {"seed": 3, "students__decomposer": "solver", "train__steps": 5, "data__packing": True}
    same |= {"reads__decomposer": (), "sampling__samples": 2, "evaluation__problems": 3}
    assert key(**same) == key()
    for other in (
        {"scheme": "answer_only"},
        {"task_options__seed": 1},
        {"data__train_problems": 5},
        {"data__dev_split": ""},
        {"tokenizer__vocab_size": 400},
        {"teacher__model": "m"},
        {"evaluation__split": "dev"},
        # Weights bring a tokenizer of their own.
        {"model__solver__init_from": "openai-community/gpt2"},
        {"model__solver__init_from": "other/checkpoints/solver"},
        {"model__solver__init_from": "m.gguf"},
    ):
        assert key(**other) != key()
    named = {"tokenizer__name": "other/tokenizer"}
    assert key(**named, model__solver__init_from="other/checkpoints/solver") == key(**named)
    # The seed decides who is learned from which file.
    mixed = {"data__annotations": ("a", "b"), "data__mixture": (0.5, 0.5)}
    assert key(**mixed) != key(**mixed, seed=3)


def test_an_arm_is_named_without_what_its_seeds_begin_with(tmp_path):
    asked = Problem("arithmetic/test/0", "1 + 1?", "2", "test")
    paths = [
        write_run(tmp_path / f"chain-seed{seed}", [solved(asked, [("?", "2")])], seed=seed)
        for seed in (10, 11, 12)
    ]
    assert list(finished_runs.arms(finished_runs.read_runs(paths))) == ["chain"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(sweep file, its directory, what the sweep printed): an arm that can be trained, one whose
    rows do not fit, one whose task has a bug; two at a time."""
    place = tmp_path_factory.mktemp("swept")
    (place / "bug_task.py").write_text(BUG)
    arms = {
        "long": {"model.solver.context": 40},
        "chain": {},
        "bug": {"task": "bug_task", "evaluation.task": "distill_jax.tasks.arithmetic"},
    }
    file = write_sweep(place / "mine.py", arms, (0, 1), baseline="chain")
    overrides = [f"--config.{k}={v}" for k, v in (OVERRIDES | {"scheme": "chain"}).items()]
    done = run("sweep", "--config", file, "--workdir=w", "--jobs=2", *overrides, cwd=place)
    return file, place / "w", done, overrides


def test_failures_are_listed_and_the_rest_is_carried_on(swept):
    _, directory, done, _ = swept
    line = one_error_line(done)
    assert line.startswith("error: 4 runs failed (long-seed0; long-seed1; bug-seed0; bug-seed1)")
    runs = outcomes(directory)
    assert {name: each["status"] for name, each in runs.items()} == {
        **dict.fromkeys(["long-seed0", "long-seed1", "bug-seed0", "bug-seed1"], "failed"),
        **dict.fromkeys(["chain-seed0", "chain-seed1"], "done"),
    }
    assert runs["long-seed0"]["exit_code"] == 2
    assert "raise config.model.solver.context" in runs["long-seed0"]["message"]
    assert runs["bug-seed0"]["exit_code"] == 1
    log = directory / "logs" / "bug-seed0.txt"
    message = "exit code 1: ZeroDivisionError: division by zero"
    assert runs["bug-seed0"]["message"].startswith(message)
    assert "Traceback" in log.read_text() and "Traceback" not in done.stdout + done.stderr
    for name in ("chain-seed0", "chain-seed1"):
        report = json.loads((directory / name / "report.json").read_text())
        assert runs[name]["accuracy"] == report["accuracy"]
        assert runs[name]["interval"] == report["accuracy_interval"]
    table = done.stdout.partition("arm    seed  accuracy")[2]
    assert [row.split()[:2] for row in table.split("\n")[1:7]] == [
        [arm, seed] for arm in ("long", "chain", "bug") for seed in "01"
    ]
    # Nothing is left in them that the next attempt could take for its own.
    assert not (directory / "long-seed1" / "annotations.jsonl").exists()


def test_each_run_is_an_ordinary_one_and_the_report_groups_the_seeds(swept):
    _, directory, done, _ = swept
    assert any("accuracy" in line for line in list_evaluations(Workdir(directory / "chain-seed1")))
    assert f"report: {os.path.join('w', 'report', 'comparison.html')}" in done.stdout
    seeds = (directory / "report" / "tables" / "seeds.csv").read_text().split("\n")
    assert seeds[1].startswith('chain,2,"0, 1",')
    assert "Against chain-seed0" in (directory / "report" / "comparison.md").read_text()


def test_a_run_reads_the_data_of_its_sister_as_if_it_had_made_it(swept, tmp_path):
    _, directory, done, _ = swept
    assert "chain-seed1: begins, with the data of chain-seed0" in done.stdout
    shared = Workdir(directory / "chain-seed1")
    config = command_line.config_from_dict(shared.stored_config())
    inputs = make_run(config, Workdir(tmp_path / "alone"))
    data = training_annotations.collect(inputs, Terminal())
    training_annotations.write(inputs, data, from_first.tokenizer(inputs, data.train), Terminal())
    assert shared.hashes() == inputs.workdir.hashes() and len(shared.hashes()) == 3
    rows = list(read_json_lines(shared.annotations))
    assert len(rows) == len(data.train) == 300
    assert shared.summary.read_text() == inputs.workdir.summary.read_text()


def test_what_is_done_is_not_done_again(swept, tmp_path):
    """The arms that failed are given up: nothing is left to do but the report."""
    _, directory, _, overrides = swept
    file = write_sweep(tmp_path / "mine.py", {"chain": {}}, (0, 1))
    before = {seed: contents(directory / f"chain-seed{seed}") for seed in (0, 1)}
    done = run("sweep", "--config", file, "--workdir", directory, *overrides)
    assert done.returncode == 0, done.stderr
    assert "2 runs, 2 of them are done" in done.stdout and "begins" not in done.stdout
    assert {seed: contents(directory / f"chain-seed{seed}") for seed in (0, 1)} == before
    known = outcomes(directory)
    assert {each["status"] for each in known.values()} == {"done"}
    # What is known of a run that is not chosen stays known.
    done = run("sweep", "--config", file, "--workdir", directory, "--seeds=1", *overrides)
    assert "1 runs, 1 of them are done" in done.stdout and outcomes(directory) == known
    assert list(known) == ["chain-seed0", "chain-seed1"] and known["chain-seed0"]["seconds"] > 0


def test_another_sweep_in_the_directory_is_refused_in_one_line(swept, tmp_path, capsys):
    _, directory, _, overrides = swept
    file = write_sweep(tmp_path / "mine.py", {"chain": {"train.batch_size": 4}}, (0, 1))
    overrides = [each for each in overrides if "batch_size" not in each]
    line = refused(capsys, "--config", file, "--workdir", directory, *overrides)
    assert "chain-seed0; chain-seed1: another run is in its directory" in line
    assert line.count("config.train.batch_size was 8, now 4") == 1


def test_killed_runs_and_sweeps_go_on_where_they_were(tmp_path):
    """One run, 200 steps: it is killed, then its sweep is, then the sweep is asked to end."""
    file = write_sweep(tmp_path / "mine.py", {"chain": {"scheme": "chain"}})
    changes = {"train.steps": "200", "train.save_every": "5", "train.keep": "1"}
    overrides = [f"--config.{k}={v}" for k, v in (OVERRIDES | changes).items()]
    directory = tmp_path / "w"
    workdir, log = directory / "chain-seed0", directory / "logs" / "chain-seed0.txt"

    def trained(step):
        metrics = workdir / "metrics.jsonl"
        return lambda: metrics.exists() and f'"step": {step},' in metrics.read_text()

    process = begin(file, directory, *overrides)
    wait_until(trained(20), process)
    owner = int((workdir / ".lock").read_text().removeprefix("process "))
    os.kill(owner, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1 and "error: 1 runs failed (chain-seed0)" in said
    assert "ended by SIGKILL" in outcomes(directory)["chain-seed0"]["message"]

    compiled = set((directory / ".compilation_cache").iterdir())
    assert any("train_step" in path.name for path in compiled)

    process = begin(file, directory, *overrides)
    wait_until(trained(60), process)
    process.kill()
    process.communicate()
    # The run ends by itself, its state saved; meanwhile it keeps other sweeps out.
    deadline = time.monotonic() + 120
    while "interrupted: run the same" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    with open(directory / ".lock") as lock:
        wait_for_lock(lock, deadline)

    # The same program was not compiled again.
    now = set((directory / ".compilation_cache").iterdir())
    assert not [path for path in now - compiled if "train_step" in path.name]

    process = begin(file, directory, *overrides)
    wait_until(trained(100), process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75
    assert said.strip() == "interrupted: run the same command again to continue"
    assert outcomes(directory)["chain-seed0"]["status"] == "interrupted"

    process = begin(file, directory, *overrides)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert outcomes(directory)["chain-seed0"]["status"] == "done"
    assert log.read_text().count("student solver: going on from step") == 3
    steps = [step for step, _ in curve(workdir, "train/solver/loss")]
    assert steps == list(range(5, 201, 5))


def wait_for_lock(lock, deadline):
    import fcntl

    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
