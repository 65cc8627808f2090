"""The turns of transformers' side against one row at a time, without cache and without padding."""

import dataclasses
import os

import numpy as np
import pytest
import transformers

from distill_jax.model import gpt2, hugging_face

torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)
from benchmarks import models as sizes  # noqa: E402
from benchmarks import sample_job, sample_torch, turn_by_turn  # noqa: E402

END_OF_TURN, END_OF_TEXT, VOCAB, PADDED = 10, 11, 12, 128
USUAL = sample_job.Caps(END_OF_TURN, END_OF_TEXT, VOCAB, 6, 12, 40)
# Caps and the context of the decomposer; the solver has more.
SETTINGS = {
    "usual": (USUAL, 96),
    "few_turns": (dataclasses.replace(USUAL, max_turns=2, max_turn_tokens=30), 96),
    "few_tokens": (dataclasses.replace(USUAL, max_turns=99, max_tokens=9), 96),
    "short_context": (dataclasses.replace(USUAL, max_turns=99, max_tokens=64), 30),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other cost more than such small models."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model(seed, layers, heads, width, context):
    """Random weights large enough that the next token depends on all that came before."""
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=PADDED, n_positions=context, n_embd=width, n_layer=layers, n_head=heads,
        bos_token_id=0, eos_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


def tiny_students(context):
    return [tiny_model(5, 1, 2, 32, context), tiny_model(8, 2, 4, 48, 96)]


def ragged_prompts(count=9):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 10, rng.integers(1, 22)).tolist() for _ in range(count)]


@torch.inference_mode()
def obvious_loop(models, prompt, caps):
    """One dialogue, greedily, the whole text fed again for every token: tokens, status."""
    text, written, role, turns, turn_tokens = list(prompt), [], 0, 0, 0
    while True:
        logits = models[role](torch.tensor([text])).logits[0, -1]
        logits[caps.vocab_size :] = -np.inf
        if role == 1:
            logits[caps.end_of_text] = -np.inf
        token = int(logits.argmax())
        text.append(token)
        written.append(token)
        turn_tokens += 1
        if token == caps.end_of_text:
            return written, "finished"
        if token == caps.end_of_turn:
            turns, turn_tokens, role = turns + 1, 0, 1 - role
            if turns >= caps.max_turns:
                return written, "turn_cap"
        if turn_tokens >= caps.max_turn_tokens or len(written) >= caps.max_tokens:
            return written, "token_cap"
        if any(len(text) > model.config.n_positions for model in models):
            return written, "context"


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("variant", turn_by_turn.VARIANTS)
@pytest.mark.parametrize("name", SETTINGS)
def test_equals_obvious_loop(name, variant, batch_size):
    caps, context = SETTINGS[name]
    models, prompts = tiny_students(context), ragged_prompts()
    got = turn_by_turn.run(models, prompts, caps, variant=variant, batch_size=batch_size)
    assert got == [obvious_loop(models, prompt, caps) for prompt in prompts]


def test_random_weights_reach_every_status_and_several_turns():
    """Otherwise the comparison above would not have compared them."""
    seen, turns = set(), []
    for caps, context in SETTINGS.values():
        for prompt in ragged_prompts():
            tokens, status = obvious_loop(tiny_students(context), prompt, caps)
            seen.add(status)
            turns.append(tokens.count(END_OF_TURN))
    assert seen == {"finished", "turn_cap", "token_cap", "context"}
    assert max(turns) >= 4


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("variant", turn_by_turn.VARIANTS)
def test_forced_dialogues_come_back(variant, batch_size, temperature):
    rng = np.random.default_rng(1)
    prompts, forced = ragged_prompts(), []
    for turns in rng.integers(0, 5, len(prompts)):
        tokens = []
        for _ in range(turns):
            tokens += [*rng.integers(0, 10, rng.integers(0, 8)).tolist(), END_OF_TURN]
        forced.append([*tokens, END_OF_TEXT])
    got = turn_by_turn.run(
        tiny_students(96), prompts, USUAL, variant=variant, batch_size=batch_size,
        temperature=temperature, forced=forced,
    )  # fmt: skip
    assert got == [(tokens, "finished") for tokens in forced]


@pytest.mark.parametrize("variant", turn_by_turn.VARIANTS)
def test_drawn_tokens_are_ones_that_the_role_may_write(variant):
    dialogues = turn_by_turn.run(
        tiny_students(96), ragged_prompts(), USUAL, variant=variant, batch_size=5, temperature=5.0
    )
    for tokens, status in dialogues:
        assert max(tokens) < VOCAB
        by_decomposer = tokens.count(END_OF_TURN) % 2 == 0
        assert (status == "finished") == (END_OF_TEXT in tokens)
        assert by_decomposer or END_OF_TEXT not in tokens


@pytest.mark.parametrize("variant", turn_by_turn.VARIANTS)
def test_a_row_near_its_context_may_end_long_before_the_others(variant):
    prompts, forced = [[1] * 29, [2]], [[END_OF_TEXT], [*[3] * 11, END_OF_TURN, 3, END_OF_TURN]]
    forced[1].append(END_OF_TEXT)
    caps = SETTINGS["short_context"][0]
    got = turn_by_turn.run(
        tiny_students(30), prompts, caps, variant=variant, batch_size=2, forced=forced
    )
    assert got == [(tokens, "finished") for tokens in forced]


def test_prompt_longer_than_the_context_is_not_run():
    models, caps = tiny_students(30), SETTINGS["short_context"][0]
    prompts = [[1] * 31, [1] * 30]
    dialogues = turn_by_turn.run(models, prompts, caps, variant="carry", batch_size=2)
    assert dialogues[0] == ([], "prompt_too_long")
    assert dialogues[1] == obvious_loop(models, prompts[1], caps)


@pytest.mark.parametrize("variant", turn_by_turn.VARIANTS)
def test_a_job_runs_on_students_from_a_directory(variant, tmp_path):
    size = sizes.plain(gpt2.GPT2Config(1, 64, layers=1, heads=2, width=32))
    weights = sample_job.write_students(str(tmp_path), size["config"], VOCAB)
    for directory in weights:
        assert hugging_face.find(directory, "weights").model.vocab_size == PADDED
    loop = sample_torch.Loop(sample_job.SampleSetting(weights))
    prompts, forced = [[1, 2], [3]], [[4, END_OF_TURN, 5, END_OF_TURN, END_OF_TEXT], [END_OF_TEXT]]
    answer = loop.run(sample_job.SampleJob(prompts, forced, USUAL, 2, variant))
    assert answer["ok"] and answer["tokens"] == 6 and answer["problems"] == 2
    assert answer["seconds"] > 0


def test_gold_dialogues_of_real_gsm8k():
    data = os.environ.get("DISTILL_JAX_DATA")
    if not data:
        pytest.skip("DISTILL_JAX_DATA is not set: no GSM8K, no GPT-2 tokenizer")
    dialogues = sample_job.gsm8k_dialogues(data, 20)
    caps = dialogues.caps()
    assert (caps.vocab_size, caps.end_of_turn, caps.end_of_text) == (50258, 50257, 50256)
    for prompt, tokens in zip(dialogues.prompts, dialogues.written, strict=True):
        assert prompt[-1] == caps.end_of_turn and tokens[-1] == caps.end_of_text
        assert tokens.count(caps.end_of_turn) % 2 == 0  # the decomposer ends the dialogue
        assert tokens.count(caps.end_of_turn) < caps.max_turns
        assert len(tokens) <= caps.max_tokens
