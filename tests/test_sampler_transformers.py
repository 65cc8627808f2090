"""Exported students say in transformers, turn by turn, what our sampler says: every token."""

import collections
import os
import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)
import transformers  # noqa: E402

from benchmarks import sample_job, turn_by_turn  # noqa: E402
from distill_jax.export import hugging_face_export  # noqa: E402
from distill_jax.model import gpt2, network, sharding  # noqa: E402
from distill_jax.sampling import generate, pick  # noqa: E402
from distill_jax.sampling.dialogues import Request  # noqa: E402
from distill_jax.sampling.schedule import Job  # noqa: E402
from distill_jax.sampling.turn_rules import TurnRules, ViewRules  # noqa: E402
from distill_jax.tasks import gsm8k  # noqa: E402
from distill_jax.text.rows import prompt_tokens  # noqa: E402
from distill_jax.text.tokenizer import load_tokenizer  # noqa: E402

CONTEXT = 100  # shorter than some of the prompts, and than some of the dialogues
SIZES = {"decomposer": (1, 2, 32), "solver": (2, 4, 48)}  # layers, heads, width
assert tuple(SIZES) == sample_job.ROLES


@pytest.fixture(scope="module")
def data():
    directory = os.environ.get("DISTILL_JAX_DATA")
    if not directory:
        pytest.skip("DISTILL_JAX_DATA is not set: no GSM8K, no GPT-2 tokenizer")
    return pathlib.Path(directory)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other cost more than such small models."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer(data):
    return load_tokenizer(str(data / "gpt2_tokenizer"))


@pytest.fixture(scope="module")
def prompts(data, tokenizer):
    problems = gsm8k.load("test", directory=str(data / "gsm8k"))[:50]
    questions = tokenizer.encode([problem.question for problem in problems])
    return [prompt_tokens(question, tokenizer.end_of_turn) for question in questions]


@pytest.fixture(scope="module")
def students(tokenizer):
    """{role: (size, parameters)}."""
    sizes = {
        role: gpt2.GPT2Config(tokenizer.padded_size, CONTEXT, *size) for role, size in SIZES.items()
    }
    marks = {tokenizer.end_of_turn: 6.0, tokenizer.end_of_text: 5.0}
    return {
        role: (size, random_params(size, seed, marks))
        for seed, (role, size) in enumerate(sizes.items())
    }


def random_params(size, seed, scales):
    """Weights so large that the next token depends on all that came before; those of words smaller,
    or words would only repeat themselves; some of them larger, or they would never be chosen among
    50,000."""
    params = network.init_params(size, jax.random.key(seed))
    params = jax.tree.map(lambda leaf: np.array(leaf * 12 if leaf.ndim > 1 else leaf), params)
    params["wte"]["embedding"] /= 6
    for token, scale in scales.items():
        params["wte"]["embedding"][token] *= scale
    return params


@pytest.fixture(scope="module")
def caps(tokenizer):
    marks = tokenizer.end_of_turn, tokenizer.end_of_text, tokenizer.size
    return sample_job.Caps(*marks, max_turns=7, max_turn_tokens=24, max_tokens=60)


@pytest.fixture(scope="module")
def ours(students, caps, prompts):
    """(tokens, status) of every prompt, through fewer slots than prompts."""
    both = (True, True)
    rules = TurnRules(
        views=tuple(ViewRules(role, size, both) for role, (size, _) in students.items()),
        role_views=((0,), (1,)),
        next_role=(1, 0),
        may_pass=both,
        may_end=(True, False),
        end_of_turn=caps.end_of_turn,
        end_of_text=caps.end_of_text,
        vocab_size=caps.vocab_size,
        max_turns=caps.max_turns,
        max_turn_tokens=caps.max_turn_tokens,
        max_tokens=caps.max_tokens,
    )
    requests = [Request(f"problem/{i}", prompt) for i, prompt in enumerate(prompts)]
    with jax.set_mesh(sharding.make_mesh(1, 1, 1, jax.devices()[:1])):
        params = {role: jax.device_put(values) for role, (_, values) in students.items()}
        job = Job(rules, params, requests, pick.draw(), seed=0, slots=16)
        dialogues, _ = generate.collect(job)
    return [(sample_job.written_tokens(d, caps), d.status) for (d,) in dialogues]


@pytest.fixture(scope="module")
def exported(students, tokenizer, tmp_path_factory):
    """The students as transformers loads them from what the export wrote."""
    directory = tmp_path_factory.mktemp("exported")
    tokenizer.save(directory / "tokenizer")
    paths = [
        hugging_face_export.export_student(
            directory,
            hugging_face_export.Exported(role, params, size, directory / "tokenizer"),
            "float32",
            card="random weights",
        )
        for role, (size, params) in students.items()
    ]
    return [transformers.AutoModelForCausalLM.from_pretrained(path).eval() for path in paths]


@pytest.mark.parametrize("variant", turn_by_turn.VARIANTS)
def test_tokens_of_real_prompts_equal_those_of_transformers(variant, exported, prompts, caps, ours):
    theirs = turn_by_turn.run(exported, prompts, caps, variant=variant, batch_size=16)
    assert theirs == ours


def test_the_dialogues_that_are_compared_end_in_every_way_and_differ(ours, caps):
    statuses = collections.Counter(status for _, status in ours)
    assert set(statuses) == {"finished", "turn_cap", "token_cap", "context", "prompt_too_long"}
    assert sum(tokens.count(caps.end_of_turn) >= 3 for tokens, _ in ours) >= 10
    assert len({token for tokens, _ in ours for token in tokens}) > 300
