"""Mix Distillation: which problem is learned from which file, and what is counted of it."""

import csv
import json
import os
from hashlib import sha256

import pytest
from experiment_runs import run
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.annotations import mixture
from distill_jax.annotations.mixture import Mixture
from distill_jax.annotations.subsets import share_of_questions
from distill_jax.errors import UserError
from distill_jax.evaluation.comparison import write_comparison
from distill_jax.records import Annotation, Step
from distill_jax.run import checks, training_annotations
from distill_jax.run.annotate_problems import annotate
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir

FILES = ("long", "short")


def annotation(number, file, sample=0):
    source = {"kind": "imported", "file": file, "sample": sample}
    steps = (Step(None, f"{file} {sample}"),)
    return Annotation(f"p/{number}", f"Question {number}?", "7", steps, source)


def two_files(count):
    return [annotation(number, file) for file in FILES for number in range(count)]


def files_of(annotations):
    """{id: file} of annotations of different problems."""
    found = {each.id: each.source["file"] for each in annotations}
    assert len(found) == len(annotations)
    return found


def test_by_hand_only_problems_of_every_file_take_part():
    given = [
        *(annotation(1, "long", s) for s in range(3)),
        annotation(2, "long"),
        *(annotation(1, "short", s) for s in range(2)),
        annotation(3, "short"),
    ]
    kept, rejected = mixture.common(given, Mixture(FILES, (0.5, 0.5), 0))
    assert [(a.id, a.source["file"], a.source["sample"]) for a in kept] == [
        ("p/1", "long", 0),
        ("p/1", "long", 1),
        ("p/1", "short", 0),
        ("p/1", "short", 1),
    ]
    assert [(each.id, each.reason, each.detail) for each in rejected] == [
        ("p/1", "more than another file", "of this problem"),
        ("p/2", "not in every file", "none in short"),
        ("p/3", "not in every file", "none in long"),
    ]


def test_by_hand_a_problem_has_all_annotations_of_one_file():
    given = [annotation(n, file, s) for file in FILES for n in (2, 1) for s in (0, 1)]
    first, second = sorted((1, 2), key=lambda n: sha256(f"5/Question {n}?".encode()).digest())
    mixed = mixture.assign(given, Mixture(FILES, (0.5, 0.5), 5))
    file = {first: "long", second: "short"}
    assert mixed == [annotation(n, file[n], s) for n in (2, 1) for s in (0, 1)]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_problems_and_every_mixture_is_as_large(count, seed, low, high):
    low, high = sorted((low, high))
    arms = [
        files_of(mixture.assign(two_files(count), Mixture(FILES, (share, 1 - share), seed)))
        for share in (0.0, low, high, 1.0)
    ]
    assert [list(arm) for arm in arms] == [list(arms[0])] * 4  # the same problems in one order
    long = [{name for name, file in arm.items() if file == "long"} for arm in arms]
    assert long[0] == set() and len(long[3]) == count
    assert long[1] <= long[2]
    assert len(long[1]) == round(low * count)


def test_the_assignment_depends_on_seed_and_question_alone():
    given = two_files(100)
    half = Mixture(FILES, (0.5, 0.5), 0)
    assert files_of(mixture.assign(given, half)) == files_of(mixture.assign(given[::-1], half))
    other = files_of(mixture.assign(given, half._replace(seed=1)))
    same = sum(file == other[name] for name, file in files_of(mixture.assign(given, half)).items())
    assert 30 < same < 70


def test_three_files():
    given = [annotation(n, file) for file in "abc" for n in range(10)]
    found = files_of(mixture.assign(given, Mixture(tuple("abc"), (0.2, 0.5, 0.3), 0)))
    assert [list(found.values()).count(file) for file in "abc"] == [2, 5, 3]


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["d/a.json", "d/b.json"], ("a.json", "b.json")),
        (["r/x/a.jsonl", "r/y/a.jsonl"], ("x/a.jsonl", "y/a.jsonl")),
        (["a.jsonl", "r/a.jsonl"], ("a.jsonl", "r/a.jsonl")),
        (["hub:me/data"], ("data",)),
        ([], ()),
    ],
)
def test_files_are_called_by_as_little_as_tells_them_apart(paths, labels):
    assert mixture.file_labels(paths) == labels


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data.mixture": "0.2,0.8"}, "2 shares for 0 files: give config.data.annotations one"),
        ({"data.mixture": "1", "data.annotations": "a,b"}, "1 shares for 2 files"),
        ({"data.mixture": "0.2,0.7"}, "config.data.mixture=0.2,0.7: shares must .* sum to 1"),
        ({"data.mixture": "-0.2,1.2"}, "shares must be at least 0"),
        ({"data.mixture": "nan,1"}, "shares must be at least 0"),
        ({"data.mixture": "one,two"}, "shares are numbers, such as 0.2,0.8"),
        ({"data.train_share": "0.5", "data.train_problems": "9"}, "both choose training problems"),
        ({"data.train_share": "0"}, "config.data.train_share=0.0: above 0, at most 1"),
    ],
)
def test_values_that_make_no_sense(values, message):
    config = command_line.load_config("configs/demo.py")
    if "files" not in message or "config.data.mixture" in message:
        values = {"data.annotations": "a,b"} | values
    command_line.apply_overrides(config, values)
    with pytest.raises(UserError, match=message):
        checks.check_values(config)


def test_shares_of_a_config_file_are_overridden_by_numbers():
    config = command_line.load_config("configs/mix_long_arithmetic.py")
    command_line.apply_overrides(config, {"data.mixture": "0.4, 0.6"})
    assert config.data.mixture == (0.4, 0.6)
    command_line.apply_overrides(config, {"data.mixture": ""})
    assert config.data.mixture == ()


def test_a_smaller_share_is_part_of_a_larger_one_and_keeps_annotations_together():
    given = [annotation(n, file) for file in FILES for n in range(20)]
    parts = [share_of_questions(given, share) for share in (0.01, 0.25, 0.5, 1.0)]
    assert [len(part) for part in parts] == [2, 10, 20, 40]
    ids = [{each.id for each in part} for part in parts]
    assert ids[0] < ids[1] < ids[2] < ids[3]
    assert share_of_questions(given[::-1], 0.25)[::-1] == parts[1]


def write_files(directory, lacking=()):
    """Twenty problems in own format, and two files of nearly the same chains for them."""
    questions = [f"What is {n} + 1?" for n in range(20)]
    rows = [{"question": q, "answer": n + 1} for n, q in enumerate(questions)]
    test = [{"question": "Is ice cold?", "answer": 0}]
    for name, content in (("train.jsonl", rows), ("test.jsonl", test)):
        (directory / name).write_text("".join(json.dumps(row) + "\n" for row in content))
    for name, end in (("long", "indeed"), ("short", "yes")):
        chains = [
            {
                "prompt": q,
                "completion": f"We add one to {n} and so get {n + 1}, {end}.\n#### {n + 1}",
            }
            for n, q in enumerate(questions)
            if (name, n) not in lacking
        ]
        lines = "".join(json.dumps(row) + "\n" for row in chains)
        (directory / f"{name}.jsonl").write_text(lines)
    return ",".join(str(directory / f"{name}.jsonl") for name in FILES)


def test_other_shares_are_another_run(tmp_path):
    config = command_line.load_config("configs/mix_long_arithmetic.py")
    config.data.annotations = FILES
    identity = make_run(config, Workdir(tmp_path)).identity()
    assert (identity["data.mixture"], identity["data.annotations"]) == ([0.2, 0.8], [*FILES])


def collect(directory, files, **overrides):
    config = command_line.load_config("configs/jsonl.py")
    flat = {"task_options.directory": str(directory), "scheme": "chain", "data.annotations": files}
    command_line.apply_overrides(config, flat | overrides)
    return training_annotations.collect(make_run(config, Workdir(directory / "w")), Terminal())


def test_arms_have_the_same_problems_and_say_what_is_of_which_file(tmp_path):
    files = write_files(tmp_path, lacking={("long", 3), ("short", 4), ("short", 5)})
    arms = {
        share: collect(tmp_path, files, **{"data.mixture": f"{share},{1 - share}"})
        for share in (0.0, 0.25, 1.0)
    }
    assert arms[0.25].usage == (
        "20 problems: 37 annotations, 3 rejected, 17 problems in all 2 files, 1 held out for dev; "
        "16 to train on (4 of long.jsonl, 12 of short.jsonl)"
    )
    for data in arms.values():
        assert [a.id for a in data.train] == [a.id for a in arms[0.0].train]
        assert [a.id for a in data.dev] == [a.id for a in arms[0.0].dev]
        assert {each.reason for each in data.rejected} == {"not in every file"}
    assert {a.source["file"] for a in arms[0.0].train} == {"short.jsonl"}
    # Without shares all annotations are used, but for those that only repeat another file's.
    data = collect(tmp_path, files)
    assert len(data.train) + len(data.dev) == 20
    assert [each.reason for each in data.rejected] == ["near duplicate"] * 17


def test_train_share_leaves_the_dev_split_alone(tmp_path):
    files = write_files(tmp_path)
    whole, half = (
        collect(tmp_path, files, **{"data.mixture": "0.5,0.5", "data.train_share": share})
        for share in ("1", "0.5")
    )
    assert whole.dev == half.dev and (len(whole.train), len(half.train)) == (18, 9)
    assert {a.id for a in half.train} < {a.id for a in whole.train}
    assert half.usage.endswith("9 to train on (4 of long.jsonl, 5 of short.jsonl)")


def test_files_without_a_common_problem_and_a_file_named_twice(tmp_path):
    lacking = {("long" if n % 2 else "short", n) for n in range(20)}
    files = write_files(tmp_path, lacking)
    with pytest.raises(UserError, match=r"no problem has .* long\.jsonl 10, short\.jsonl 10\): "):
        collect(tmp_path, files, **{"data.mixture": "0.5,0.5"})
    twice = f"{tmp_path}/long.jsonl,{tmp_path}/long.jsonl"
    with pytest.raises(UserError, match=r"config.data.annotations names .*long\.jsonl twice"):
        collect(tmp_path, twice, **{"data.mixture": "0.5,0.5"})


TINY = [
    "--config=configs/mix_long_arithmetic.py",
    "--config.task_options.train_problems=60",
    "--config.task_options.test_problems=20",
    "--config.evaluation.problems=8",
    "--config.train.steps=4",
    "--config.train.batch_size=4",
    "--config.train.eval_every=0",
    "--config.sampling.max_tokens=24",
    "--config.sampling.slots=4",
    "--config.model.solver.layers=1",
    "--config.model.solver.width=16",
]


def test_two_styles_of_the_built_in_task_are_mixed_end_to_end(tmp_path):
    for style in FILES:
        config = command_line.load_config("configs/mix_long_arithmetic.py")
        options = {"task_options.style": style, "data.mixture": "", "data.dev_problems": "0"}
        command_line.apply_overrides(config, {"task_options.train_problems": "60"} | options)
        annotate(config, str(tmp_path / style), yes=False)
    files = ",".join(f"{tmp_path / style}/annotations.jsonl" for style in FILES)
    arguments = [*TINY, f"--config.data.annotations={files}", f"--workdir={tmp_path / 'mix'}"]
    # The context takes no row in sentences of three steps, which is counted.
    arguments += ["--config.model.solver.context=96", "--config.data.max_dropped_share=0.5"]
    finished = run("main", *arguments, "--config.data.mixture=0.5,0.5")
    assert finished.returncode == 0, finished.stderr
    facts = json.loads((tmp_path / "mix" / "training_data.json").read_text())["solver"]
    long, short = (facts["origins"][f"{style}/annotations.jsonl"] for style in FILES)
    # 6 of 60 are held out.
    assert [n["rows"] + n["dropped_rows"] for n in (long, short)] == [27, 27]
    assert long["dropped_rows"] == facts["dropped_rows"] > 0 == short["dropped_rows"]
    assert long["row_tokens"] / long["rows"] > short["row_tokens"] / short["rows"] + 5
    assert f"{long['rows']} of long/annotations.jsonl" in finished.stderr + finished.stdout
    write_comparison([str(tmp_path / "mix")], tmp_path / "out")
    with open(tmp_path / "out" / "tables" / "training_data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["origin"] for row in rows] == [f"{style}/annotations.jsonl" for style in FILES]
    assert [float(row["rows"]) for row in rows] == [long["rows"], short["rows"]]
    assert float(rows[0]["dropped rows"]) == long["dropped_rows"]


DATA = os.environ.get("DISTILL_JAX_DATA", "")


@pytest.mark.skipif(not DATA, reason="DISTILL_JAX_DATA is not set: it names the shared data")
@pytest.mark.parametrize(
    ("config", "names", "common", "long"),
    [
        ("mix_long_svamp", ("ChatGPT_level5", "ChatGPT_level1"), 477, 86),
        ("mix_large_svamp", ("ChatGPT_level3", "llama_level2"), 489, 88),
        ("mix_large_svamp", ("gemini_level2", "llama_level2"), 491, 88),
    ],
)
def test_real_chains_of_svamp(config, names, common, long, tmp_path):
    """700 questions of another 700/300 split: those in the test split of Ho et al. are unknown."""
    names = [f"SVAMP_{name}_ranked.json" for name in names]
    made = command_line.load_config(f"configs/{config}.py")
    files = ",".join(f"{DATA}/teacher/eitnlp_distilling_cot/svamp/{name}" for name in names)
    flat = {"data.annotations": files, "task_options.directory": f"{DATA}/svamp"}
    command_line.apply_overrides(made, flat)
    data = training_annotations.collect(make_run(made, Workdir(tmp_path / "w")), Terminal())
    assert f"{common} problems in all 2 files" in data.usage
    assert len(data.train) + len(data.dev) == common
    counts = [sum(a.source["file"] == name for a in data.train) for name in names]
    assert counts == [long, len(data.train) - long]
