"""The configs that come with the package, and what is said about values that make no sense."""

import pytest
from tiny_student import make_mesh

from distill_jax import command_line
from distill_jax.model import gpt2, presets
from distill_jax.run_inputs import RunInputs
from distill_jax.student_setup import check_mesh
from distill_jax.workdir import Workdir

SHIPPED = sorted(path.stem for path in command_line.PACKAGED_CONFIGS.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_loads_and_passes_the_checks(name, tmp_path):
    config = command_line.load_config(f"configs/{name}.py")
    inputs = RunInputs(config, Workdir(tmp_path))
    assert inputs.students == ["decomposer", "solver"]


def test_the_gpt2_config_fine_tunes_published_weights_and_fits_eight_devices(tmp_path):
    config = command_line.load_config("configs/gsm8k_gpt2.py")
    for student in ("decomposer", "solver"):
        assert config.model[student].init_from == config.tokenizer.name
        assert config.optimizer[student].learning_rate <= 3e-4
    size = presets.preset_size("gpt2", "preset")
    model = gpt2.GPT2Config(vocab_size=50304, **size)
    assert config.data.seq_len <= model.context
    check_mesh(make_mesh((8, 1, 1)), "solver", model, config.train.batch_size)
