"""Where a student starts from, and what is chosen on dev: the commands as a user runs them."""

import json
import os

import jax
import numpy as np
import pytest
import transformers
from experiment_runs import TINY, contents, curve, one_error_line, run

from distill_jax.configs.base import get_config
from distill_jax.errors import UserError
from distill_jax.export import export_students
from distill_jax.run import student_source
from distill_jax.text import tokenizer as text_tokenizer
from distill_jax.training.manifest import MANIFEST
from distill_jax.workdir import write_text

ALONE = [*TINY, "--config.scheme=chain", "--config.train.steps=40"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A finished run of one student, measured on dev until it no longer got better."""
    workdir = tmp_path_factory.mktemp("source") / "w"
    overfitting = [
        *TINY,
        "--config.scheme=chain",
        "--config.data.train_problems=8",
        "--config.train.steps=400",
        "--config.train.eval_every=10",
        "--config.train.patience=2",
        "--config.train.dev_dialogues=4",
        "--config.optimizer.solver.learning_rate=0.02",
        "--config.evaluation.checkpoint=best",
    ]
    done = run("main", *overfitting, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_patience_stops_and_the_best_checkpoint_is_kept_and_evaluated(source):
    workdir, output = source
    losses = curve(workdir, "dev/solver/loss")
    best_step = min(losses, key=lambda pair: pair[1])[0]
    last_step = losses[-1][0]
    assert best_step < last_step == best_step + 20 < 400
    assert f"stopped at step {last_step}, no better on dev than at step {best_step}" in output
    facts = json.loads((workdir / "training_data.json").read_text())["solver"]
    assert (facts["finished_at"], facts["best_step"]) == (last_step, best_step)
    kept = {int(path.name) for path in (workdir / "checkpoints" / "solver").iterdir()}
    assert {best_step, last_step} <= kept and len(kept) <= 3
    report = json.loads((workdir / "report.json").read_text())
    assert report["checkpoint_rule"] == "best"
    assert report["checkpoint_steps"] == {"solver": best_step}
    for name in ("exact", "accuracy"):
        assert all(0 <= value <= 1 for _, value in curve(workdir, f"dev/solver/{name}"))
    again = run("main", *json_arguments(workdir), "--workdir", workdir)
    assert again.stdout.count("nothing left to do") == 3, again.stdout + again.stderr


def json_arguments(workdir):
    """The arguments that give the config of a run again."""
    stored = json.loads((workdir / "config.json").read_text())["config"]
    flat = [
        f"--config.{section}.{key}={value}"
        for section in ("train", "data", "sampling", "evaluation", "task_options")
        for key, value in stored[section].items()
        if not isinstance(value, list | dict)
    ]
    student = [
        f"--config.model.solver.{k}={stored['model']['solver'][k]}" for k in ("layers", "width")
    ]
    rate = stored["optimizer"]["solver"]["learning_rate"]
    return [
        "--config=configs/demo.py", "--config.scheme=chain", *flat, *student,
        f"--config.optimizer.solver.learning_rate={rate}",
    ]  # fmt: skip


def test_a_student_starts_from_one_of_another_run(source, tiny_run, tmp_path):
    workdir, _ = source
    start = f"--config.model.solver.init_from={workdir / 'checkpoints' / 'solver'}"
    other = f"--config.tokenizer.name={tiny_run[0] / 'tokenizer'}"
    message = one_error_line(run("main", *ALONE, start, other, "--workdir", tmp_path / "w"))
    assert f"set config.tokenizer.name={workdir / 'tokenizer'}" in message
    frozen = ["--config.optimizer.solver.learning_rate=0.0", "--config.train.steps=2"]
    before = contents(workdir)
    done = run("main", *ALONE, start, *frozen, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert f"starting from {workdir / 'checkpoints' / 'solver'}" in done.stdout
    assert contents(workdir) == before
    missing = f"--config.model.solver.init_from={workdir / 'checkpoints' / 'solver' / '7'}"
    message = one_error_line(run("main", *ALONE, missing, "--workdir", tmp_path / "v"))
    assert "no complete checkpoint (there are " in message
    assert not (tmp_path / "v").exists()
    stolen = f"--config.checkpoint_dir={workdir / 'checkpoints'}"
    size = [
        "--config.model.solver.layers=1",
        f"--config.tokenizer.name={workdir / 'tokenizer'}",
    ]
    message = one_error_line(run("main", *ALONE, *size, stolen, "--workdir", tmp_path / "u"))
    assert "holds checkpoints of another run" in message
    last = json.loads((workdir / "training_data.json").read_text())["solver"]["finished_at"]
    ours, theirs = (
        restored(path) for path in (tmp_path / "w" / "checkpoints" / "solver" / "2",
                                    workdir / "checkpoints" / "solver" / str(last))
    )  # fmt: skip
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()


def test_a_student_whose_training_has_not_ended_is_not_taken_for_one(tmp_path):
    """Its newest checkpoint would be another one tomorrow."""
    student = tmp_path / "run" / "checkpoints" / "solver"
    for step in (5, 10):
        write_text(student / str(step) / MANIFEST, "{}")
    facts = tmp_path / "run" / "training_data.json"
    facts.write_text('{"solver": {"steps": 20}}')
    said = f"KEY={student}: this student's training has not ended: end it, or .* {student}/10"
    with pytest.raises(UserError, match=said):
        student_source._other_step(str(student), "KEY")
    assert student_source._other_step(f"{student}/5", "KEY") == student / "5"
    facts.write_text('{"solver": {"steps": 20, "finished_at": 5}}')  # it stopped early
    assert student_source._other_step(str(student), "KEY") == student / "5"


def restored(path):
    import orbax.checkpoint as ocp

    return ocp.StandardCheckpointer().restore(path / "params")


def solver_section(**values):
    section = get_config().model.solver
    section.update(values)
    return section


def tokenizer_of(size):
    texts = [" ".join(str(n) for n in range(300)), "the quick brown fox jumps over the lazy dog"]
    return text_tokenizer.train_tokenizer(texts, size)


def test_presets_are_the_published_sizes():
    tokenizer = tokenizer_of(300)
    config = student_source.model_config(solver_section(preset="gpt2-xl"), "solver", tokenizer)
    assert (config.layers, config.heads, config.width, config.context) == (48, 25, 1600, 1024)
    with pytest.raises(UserError, match=r"config.model.solver.preset='gpt3': choose gpt2, gpt2-m"):
        student_source.model_config(solver_section(preset="gpt3"), "solver", tokenizer)
    with pytest.raises(UserError, match=r"leave config.model.solver.preset empty"):
        section = solver_section(preset="gpt2", init_from="somewhere")
        student_source.model_config(section, "solver", tokenizer)


def test_a_gguf_file_that_is_not_there_is_named_with_its_key():
    config = get_config()
    config.model.solver.init_from = "models/none.gguf"
    with pytest.raises(
        UserError, match=r"^config.model.solver.init_from=models/none.gguf: no such"
    ):
        student_source.first_tokenizer(config, ("decomposer", "solver"))
    assert student_source.first_tokenizer(config, ("decomposer",)) is None


def test_the_tokenizer_comes_with_the_weights(tiny_run, tmp_path):
    """Of another run, and of a directory in Hugging Face format, which may have none."""
    workdir = tiny_run[0]
    exported = tmp_path / "exported"
    options = export_students.Options(exported, dtype=None, gguf=False, push_to_hub="")
    export_students.export(str(workdir), options, {})
    expected = text_tokenizer.load_tokenizer(str(workdir / "tokenizer"))
    for source in (workdir / "checkpoints/solver", exported / "solver"):
        config = get_config()
        config.model.solver.init_from = str(source)
        found = student_source.first_tokenizer(config, ("decomposer", "solver"))
        assert found.size == expected.size
        assert found.encode(["Anna has 3 apples."]) == expected.encode(["Anna has 3 apples."])
    (exported / "solver/tokenizer.json").unlink()
    assert student_source.first_tokenizer(config, ("decomposer", "solver")) is None
    config.model.solver.init_from = "./nowhere"
    with pytest.raises(UserError, match=r"^config.model.solver.init_from=./nowhere: no such dir"):
        student_source.first_tokenizer(config, ("decomposer", "solver"))


def test_parameters_from_a_directory_in_hugging_face_format(tmp_path):
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
    tokenizer = tokenizer_of(300)
    torch.manual_seed(0)
    # Without the end of turn, as published weights are.
    shape = {"vocab_size": tokenizer.size - 1, "n_layer": 2, "n_head": 2, "n_embd": 16}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_positions=32, **shape))
    model.half().save_pretrained(tmp_path)
    section = solver_section(init_from=str(tmp_path), residual_dropout=0.1)
    config = student_source.model_config(section, "solver", tokenizer)
    assert (config.layers, config.width, config.context) == (2, 16, 32)
    assert config.residual_dropout == 0.1 and config.vocab_size == tokenizer.padded_size
    params, dtype = student_source.given_params(str(tmp_path), "the key", config)
    assert dtype == "float16"
    theirs = model.transformer.wte.weight.detach().float().numpy()
    assert (params["wte"]["embedding"][: tokenizer.size - 1] == theirs).all()
    assert params["wte"]["embedding"][tokenizer.size - 1] == pytest.approx(theirs.mean(0))
    with pytest.raises(UserError, match=r"set config.tokenizer.name to the one of these weights"):
        student_source.model_config(section, "solver", tokenizer_of(270))


def test_accuracy_as_the_rule_needs_a_trained_partner_and_dialogues(tmp_path):
    rule = ["--config.train.best_by=accuracy", "--workdir", tmp_path / "w"]
    message = one_error_line(run("main", *TINY, *rule))
    assert "set config.train.dev_dialogues above 0" in message
    message = one_error_line(run("main", *TINY, "--config.train.dev_dialogues=4", *rule))
    assert "student 'decomposer' is trained before solver" in message
    assert not (tmp_path / "w").exists()
    message = one_error_line(
        run("main", *TINY, "--config.train.patience=2", "--config.data.dev_problems=0",
            "--workdir", tmp_path / "w")
    )  # fmt: skip
    assert "config.train.patience needs a dev split" in message


def test_gsm8k_packed_to_1024_is_at_least_95_percent_useful():
    """Real rows: mean 190 tokens, the longest 540; padded to that about a third is useful."""
    data = os.environ.get("DISTILL_JAX_DATA")
    if not data:
        pytest.skip("DISTILL_JAX_DATA is not set: no GSM8K, no GPT-2 tokenizer")
    from distill_jax.tasks import gsm8k
    from distill_jax.text import rows, transcript
    from distill_jax.training import batches

    tokenizer = text_tokenizer.load_tokenizer(f"{data}/gpt2_tokenizer")
    annotations = gsm8k.load_annotations("train", directory=f"{data}/gsm8k")
    scheme = transcript.SCHEMES["socratic"]
    reads = {"decomposer": ("solver",), "solver": ("decomposer",)}
    views = rows.make_views(scheme, {"decomposer": "decomposer", "solver": "solver"}, reads)
    for student, encoded in rows.encode_rows(annotations, scheme, views, tokenizer).items():
        source = batches.StudentRows(encoded, student, 1024, 0.0)
        shares = []
        for packed, seq_len in ((False, 0), (True, 1024)):
            shape = batches.row_shape(source, seq_len, packed)
            made = batches.Batches(source, shape, seed=0, batch_size=8)
            shares.append(source.tokens / (made.rows_per_epoch() * shape.seq_len))
        assert shares[0] < 0.4 and shares[1] >= 0.95
