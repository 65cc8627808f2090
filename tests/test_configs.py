"""The configs that come with the package, and what is said about values that make no sense."""

import dataclasses
import importlib
import inspect
import re

import pytest
from pages import DOCS
from tiny_student import make_mesh

from distill_jax.errors import UserError
from distill_jax.model import presets
from distill_jax.run import checks
from distill_jax.run.run import make_run
from distill_jax.run.student_setup import check_mesh
from distill_jax.settings import command_line
from distill_jax.settings.identity import NOT_IDENTITY, NOT_IDENTITY_KEYS
from distill_jax.workdir import Workdir

SHIPPED = sorted(path.stem for path in command_line.PACKAGED_CONFIGS.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_loads_and_passes_the_checks(name, tmp_path):
    config = command_line.load_config(f"configs/{name}.py")
    if name.startswith("mix_"):
        with pytest.raises(UserError, match=r"2 shares for 0 files: give config.data.annotations"):
            make_run(config, Workdir(tmp_path))
        config.data.annotations = ("long.jsonl", "short.jsonl")
    inputs = make_run(config, Workdir(tmp_path))
    # SVAMP has no subquestions, and the others are chains as well: no decomposer.
    chains = ("svamp_tiny", "fine_tune_cot_svamp", "smollm2_svamp", "student_teacher", "tasks12")
    alone = (*chains, *(other for other in SHIPPED if other.startswith("mix_")))
    others = {other: ["solver"] for other in alone}
    others["guided_tiny"] = ["planner", "decomposer", "solver"]
    others["step_size"] = ["solver"]  # who plans, too
    assert inputs.students == others.get(name, ["decomposer", "solver"])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_task_of_a_shipped_config_knows_its_options(name):
    config = command_line.load_config(f"configs/{name}.py")
    task = importlib.import_module(config.task)
    assert set(config.task_options) == set(inspect.signature(task.load).parameters) - {"split"}


def test_the_gpt2_config_fine_tunes_published_weights_and_fits_eight_devices(tmp_path):
    config = command_line.load_config("configs/gsm8k_gpt2.py")
    for student in ("decomposer", "solver"):
        assert config.model[student].init_from == config.tokenizer.name
        assert config.optimizer[student].learning_rate <= 3e-4
    model = dataclasses.replace(presets.preset_size("gpt2", "preset"), vocab_size=50304)
    assert config.data.seq_len <= model.context
    check_mesh(make_mesh((8, 1, 1)), "solver", model, config.train.batch_size)


def test_the_page_names_the_keys_that_may_change_in_a_working_directory():
    page = (DOCS / "working_directory.md").read_text()
    table = page.partition("| may change in a working directory |")[2].partition("\n\n")[0]
    named = {key.replace("*", "") for key in re.findall(r"`([a-z_.]+\*?)`", table)}
    assert named - {"evaluations/"} == {*NOT_IDENTITY, *NOT_IDENTITY_KEYS}


def test_a_switch_is_true_or_false():
    config = command_line.load_config("configs/demo.py")
    with pytest.raises(UserError, match=r"config.train.remat='yes' is neither True nor False"):
        command_line.apply_overrides(config, {"train.remat": "yes"})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("optimizer.solver.learning_rate", "-1e-3", "must be at least 0"),
        ("optimizer.solver.learning_rate", "nan", "must be a finite number"),
        ("optimizer.solver.final_learning_rate", "-1", "must be at least 0"),
        ("optimizer.decomposer.warmup_steps", "-1", "must be at least 0"),
        ("optimizer.solver.b1", "1.5", "must be below 1"),
        ("optimizer.solver.b2", "1.0", "must be below 1"),
        ("optimizer.solver.epsilon", "0", "must be at least 1e-30"),
        ("optimizer.solver.weight_decay", "-0.1", "must be at least 0"),
        ("optimizer.solver.clip_norm", "inf", "must be a finite number"),
        ("model.solver.residual_dropout", "1", "must be below 1"),
        ("model.solver.layers", "0", "must be at least 1"),
        ("model.solver.family", "mamba", "choose gpt2, llama"),
        ("data.max_dropped_share", "nan", "must be a finite number"),
        ("sampling.temperature", "nan", "must be a finite number"),
        ("train.dtype", "float16", "choose float32, bfloat16"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(key, value, said):
    config = command_line.load_config("configs/demo.py")
    command_line.apply_overrides(config, {key: value})
    with pytest.raises(UserError, match=rf"^config\.{key}=[^;]*: {said}[^;]*$"):
        checks.check_values(config)


def test_all_values_that_make_no_sense_are_in_one_message():
    config = command_line.load_config("configs/demo.py")
    wrong = {"train.batch_size": "0", "optimizer.solver.b1": "1.5", "sampling.top_p": "0"}
    wrong |= {"train.best_by": "luck", "model.solver.heads": "3"}
    command_line.apply_overrides(config, wrong)
    with pytest.raises(UserError) as caught:
        checks.check_values(config)
    assert all(f"config.{key}=" in str(caught.value) for key in wrong), caught.value
    assert "config.model.solver.width" in str(caught.value)


def test_rotary_positions_need_an_even_share_of_the_width():
    config = command_line.load_config("configs/demo.py")
    command_line.apply_overrides(config, {"model.solver.heads": "128"})
    checks.check_values(config)
    command_line.apply_overrides(config, {"model.solver.family": "llama"})
    with pytest.raises(UserError, match=r"config.model.solver: width=128 by heads=128 is 1, but"):
        checks.check_values(config)


def test_six_mistakes_are_six_lines_of_one_message():
    overrides = {
        "scheme": "socratik",
        "train.attention": "flash",
        "text_format": "alpaca",
        "train.accumulation": "3",
        "sampling.max_turns": "0",
        "train.stepz": "10",
    }
    with pytest.raises(UserError) as raised:
        checks.set_and_check(command_line.load_config("configs/demo.py"), overrides)
    for named in (
        "config.scheme='socratik': choose answer_only, chain, socratic",
        "config.train.attention='flash': choose auto, ",
        "config.text_format='alpaca': choose turns, ",
        "config.train.batch_size=16 does not divide by config.train.accumulation=3",
        "config.sampling.max_turns=0: must be at least 1",
        "unknown key config.train.stepz (did you mean train.steps?)",
    ):
        assert named in str(raised.value)
    assert str(raised.value).count("; ") == 5
