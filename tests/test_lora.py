"""LoRA: numbers by hand, one device against several, files of PEFT both ways, a whole run."""

import dataclasses
import json
import runpy
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_student
import transformers
from experiment_runs import TINY, one_error_line, run

import distill_jax
from distill_jax.dry_run import ahead_of_time, whole_run
from distill_jax.errors import UserError
from distill_jax.model import flops, gpt2, llama, lora, network, peft_files, sharding
from distill_jax.model.lora import BASE, Adapter
from distill_jax.settings import command_line
from distill_jax.settings.identity import identity_of
from distill_jax.text.tokenizer import load_tokenizer
from distill_jax.training import step

QUESTION = "Mia has 3 cups. Later Mia wins 9 cups. How many cups does Mia have now?"
LLAMA = llama.LlamaConfig(
    128, 64, 2, 8, 32, key_value_heads=4, head_dim=4, hidden=48, rope_theta=1e4,
    norm_epsilon=1e-5, tied=True,
)  # fmt: skip
UNTIED = dataclasses.replace(LLAMA, tied=False, qkv_bias=True)


def host(model, seed=0):
    return jax.tree.map(np.asarray, network.init_params(model, jax.random.key(seed)))


def noisy(adapter, base):
    """Adapters as after some training."""
    draw = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: leaf + draw.normal(0, 0.1, leaf.shape).astype(np.float32),
        adapter.init(base, 0),
    )


def test_the_worked_number():
    tiny = dataclasses.replace(
        LLAMA, heads=1, key_value_heads=1, head_dim=2, width=2, hidden=2, layers=1
    )
    adapter = Adapter(tiny, rank=1, alpha=2.0, targets=("q_proj",))
    base = host(tiny)
    place = base["layers_0"]["self_attn"]["q_proj"]
    place["kernel"] = np.eye(2, dtype=np.float32).reshape(2, 1, 2)
    pair = {"lora_a": np.array([[1.0], [2.0]]), "lora_b": np.array([[[3.0, 4.0]]])}
    whole = adapter.merge(base, {"layers_0": {"self_attn": {"q_proj": pair}}})
    merged = whole["layers_0"]["self_attn"]["q_proj"]["kernel"]
    assert merged.reshape(2, 2).tolist() == [[7.0, 8.0], [12.0, 17.0]]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_step_starts_from_the_base_bit_for_bit(dtype):
    adapter = Adapter(UNTIED, rank=3, alpha=8.0, rows=(5, 60), base_dtype=dtype)
    base = host(UNTIED)
    held = adapter.hold(base)
    first = adapter.init(base, 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(adapter.merge(held, first)):
        name, given = sharding.path_name(path), base
        for key in name.split("/"):
            given = given[key]
        expected = given if "norm" in name else given.astype(jnp.dtype(dtype)).astype(np.float32)
        if name.endswith("embedding"):
            expected[[5, 60]] = given[[5, 60]]  # what is trained is float32 whatever the base is
        assert leaf.dtype == np.float32 and (np.asarray(leaf) == expected).all(), name
    deviation = np.std(first["layers_0"]["mlp"]["down_proj"]["lora_a"])
    assert deviation == pytest.approx(48**-0.5, rel=0.2)


def test_counts():
    small = gpt2.GPT2Config(50304, 1024, 12, 12, 768)
    every = Adapter(small, rank=8, alpha=8.0)
    assert every.count() == 1_179_648
    assert Adapter(small, rank=8, alpha=8.0, targets=("c_attn",)).count() == 294_912
    assert dataclasses.replace(every, rows=(50257,)).count() == 1_179_648 + 768
    with pytest.raises(UserError, match="gpt2 has no q_proj: choose from c_attn, c_fc, c_proj"):
        Adapter(small, rank=8, alpha=8.0, targets=("q_proj",)).kernels()


def train(adapter, shape, steps=6, **computation):
    """Losses and gradient norms, and what was trained, on a mesh of the fake devices."""
    made = dataclasses.replace(
        tiny_student.trainer(step.Computation(**computation), adapter.model), adapter=adapter
    )
    data = tiny_student.make_batches(tiny_student.ragged_rows(64), seq_len=24)
    mesh = tiny_student.make_mesh(shape)
    base = host(adapter.model)
    values = []
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, adapter.model, made.optimizer, adapter)
        state = step.state_from_params(abstract, made.optimizer, adapter.init(base, 0))
        frozen = {BASE: step.placed(step.abstract_base(mesh, adapter), adapter.hold(base))}
        function = step.lower_step(mesh, abstract, data[0], frozen, made).compile()
        batch = sharding.put_batch(mesh, data[0])
        for _ in range(steps):
            state, metrics = function(state, batch, frozen)
            values.append((float(metrics["loss"]), float(metrics["grad_norm"])))
        whole = step.merge_on(mesh, adapter)(frozen[BASE], state.params)
        specs = jax.tree.map(lambda leaf: leaf.sharding.spec, state)
    return np.array(values), jax.tree.map(np.asarray, (state.params, whole)), specs


@pytest.mark.parametrize("model", [LLAMA, UNTIED], ids=["tied", "untied"])
def test_eight_devices_train_what_one_does(model):
    adapter = Adapter(model, rank=2, alpha=8.0, rows=(3, 40))
    one, (trained, whole), _ = train(adapter, (1, 1, 1))
    eight, (again, merged), specs = train(adapter, (2, 2, 2), remat=True, accumulation=2)
    np.testing.assert_allclose(eight, one, rtol=2e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), again, trained)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), merged, whole)
    assert one[-1, 0] < one[0, 0]
    first = adapter.init(host(model), 0)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), trained, first)
    assert all(jax.tree.leaves(moved))
    gate = specs.params["layers_0"]["mlp"]["gate_proj"]
    assert (*gate["lora_a"], *gate["lora_b"]) == ("fsdp", None, None, "tensor")
    # Of the embedding only the rows are other than in the base.
    table, base = whole["embed_tokens"]["embedding"], host(model)["embed_tokens"]["embedding"]
    assert np.flatnonzero((table != base).any(axis=1)).tolist() == [3, 40]


def test_its_gradient_is_that_of_the_merged_network():
    """By the chain rule from the gradient of every parameter: dA = s dW B', dB = s A' dW."""
    adapter = Adapter(LLAMA, rank=2, alpha=8.0, targets=("o_proj",), rows=(7,))
    made = tiny_student.trainer(model=LLAMA)
    batch = tiny_student.make_batches(tiny_student.ragged_rows(8), seq_len=24)[0]
    base = host(LLAMA)
    adapters = noisy(adapter, base)
    way = adapter.beside, adapter.merge

    def loss(params):
        sums = made.objective.sums(made, params, {}, batch, None)
        return sum(sums.values())

    with jax.set_mesh(tiny_student.make_mesh()):
        mine = jax.jit(jax.grad(lambda a: loss(adapter.beside(base, a))))(adapters)
        beside, whole = (jax.jit(loss)(made(base, adapters)) for made in way)
        dense = jax.jit(jax.grad(loss))(adapter.merge(base, adapters))
    assert float(beside) == pytest.approx(float(whole), rel=1e-6)
    for block in ("layers_0", "layers_1"):
        pair, got = (tree[block]["self_attn"]["o_proj"] for tree in (adapters, mine))
        d_w = np.asarray(dense[block]["self_attn"]["o_proj"]["kernel"]).reshape(32, 32)
        a, b = pair["lora_a"].reshape(32, 2), pair["lora_b"]
        np.testing.assert_allclose(got["lora_a"].reshape(32, 2), 4 * d_w @ b.T, atol=2e-4)
        np.testing.assert_allclose(got["lora_b"], 4 * a.T @ d_w, atol=2e-4)
    rows = dense["embed_tokens"]["embedding"][7]
    np.testing.assert_allclose(mine["embed_tokens"]["rows"][0], rows, atol=1e-5)


def test_a_dry_run_counts_what_is_held():
    adapter = Adapter(UNTIED, rank=2, alpha=8.0, rows=(3,), base_dtype="bfloat16")
    made = dataclasses.replace(tiny_student.trainer(model=UNTIED), adapter=adapter)
    data = tiny_student.make_batches(tiny_student.ragged_rows(64), seq_len=24)
    target = ahead_of_time.Target("here", "cpu", tiny_student.make_mesh(), None, None)
    memory = whole_run.measure(target, made, data.global_shapes())["memory"]
    norms = 5 * 32
    base = 2 * (network.parameter_count(UNTIED) - norms) + 4 * norms
    state = 3 * 4 * adapter.count() + 6 * 4  # two moments, and six counters
    batch = sum(each.nbytes for each in data[0].values())
    # The lengths of rows, which a step does not look at, are left out.
    assert memory["arguments"] == pytest.approx(base + state + batch, rel=2e-3)


def test_a_step_needs_no_gradient_of_the_base():
    """The compiler counts about as many operations as `flops` says, with and without."""
    wide = dataclasses.replace(LLAMA, width=128, head_dim=16, hidden=384)
    adapter = Adapter(wide, rank=4, alpha=8.0)
    made = tiny_student.trainer(step.Computation(loss_chunk=8 * 48), wide)
    rows = tiny_student.ragged_rows(64)
    batch = tiny_student.make_batches(rows, seq_len=48)[0]
    base, counts = host(wide), []

    def loss(params):
        return sum(made.objective.sums(made, params, {}, batch, None).values())

    with jax.set_mesh(tiny_student.make_mesh()):
        for function, given in (
            (loss, base),
            (lambda a: loss(adapter.beside(base, a)), adapter.init(base, 0)),
        ):
            compiled = jax.jit(jax.value_and_grad(function)).lower(given).compile()
            counts.append(compiled.cost_analysis()["flops"])
    size = batch["inputs"].size
    work = wide, size, 0, batch["targets"].size
    expected = [flops.train_flops(*work), flops.adapter_flops(*work, adapter.count())]
    assert counts == pytest.approx(expected, rel=0.1)  # the compiler counts more than products
    assert expected[1] < 0.75 * expected[0]


def theirs(model, base, directory):
    """A model of transformers with these parameters."""
    from distill_jax.export.hugging_face_export import save_params

    directory.mkdir()
    save_params(directory / "model.safetensors", base, model, "float32")
    config = model.hugging_face_config(dtype="float32")
    (directory / "config.json").write_text(json.dumps(config))
    return transformers.AutoModelForCausalLM.from_pretrained(directory)


def our_logits(model, params, tokens):
    positions = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    hidden, _ = model.module().apply({"params": params}, tokens, positions)
    return np.asarray(network.logits(model, params, hidden))


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        (LLAMA, ("q_proj", "v_proj", "down_proj")),
        (UNTIED, ()),
        (gpt2.GPT2Config(128, 64, 2, 4, 32), ("c_attn", "c_proj")),
    ],
    ids=["llama", "untied", "gpt2"],
)
def test_peft_computes_what_is_written_and_what_it_writes_is_read(model, targets, tmp_path):
    peft = pytest.importorskip("peft", reason="no peft: it is in the extra [peers]")
    import torch

    adapter = Adapter(model, rank=4, alpha=12.0, targets=targets, rows=(3, 90))
    base = host(model)
    adapters = noisy(adapter, base)
    tokens = np.random.default_rng(0).integers(0, 128, (2, 12))
    tokens[:, 3] = 90
    peft_files.save(tmp_path / "ours", adapter, adapters, "base")
    loaded = peft.PeftModel.from_pretrained(
        theirs(model, base, tmp_path / "base"), tmp_path / "ours"
    )
    with torch.no_grad():
        expected = loaded(torch.tensor(tokens)).logits.numpy()
    whole = adapter.merge(base, adapters)
    np.testing.assert_allclose(our_logits(model, whole, tokens), expected, atol=2e-4)
    without = our_logits(model, base, tokens)
    assert np.abs(without - expected).max() > 1e-2  # the adapter does something
    loaded.save_pretrained(tmp_path / "theirs")
    back = peft_files.load(str(tmp_path / "theirs"), adapter, "config.lora.solver.init_from")
    jax.tree.map(np.testing.assert_array_equal, back, adapters)


def test_files_are_read_back_and_others_refused(tmp_path):
    adapter = Adapter(LLAMA, rank=4, alpha=12.0, targets=("q_proj",), rows=(3,))
    adapters = noisy(adapter, host(LLAMA))
    peft_files.save(tmp_path, adapter, adapters, "models/base.gguf")
    key = "config.lora.solver.init_from"
    back = peft_files.load(str(tmp_path), adapter, key)
    jax.tree.map(np.testing.assert_array_equal, back, adapters)
    config = json.loads((tmp_path / peft_files.CONFIG).read_text())
    assert config["base_model_name_or_path"] == "models/base.gguf"
    assert config["trainable_token_indices"] == {"embed_tokens": [3]}
    for changed, message in (
        (dataclasses.replace(adapter, rank=8), "has r=4: set config.lora.solver.rank to it"),
        (dataclasses.replace(adapter, alpha=1.0), "lora_alpha=12.0: set config.lora.solver.alpha"),
        (dataclasses.replace(adapter, targets=("k_proj",)), "targets must be those of the adapter"),
        (dataclasses.replace(adapter, targets=()), r"lacks .*targets must be those"),
        (dataclasses.replace(adapter, model=dataclasses.replace(LLAMA, width=16)), "another base"),
    ):
        with pytest.raises(UserError, match=message):
            peft_files.load(str(tmp_path), changed, key)
    for changes, message in (
        ({"use_dora": True}, "use_dora=True, which is not computed here"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa', which is not computed here"),
        ({"trainable_token_indices": [7]}, r"the rows of tokens \[7\], where .* \[3\], are wanted"),
    ):
        (tmp_path / peft_files.CONFIG).write_text(json.dumps(config | changes))
        with pytest.raises(UserError, match=message):
            peft_files.load(str(tmp_path), adapter, key)


def test_what_is_off_is_not_part_of_a_run():
    config = command_line.load_config("configs/demo.py")
    roles = ["decomposer", "solver"]
    assert not [key for key in identity_of(config, roles, roles) if key.startswith("lora.")]
    overrides = {"lora.solver.rank": "4", "model.solver.init_from": "x.gguf"}
    command_line.apply_overrides(config, overrides)
    found = {key for key in identity_of(config, roles, roles) if key.startswith("lora.")}
    names = ("rank", "alpha", "targets", "base_dtype", "init_from")
    assert found == {f"lora.solver.{name}" for name in names}
    section = config.lora.solver
    assert lora.mistakes(section, "solver", "x.gguf") == []
    assert lora.mistakes(section, "solver", "") == [
        "config.lora.solver.rank=4: random parameters are not worth adapting: set "
        "config.model.solver.init_from"
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(directory, base, what it said) of a run of two students with adapters of one base."""
    tiny_gguf = pytest.importorskip("tiny_gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
    directory = tmp_path_factory.mktemp("lora")
    values = tiny_gguf.metadata() | {"llama.context_length": 512}
    base = tiny_gguf.write(directory / "base.gguf", values=values)
    done = run("main", *of_base(base), "--workdir", directory / "w")
    assert done.returncode == 0, done.stderr
    return directory / "w", base, done.stdout


def of_base(base):
    students = ("decomposer", "solver")
    keys = (f"model.{{}}.init_from={base}", "lora.{}.rank=2", "lora.{}.base_dtype=bfloat16")
    return [
        *TINY,
        "--config.train.steps=20",
        "--config.train.eval_every=10",
        "--config.text_format=chatml",
        "--config.tokenizer.end_of_text=<|over|>",
        *(f"--config.{key.format(student)}" for student in students for key in keys),
    ]


def test_two_adapters_of_one_base(finished, tmp_path):
    workdir, base, said = finished
    facts = json.loads((workdir / "training_data.json").read_text())
    tokenizer = str(workdir / "tokenizer")
    for student in ("decomposer", "solver"):
        trained, kept = facts[student]["trained_parameters"], workdir / "checkpoints" / student
        assert f"({trained:,} of them trained, LoRA of rank 2)" in said
        assert f"student {student}: an adapter of {base}" in said
        arrays = json.loads((kept / "20" / "arrays.json").read_text())
        params = [name for name in arrays if name.startswith("params/")]
        assert all(name.endswith(("lora_a", "lora_b", "rows")) for name in params)
        assert facts[student]["lora"]["rows"] == [load_tokenizer(tokenizer).end_of_text]
        assert facts[student]["base_sha256"] == facts["solver"]["base_sha256"]
        assert 8 * trained < facts[student]["parameters"]
    done = run("export", "--workdir", workdir, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    program = (tmp_path / "out" / "alternate.py").read_text()
    assert "opens = {'decomposer': [" in program
    for student, says in (("decomposer", "user"), ("solver", "assistant")):
        card = (tmp_path / "out" / student / "README.md").read_text()
        assert program.replace("./", "../") in card and "add_generation_prompt=True, return" in card
        chat = transformers.AutoTokenizer.from_pretrained(tmp_path / "out" / student)
        question = [{"role": "user", "content": "Q"}]
        text = chat.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
        assert text == f"<|im_start|>user\nQ<|im_end|>\n<|im_start|>{says}\n"
        assert (tmp_path / "out" / student / "adapter" / peft_files.CONFIG).exists()


def test_one_may_begin_with_another_and_be_exported(finished, tmp_path, monkeypatch, capsys):
    workdir, _, _ = finished
    longer = run(
        "main", *TINY, "--config.scheme=chain", "--config.text_format=chatml",
        "--config.train.steps=2", f"--config.tokenizer.name={workdir / 'tokenizer'}",
        f"--config.model.solver.init_from={workdir / 'checkpoints' / 'solver'}",
        "--config.lora.solver.rank=2", "--workdir", tmp_path / "w",
    )  # fmt: skip
    assert longer.returncode == 0, longer.stderr
    assert "untrained" not in longer.stdout
    out = tmp_path / "out"
    done = run("export", "--workdir", tmp_path / "w", "--output", out)
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "solver" / "adapter" / peft_files.CONFIG).read_text())
    assert config["r"] == 2 and config["base_model_name_or_path"].endswith("checkpoints/solver")
    students = distill_jax.load(tmp_path / "w")
    [solution] = students.solve([QUESTION], max_turn_tokens=24, max_tokens=24)
    chat = transformers.AutoTokenizer.from_pretrained(out / "solver")
    ids = chat.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True
    ).input_ids
    assert len(ids) == students.count_tokens(QUESTION) and ids[0] == 1
    program = (out / "alternate.py").read_text().replace("max_new_tokens=64", "max_new_tokens=24")
    (out / "alternate.py").write_text(program)
    monkeypatch.chdir(out)
    monkeypatch.setattr(sys, "argv", ["alternate.py", QUESTION])
    runpy.run_path("alternate.py")
    assert capsys.readouterr().out == f"solver: {solution.turns[0].text}\n"


def test_a_changed_base_is_refused(finished, tmp_path):
    import tiny_gguf

    workdir, base, _ = finished
    kept = shutil.copy(base, tmp_path / "kept.gguf")
    changed = tiny_gguf.weights()
    changed["output_norm.weight"] = changed["output_norm.weight"] + 1
    values = tiny_gguf.metadata() | {"llama.context_length": 512}
    try:
        tiny_gguf.write(base, values=values, tensors=changed)
        done = run("evaluate", "--workdir", workdir, "--config.sampling.temperature=0.5")
        assert "is not what the adapter was trained on" in one_error_line(done)
    finally:
        shutil.copy(kept, base)
